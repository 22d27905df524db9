"""Three ways to find passages: by words, by pieces of words, by names and headings."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from waybell._desk._corpus import Passage


Ranked = list[int]
_WORD = re.compile(r"[A-Za-z]+|\d+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|_")
_COMMON = frozenset(
    "a an and are as at be by can do does for from has have how i if in into is it its "
    "may my no not of on one or our so that the their them then there they this to was "
    "we what when where which who why will with you your".split()
)  # fmt: skip


def words(text: str) -> list[str]:
    """Lower-case words without common ones and endings; identifiers in parts."""
    found = _WORD.findall(_CAMEL.sub(" ", text))
    return [_stem(word) for each in found if (word := each.lower()) not in _COMMON]


def _stem(word: str) -> str:
    for ending in ("ing", "ies", "ied", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def trigrams(text: str) -> list[str]:
    """Pieces of three letters, so that inflections and typing errors still meet."""
    joined = (f" {word} " for word in words(text))
    return [word[n : n + 3] for word in joined for n in range(len(word) - 2)]


class Index:
    """Passages by term, scored by BM25.

    Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond"
    (2009), with k1 = 1.2 and b = 0.5.

    Args:
        texts: What is searched, in the order of the passages.
        terms: Cuts a text into terms.
    """

    __slots__ = ("_places", "_sizes", "_terms", "_total")

    def __init__(
        self, texts: Iterable[str], terms: Callable[[str], list[str]] = words
    ) -> None:
        self._terms = terms
        self._places: dict[str, list[tuple[int, int]]] = defaultdict(list)
        sizes: list[int] = []
        for number, text in enumerate(texts):
            found = terms(text)
            sizes.append(len(found))
            for term, count in Counter(found).items():
                self._places[term].append((number, count))
        mean = sum(sizes) / max(1, len(sizes)) or 1.0
        self._sizes = [1.2 * (0.5 + 0.5 * size / mean) for size in sizes]
        self._total = len(sizes)

    def search(self, question: str, most: int) -> Ranked:
        """The numbers of the best passages, best first."""
        scores: dict[int, float] = defaultdict(float)
        for term in dict.fromkeys(self._terms(question)):
            places = self._places.get(term, ())
            rarity = math.log(
                1 + (self._total - len(places) + 0.5) / (len(places) + 0.5)
            )
            for number, count in places:
                scores[number] += rarity * count * 2.2 / (count + self._sizes[number])
        return sorted(scores, key=lambda number: (-scores[number], number))[:most]


def strategies(
    passages: Sequence[Passage],
) -> Mapping[str, Callable[[str, int], Ranked]]:
    """The three strategies by name, each `(question, most) -> ranked numbers`."""
    named = [f"{each.path} {each.title}\n{each.text}" for each in passages]
    outline = [
        f"{each.path} {each.title} {each.title} {_opening(each)}" for each in passages
    ]
    return {
        "bm25": Index(named).search,
        "trigram": Index(named, trigrams).search,
        "outline": Index(outline).search,
    }


def _opening(passage: Passage) -> str:
    """The first sentence: what a heading or a docstring announces."""
    return " ".join(passage.text.split("\n")[:4])


def fuse(rankings: Iterable[Ranked], most: int) -> Ranked:
    """Reciprocal rank fusion: what several strategies rank high comes first.

    Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and
    individual Rank Learning Methods" (2009), with k = 20.
    """
    scores: dict[int, float] = defaultdict(float)
    for ranking in rankings:
        for place, number in enumerate(ranking):
            scores[number] += 1.0 / (20 + place)
    return sorted(scores, key=lambda number: (-scores[number], number))[:most]
