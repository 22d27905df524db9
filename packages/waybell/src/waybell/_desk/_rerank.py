"""A second look at what was found: how much of the question each passage speaks of."""

import math
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from importlib.resources import files

from waybell._desk._passages import Passage
from waybell._desk._retrieve import Ranked, words


_SENTENCE = re.compile(
    r"\n\s*\n|\n(?=\s*(?:[-*|]|\d+\.)\s)|(?<=[.;:!?])\s+|\n(?=\s*\w+: )"
)
_SAID = re.compile(r'"""|(?:^|\s)(?:#|//)\s+\S', re.MULTILINE)
_MEASURE = re.compile(r"how (?:much|many|long|often|big)|fast|slow|speed|cost|memory")
_BOTH = re.compile(r"(?i)\b(?:differ\w*|compar\w*|between|versus|vs)\b")
_RELATED = 0.9  # what a related word counts, or one that only the heading has
_WHOLE = 1.5  # how much more most of a question counts than twice the half of it
_ABOUT = 1.1  # how much more a file counts whose path has a word of the question
_ENOUGH = 0.6  # of the words of a question that a source of its answer says
_FORM = 4  # letters that forms of a word have in common
_SECTIONS = {"Rejected": 1.0, "Context": 0.85}  # what is not so, or was before


@cache
def related() -> Mapping[str, set[str]]:
    """Words that may stand for each other in questions and answers about software."""
    found: dict[str, set[str]] = defaultdict(set)
    text = files("waybell").joinpath("_desk/related.txt").read_text("utf-8")
    for group in map(words, text.splitlines()):
        for word in group:
            found[word].update(group)
    return found


def rerank(asked: str, found: Ranked, of: Sequence[Passage], most: int) -> list[int]:
    """The best `most` of what was found; fewer if the others are much worse."""
    read = {number: _read(of[number]) for number, _ in found}
    sought = set(words(asked))
    rarity = _rarity(asked, [*read.values()])
    scores = {
        number: (score + 2 * _met(rarity, read[number]) ** _WHOLE)
        * worth(of[number], asked)
        * (1.0 if sought.isdisjoint(words(of[number].path)) else _ABOUT)
        for number, score in found
    }
    order = sorted(scores, key=lambda number: (-scores[number], number))[:most]
    return [number for number in order if scores[number] >= 0.4 * scores[order[0]]]


def doubt(asked: str, cited: Collection[Passage]) -> str:
    """Why what is cited may be no answer, by its words alone; nothing if it may be."""
    both = _BOTH.search(asked) is not None
    asked = re.sub(r"(?i)\bhow \w+", "", _BOTH.sub("", asked))  # how it is put
    sought = set(words(asked))
    said = (set[str]().union(*_read(passage)) for passage in cited)
    met = [{term for term in sought if _said(term, each)} for each in said]
    known = set[str]().union(*met)
    # Of two things that are compared, each source may speak of one.
    if max(map(len, [known] if both else met), default=0) >= _ENOUGH * len(sought):
        return ""
    every = dict.fromkeys(re.findall(r"\w+", asked))
    lacking = [word for word in every if not known.issuperset(words(word))]
    return f"no source says {', '.join(map(repr, lacking)) or 'all of that'}"


def _said(term: str, said: set[str]) -> bool:
    """Whether a word, one of its forms, or a related one is among those said."""
    if term in said or not said.isdisjoint(related().get(term, ())):
        return True
    near = (each for each in said if min(len(each), len(term)) >= _FORM)
    return any(each.startswith(term) or term.startswith(each) for each in near)


def _rarity(asked: str, read: Sequence[Sequence[set[str]]]) -> dict[str, float]:
    """What each word counts; the parts of one identifier together as much as a word."""
    rarity: dict[str, float] = {}
    for term in words(asked):
        seen = sum(any(term in part for part in parts) for parts in read)
        rare = 2 + math.log(1 + (len(read) - seen + 0.5) / (seen + 0.5))
        rarity[term] = 0.3 * rare if term.isdigit() else rare
    for parts in map(words, dict.fromkeys(re.findall(r"\w+", asked))):
        rarity |= {term: rarity[term] / len(parts) for term in parts}
    return rarity


def _read(passage: Passage) -> list[set[str]]:
    """The words of its heading, then those of each sentence."""
    parts = [f"{passage.path} {passage.title}", *_SENTENCE.split(passage.text)]
    return [set(words(part)) for part in parts]


def _met(rarity: Mapping[str, float], parts: Sequence[set[str]]) -> float:
    """How much of a question a passage has in all, and in its best sentence."""
    asked, heading, said = set(rarity), parts[0], set[str]().union(*parts)

    def share(part: set[str]) -> float:
        near = {t for t in rarity if t in heading or related().get(t, set()) & part}
        has = (rarity[t] * (1 if t in part else _RELATED) for t in near | part & asked)
        return math.fsum(has) / (1 + 0.02 * len(part))

    nearly = {t for t in rarity if not said.isdisjoint(related().get(t, ()))}
    has = (rarity[t] * (1 if t in said else _RELATED) for t in nearly | said & asked)
    best = max(map(share, parts[1:]), default=0.0)
    return (math.fsum(has) + best) / (sum(rarity.values()) or 1.0)


def worth(passage: Passage, question: str = "") -> float:
    """How much a passage counts: prose, code, or little else than figures."""
    found = re.findall(r"[^\W\d_]+|\d+", passage.text)
    if 4 * sum(map(str.isdigit, found)) > len(found):
        return 1.0 if _MEASURE.search(question.lower()) else 0.6
    name = passage.title.rpartition(" > ")[2]
    if passage.is_prose:
        return _SECTIONS.get(name, 1.2)
    return _named(name, question) * (1.0 if _SAID.search(passage.text) else 0.7)


def _named(name: str, question: str) -> float:
    """How much a definition counts: the one asked for, and one for its own file."""
    asked = {*(words(name) or [name])} <= {*words(question)}
    spelt = name in re.findall(r"(?<!^)\b\w*[A-Z_]\w*", question)
    return 1.2 ** (asked + spelt) * (0.85 if re.match(r"_[^_]", name) else 1.0)
