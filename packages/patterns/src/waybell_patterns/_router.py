"""Router: a classifier picks the route, the route's agent answers."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Unpack

from waybell_patterns._agent import Agent
from waybell_patterns._errors import UnknownIntentError
from waybell_patterns._pattern import Pattern, Setting
from waybell_patterns._results import Routed, fields_of, text_of
from waybell_patterns._run import Run, Worker


Classifier = Callable[[str], tuple[str, float]]


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
            confidence)`, by a mapping or JSON text with `intent` and `confidence`.
            Without a confidence, it counts as sure.
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
        examples: Mapping[str, Iterable[str]] | None = None,
        threshold: float = 0.0,
        default: str | None = None,
        **setting: Unpack[Setting],
    ) -> None:
        super().__init__(**setting)
        if (classify is None) == (examples is None):
            raise ValueError("give a router either classify= or examples=")
        strangers = {*(examples or ()), default} - {*routes, None}
        if not routes or strangers:
            raise ValueError(f"no route for {sorted(map(str, strangers))}")
        if not 0.0 <= threshold <= 1.0:
            raise ValueError(f"threshold is a confidence, 0 to 1, not {threshold!r}")
        self._classify = (
            self._hire(classify, "classify") if examples is None else
            nearest(examples)
        )  # fmt: skip
        self._routes = {name: self._hire(agent, name) for name, agent in routes.items()}
        self._threshold, self._default = threshold, default

    async def _run(self, run: Run, prompt: str) -> Routed:
        async with run.wall():
            if isinstance(self._classify, Worker):
                intent, sure = _intent(await run.ask(self._classify, prompt))
            else:
                intent, sure = self._classify(prompt)
            doubtful = sure is not None and sure < self._threshold
            known = intent in self._routes and not doubtful
            route = intent if known else self._default
            run.record(
                "route", prompt=prompt, intent=intent, confidence=sure, route=route
            )
            if route is None:
                raise UnknownIntentError(intent, self._routes, sure, self._threshold)
            value = await run.ask(self._routes[route], prompt, intent=intent)
        return Routed(
            intent=intent, confidence=sure, route=route, value=value, **run.spent()
        )


def _intent(answer: Any) -> tuple[str, float | None]:
    """Read what a classifier returned."""
    sure: Any = None
    if isinstance(answer, tuple):
        pair: list[Any] = [*answer, "", None]
        answer, sure = pair[:2]
    elif told := fields_of(answer):
        answer, sure = told.get("intent", told.get("label", "")), told.get("confidence")
    try:
        confidence = float(sure)
    except (TypeError, ValueError):
        confidence = -1.0
    named = 0.0 <= confidence <= 1.0 and not isinstance(sure, bool)
    return text_of(answer).strip(" \t\n.'\"`*"), confidence if named else None


def _features(text: str) -> Counter[str]:
    """Words and their trigrams, so that inflections and typing errors still meet."""
    found: Counter[str] = Counter()
    for word in re.findall(r"\w+", text.casefold()):
        padded = f" {word} "
        found[padded] += 1
        found.update(padded[start : start + 3] for start in range(len(padded) - 2))
    return found


def _featured(
    examples: Mapping[str, Iterable[str]],
) -> Iterator[tuple[str, Counter[str]]]:
    for intent, given in examples.items():
        for text in [given] if isinstance(given, str) else given:
            yield intent, _features(text)


def nearest(examples: Mapping[str, Iterable[str]]) -> Classifier:
    """Classify by likeness: the intent of the most similar example, and how similar.

    Words and their trigrams are weighted by TF-IDF; what no example has counts as rare.
    """
    texts = list(_featured(examples))
    empty = set(examples) - {intent for intent, features in texts if features}
    if empty or not texts:
        raise ValueError(f"examples= has no usable text for {sorted(empty)}")
    seen = Counter(name for _, features in texts for name in features)
    weights = {name: math.log(1 + len(texts) / n) for name, n in seen.items()}
    rare = max(weights.values())

    def unit(features: Counter[str]) -> dict[str, float]:
        weighted = {
            name: (1 + math.log(count)) * weights.get(name, rare)
            for name, count in features.items()
        }
        length = math.hypot(*weighted.values()) or 1.0
        return {name: weight / length for name, weight in weighted.items()}

    units = [(intent, unit(features)) for intent, features in texts]

    def classify(prompt: str) -> tuple[str, float]:
        asked, best = unit(_features(prompt)), (-1.0, "")
        for intent, example in units:
            score = sum(w * example.get(name, 0.0) for name, w in asked.items())
            best = (score, intent) if score > best[0] else best
        return best[1], min(1.0, best[0])

    return classify
