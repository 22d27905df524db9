"""Which units of a text answer a question best."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, pairwise
from math import log, prod

from waybell_adapters._text import SCOPE, Unit, content, terms


# What a question looks like, what its answer looks like, and how much that counts.
_SHAPES = tuple(
    (re.compile(question, re.IGNORECASE), re.compile(answer, re.IGNORECASE), factor)
    for question, answer, factor in (
        (r"\bwhere\b|\bwhich (?:file|module|class)\b|\bdefined?\b", r"(?:async )?(?:def|class|function|fn|func|struct) \w", 1.6),
        (r"\bwhy\b|\breason", r"\bbecause\b|\bso that\b|\bsince\b|\botherwise\b", 1.3),
        (r"\bhow (?:many|much|long|often|fast)\b|\blimit|\bdefault", r"\d", 1.2),
        (r"\bwhat (?:is|are|does)\b|\bexplain\b", r"^\W*\w+\W? (?:is|are|\w+s)\b", 1.1),
        (r"\braise|\berror|\bfails?\b|\bexception", r"\braise|Error\b|\brefuse", 1.15),
        (r"^(?!.*(?:\braise|\berror|\bfail|\bexception))", r"^\w+(?:Error|Exceeded|Exception|Warning): ", 0.5),
    )
)  # fmt: skip
_GUIDED = re.compile(
    r"\bhow (?:do|can|could|should|would|to)\b|\bexample|\bcommand", re.IGNORECASE
)
_IMPORT = re.compile(r"(?:from|import|use|#include)\b|[\w\"']+,?$")
_AGAIN = 0.7  # how much more of a passage that is quoted already counts
_CODE = {"code": (0.3, 0.5), "fence": (0.3, 0.9)}  # where the way to do it is asked
_K1, _B = 1.2, 0.6
_FADES = 0.2  # how much less each next passage counts: they come best first


class Ranking:
    """The units of some passages, ordered by how well they answer a question.

    BM25 over the units, with what their headings say counted in part, and the passages
    that come first counted more.

    Args:
        units: What may be quoted.
        question: What is asked.
        each: Goes through what is given, and may raise in between.
    """

    __slots__ = (
        "_bags", "_idf", "_located", "_pairs", "order", "question", "score", "units"
    )  # fmt: skip

    def __init__(
        self,
        units: Sequence[Unit],
        question: str,
        each: Callable[[Iterable[Unit]], Iterable[Unit]] = iter,
    ) -> None:
        self.units = [unit for unit in units if unit.kind != "heading"] or list(units)
        self.question = content(question)
        self._bags = [Counter(terms(unit.text)) for unit in each(self.units)]
        self._idf = self._rarity(question)
        self._located = _SHAPES[0][0].search(question) is not None
        self._pairs = set(pairwise(t for t in terms(question) if t in self._idf))
        self.score = self._scores(question, each(self.units))
        self.order = sorted(range(len(self.units)), key=lambda n: -self.score[n])

    def best(self, count: int, *, least: float = 0.3, enough: float = 0.2) -> list[int]:
        """The best units, each adding something; none if the question is not met."""
        chosen: list[int] = []
        pool = self.order[: 10 * count]
        floor = least * self.score[pool[0]] if pool else 0.0
        while pool and len(chosen) < count:
            worth = {n: self.score[n] * self._novelty(n, chosen) for n in pool}
            n = max(pool, key=lambda n: (worth[n], -n))
            if chosen and worth[n] < floor:
                break
            pool.remove(n)
            chosen.append(n)
        met = self._coverage(chosen) >= enough
        return self._explained(chosen, count) if met else []

    def _explained(self, chosen: Sequence[int], count: int) -> list[int]:
        """With what a definition's docstring says, or that alone if it is not sought."""
        told = dict.fromkeys(chosen)
        for n in chosen:
            said = self._docstring(n)
            if not self._located:
                told = dict.fromkeys(said if m == n else m for m in told)
            elif len(told) < count:
                pairs = ((m, said) if m == n else (m,) for m in told)
                told = dict.fromkeys(chain.from_iterable(pairs))
        return list(told)

    def _docstring(self, n: int) -> int:
        unit, near = self.units[n], self.units[n + 1 : n + 9]
        own = ("prose", unit.context, unit.mark) if SCOPE.match(unit.text) else ()
        return next((m for m, u in enumerate(near, n + 1) if u[1:] == own), n)

    def _rarity(self, question: str) -> dict[str, float]:
        near = zip(self._bags, self.units, strict=True)
        seen = Counter(term for bag, unit in near for term in {*bag, *unit.context})
        rest = {term: len(self.units) - seen[term] + 0.5 for term in self.question}
        # Where all passages are on one thing, its name is in all, and still counts.
        rare = {term: log(1 + rest[term] / (seen[term] + 0.5)) + 1 for term in rest}
        for parts in map(terms, dict.fromkeys(re.findall(r"\w+", question))):
            own = rare.keys() & parts  # of one identifier: as much as one word
            rare |= {term: rare[term] / len(own) for term in own}
        return rare

    def _scores(self, question: str, units: Iterable[Unit]) -> list[float]:
        sizes = [sum(bag.values()) for bag in self._bags]
        mean = max(1.0, sum(sizes) / max(1, len(sizes)))
        marks = dict.fromkeys(unit.mark for unit in self.units)
        place = {mark: n for n, mark in enumerate(marks)}
        guided = _GUIDED.search(question) is not None
        shapes = [(answer, f) for asked, answer, f in _SHAPES if asked.search(question)]
        return [
            self._bare(n, sizes[n] / mean)
            * _factor(unit, set(self.question), shapes, guided=guided)
            / (1 + _FADES * place[unit.mark])
            for n, unit in enumerate(units)
        ]

    def _bare(self, n: int, size: float) -> float:
        bag, context = self._bags[n], self.units[n].context
        score = 0.0
        for term, idf in self._idf.items():
            if times := bag[term]:
                score += idf * times * (_K1 + 1) / (times + _K1 * (1 - _B + _B * size))
            elif term in context:
                score += 0.5 * idf
        line = pairwise(terms(self.units[n].text)) if self._pairs else ()
        return score + 0.5 * len(self._pairs.intersection(line))

    def _coverage(self, chosen: Sequence[int]) -> float:
        """The share of the question's terms, weighted, that these units speak of."""
        said = {t for n in chosen for t in {*self._bags[n], *self.units[n].context}}
        met = sum(idf for term, idf in self._idf.items() if term in said)
        return met / (sum(self._idf.values()) or 1.0)

    def _novelty(self, n: int, chosen: Sequence[int]) -> float:
        """What it adds: other words, and the word of another passage."""
        mine, mark = self._bags[n].keys(), self.units[n].mark
        others = (self._bags[m].keys() for m in chosen)
        like = (len(mine & other) / (len(mine | other) or 1) for other in others)
        again = mark and any(self.units[m].mark == mark for m in chosen)
        return (1.0 - max(like, default=0.0) ** 2) * (_AGAIN if again else 1.0)


def _factor(
    unit: Unit,
    asked: set[str],
    shapes: Sequence[tuple["re.Pattern[str]", float]],
    *,
    guided: bool,
) -> float:
    """How much a unit's shape counts: prose, or the definition of what is asked for."""
    scope = SCOPE.match(unit.text) if unit.kind == "code" else None
    if scope:
        factor = 1.3 if asked.issuperset(content(scope[1])) else 0.35
    elif unit.kind in _CODE:
        factor = 0.2 if _IMPORT.match(unit.text) else _CODE[unit.kind][guided]
    else:
        factor = 1.0 if len(unit.text.split()) > 2 else 0.5
    return factor * prod(worth for shape, worth in shapes if shape.search(unit.text))
