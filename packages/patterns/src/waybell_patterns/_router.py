"""Router: a classifier picks the route, the route's agent answers."""

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from math import log, sqrt
from typing import Any, Unpack

from waybell_patterns._agent import Agent
from waybell_patterns._errors import UnknownIntentError, meant
from waybell_patterns._pattern import Pattern, Setting
from waybell_patterns._results import Result, fields_of, text_of
from waybell_patterns._run import Run


Examples = Mapping[str, Iterable[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed(Result):
    """Where a prompt went, and what was answered there.

    Args:
        intent: What the classifier said.
        confidence: How sure it was, 0 to 1; None if it gave no figure.
        route: The route taken: the intent, or the default one.
        value: The answer.
    """

    intent: str
    confidence: float | None
    route: str
    value: Any


class Router(Pattern[Routed]):
    """Send a prompt to the agent of its intent.

    >>> ask = Router(
    ...     {"bug": lambda prompt: "fixing", "praise": lambda prompt: "thanks"},
    ...     examples={"bug": ["it crashes"], "praise": ["I love it"]},
    ... )
    >>> ask.run_sync("why does it crash?").value
    'fixing'

    Args:
        routes: Agents by intent.
        classify: An agent that names the intent: by its text, by `(intent,
            confidence)`, by a mapping or JSON text with `intent` (or `label`) and
            `confidence`. Without a confidence, it counts as sure.
        examples: Instead of `classify`: example prompts by intent; the nearest one's
            intent is taken, its similarity (0 to 1) is the confidence.
        threshold: The confidence, 0 to 1, below which an intent is not taken.
        default: The intent in `routes` to take where none is known or sure enough;
            without it, that is an `UnknownIntentError`.
        **setting: As in every pattern.

    Raises:
        ValueError: No routes; a default or an example for an intent without a route;
            both or neither of `classify` and `examples`; a threshold out of range.
    """

    __slots__ = ("_classify", "_default", "_routes", "_threshold")

    def __init__(
        self,
        routes: Mapping[str, Agent],
        *,
        classify: Agent = None,
        examples: Examples | None = None,
        threshold: float = 0.0,
        default: str | None = None,
        **setting: Unpack[Setting],
    ) -> None:
        super().__init__(**setting)
        if (classify is None) == (examples is None):
            raise ValueError("give a router either classify= or examples=")
        if not routes:
            raise ValueError("a router needs at least one route")
        for name in sorted(map(str, {*(examples or ()), default} - {*routes, None})):
            given = {default: "default="}.get(name, "examples=")
            raise ValueError(f"{given} names {name!r}, no route; {meant(name, routes)}")
        if not 0.0 <= threshold <= 1.0:
            raise ValueError(f"threshold is a confidence, 0 to 1, not {threshold!r}")
        if examples is not None:
            classify = nearest(examples)
        self._classify = self._hire(classify, "classify")
        self._routes = {name: self._hire(agent, name) for name, agent in routes.items()}
        self._threshold, self._default = threshold, default

    async def _run(self, run: Run, prompt: str) -> Routed:
        async with run.wall():
            intent, sure = _intent(await run.ask(self._classify, prompt))
            doubtful = sure is not None and sure < self._threshold
            known = intent in self._routes and not doubtful
            route = intent if known else self._default
            told: Any = {"intent": intent, "confidence": sure, "route": route}
            run.record("route", prompt=prompt, **told)
            if route is None:
                raise UnknownIntentError(intent, self._routes, sure, self._threshold)
            value = await run.ask(self._routes[route], prompt, intent=intent)
        return Routed(value=value, **told, **run.spent())


def _intent(answer: Any) -> tuple[str, float | None]:
    """Read what a classifier returned."""
    sure: Any = None
    if isinstance(answer, tuple):
        pair: list[Any] = [*answer, None, None]
        answer, sure = pair[:2]
    elif told := fields_of(answer):
        answer, sure = told.get("intent", told.get("label")), told.get("confidence")
    try:
        confidence = float(sure)
    except (TypeError, ValueError):
        confidence = -1.0
    name = text_of(answer).strip(" \t\n.'\"`*")
    return name, confidence if 0.0 <= confidence <= 1.0 else None


def nearest(examples: Examples) -> Callable[[str], Awaitable[tuple[str, float]]]:
    """Classify by likeness: the intent of the most similar example, and how similar.

    That is the cosine of their words and the words' trigrams, the rare ones weighing
    more (TF-IDF); what no example has is as rare as can be.
    """
    texts = [
        (intent, _features(text)) for intent, given in examples.items()
        for text in ([given] if isinstance(given, str) else given)
    ]  # fmt: skip
    empty = set(examples) - {intent for intent, features in texts if features}
    if empty or not texts:
        raise ValueError(f"examples= has no usable text for {sorted(empty)}")
    seen = Counter(chain.from_iterable(features for _, features in texts))

    def weight(features: set[str]) -> float:
        return sum(log(1 + len(texts) / max(seen[name], 1)) ** 2 for name in features)

    async def classify(prompt: str) -> tuple[str, float]:
        asked, best = _features(prompt), ("", 0.0)
        for intent, features in texts:
            both = sqrt(weight(asked) * weight(features)) or 1.0
            likeness = weight(asked & features) / both
            best = max(best, (intent, likeness), key=lambda each: each[1])
        return best

    return classify


def _features(text: str) -> set[str]:
    """Words and their trigrams, so that inflections and typing errors still meet."""
    found = {f" {word} " for word in re.findall(r"\w+", text.casefold())}
    return found | {word[at : at + 3] for word in found for at in range(len(word) - 2)}
