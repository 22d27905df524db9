"""Three ways to find passages: by words, by pieces of words, by names and headings."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from itertools import chain, pairwise

from waybell._desk._passages import Passage


Ranked = list[tuple[int, float]]
"""The numbers of passages, best first, with their scores; the best has 1."""
_ENDINGS = (
    "ations", "ation", "ions", "ion", "ings", "ing", "ies", "ied", "ers", "er", "ed",
    "als", "al", "es", "ly", "s", "e",
)  # fmt: skip
# What a strategy counts: names alone say less than texts.
_WEIGHTS = {"bm25": 1.0, "trigram": 0.8, "outline": 0.15}
_WORD = re.compile(r"[^\W\d_]+|\d+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|_")
_COMMON = frozenset(
    "a about all also an and any are as at be by can could do does each every for from "
    "get give happen happened happens has have here how i if in into is it its many may "
    "me more most much my no not of on one only or other our should so some such take "
    "tell than that the their them then there these they this to use used uses using was we "
    "were what when where which who why will with work works would you your"
    .split()
)  # fmt: skip


def words(text: str) -> list[str]:
    """Lower-case words without common ones and endings; identifiers in parts."""
    found = _WORD.findall(_CAMEL.sub(" ", text))
    return [term for word in found if (term := _term(word))]


@lru_cache(100_000)
def _term(word: str) -> str:
    """A word without its ending; nothing of a common one."""
    word = word.lower()
    if word in _COMMON:
        return ""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word.removesuffix(ending)
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word


def phrases(found: Sequence[str]) -> Iterable[Hashable]:
    """Words, and pairs of words that stand close, in either order."""
    pairs = chain(pairwise(found), zip(found, found[2:], strict=False))
    return chain(found, ((a, b) if a < b else (b, a) for a, b in pairs))


def trigrams(found: Sequence[str]) -> Iterable[Hashable]:
    """Pieces of three letters, so that inflections and typing errors still meet."""
    return chain.from_iterable(map(_pieces, found))


@lru_cache(100_000)
def _pieces(word: str) -> list[str]:
    padded = f" {word} "
    return [padded[n : n + 3] for n in range(len(padded) - 2)]


class Index:
    """Passages by term, scored by BM25 with k1 = 1.2 and b = 0.5.

    Args:
        texts: The words of what is searched, in the order of the passages.
        terms: Makes terms of words.
    """

    __slots__ = ("_places", "_sizes", "_terms", "_total")

    def __init__(
        self,
        texts: Iterable[Sequence[str]],
        terms: Callable[[Sequence[str]], Iterable[Hashable]],
    ) -> None:
        self._terms = terms
        self._places: dict[Hashable, list[tuple[int, int]]] = defaultdict(list)
        sizes: list[int] = []
        for number, text in enumerate(texts):
            found = Counter(terms(text))
            sizes.append(found.total())
            for term, count in found.items():
                self._places[term].append((number, count))
        mean = sum(sizes) / max(1, len(sizes)) or 1.0
        self._sizes = [1.2 * (0.5 + 0.5 * size / mean) for size in sizes]
        self._total = len(sizes)

    def search(self, question: str, most: int) -> Ranked:
        """The best passages, best first."""
        scores: dict[int, float] = defaultdict(float)
        for term in dict.fromkeys(self._terms(words(question))):
            places = self._places.get(term, ())
            rest = self._total - len(places)
            rarity = math.log(1 + (rest + 0.5) / (len(places) + 0.5))
            rarity *= 0.25 if isinstance(term, tuple) else 1.0  # beside its words
            for number, count in places:
                scores[number] += rarity * count * 2.2 / (count + self._sizes[number])
        best = max(scores.values(), default=1.0)
        return _best({number: score / best for number, score in scores.items()}, most)


def _best(scores: Mapping[int, float], most: int) -> Ranked:
    return sorted(scores.items(), key=lambda each: (-each[1], each[0]))[:most]


def strategies(passages: Sequence[Passage]) -> dict[str, Callable[[str, int], Ranked]]:
    """The three strategies by name, each `(question, most) -> ranked numbers`."""
    names = [words(f"{each.path} {each.title}") for each in passages]
    named = [name + words(p.text) for name, p in zip(names, passages, strict=True)]
    indexes = {
        "bm25": Index(named, phrases),
        "trigram": Index(named, trigrams),
        "outline": Index(names, iter),
    }
    first = _openings(passages)

    def search(index: Index, question: str, most: int) -> Ranked:
        if words(question):
            return index.search(question, most)
        return [(number, 1.0 / place) for place, number in enumerate(first[:most], 1)]

    return {name: partial(search, index) for name, index in indexes.items()}


def _openings(passages: Sequence[Passage]) -> list[int]:
    """How files begin, the ones for readers first: the answer to no question at all."""
    first = [number for number, each in enumerate(passages) if each.start == 1]

    def late(number: int) -> tuple[bool, bool, int, int]:
        path, prose = passages[number].path, passages[number].is_prose
        return not prose, "readme" not in path.lower(), path.count("/"), number

    return sorted(first or range(len(passages)), key=late)


def fuse(rankings: Mapping[str, Ranked]) -> Ranked:
    """What the strategies found together, with sums of their scores.

    "CombSUM" of Fox and Shaw, "Combination of Multiple Searches" (1994), with a weight
    for each strategy: that forgets less than ranks do.
    """
    scores: dict[int, float] = defaultdict(float)
    for name, ranking in rankings.items():
        for number, score in ranking:
            scores[number] += _WEIGHTS.get(name, 1.0) * score
    return _best(scores, len(scores))
