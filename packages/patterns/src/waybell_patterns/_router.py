"""Router: a classifier picks the route, the route's agent answers."""

import json
from collections.abc import Iterable, Mapping
from time import perf_counter
from typing import Any

from waybell_patterns._call import Agent
from waybell_patterns._errors import UnknownIntentError
from waybell_patterns._matcher import NearestExample
from waybell_patterns._pattern import Pattern, Setting, Spent, Worker
from waybell_patterns._results import Routed, text_of


class Router(Pattern[Routed]):
    """Send a prompt to the agent of its intent.

    Args:
        routes: Agents by intent.
        classify: An agent that names the intent: by its text, by `(intent,
            confidence)`, by a mapping or JSON text with `intent` and optional
            `confidence`.
        examples: Instead of `classify`: example prompts by intent; the nearest one's
            intent is taken, its similarity (0 to 1) is the confidence.
        threshold: The confidence, 0 to 1, below which the default route is taken.
        default: The intent in `routes` to take then.
        bus, budget, deadline, log, tracer: As in every pattern.

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
        **setting: Any,
    ) -> None:
        super().__init__(**setting)
        if not routes:
            raise ValueError("a router needs at least one route")
        if (classify is None) == (examples is None):
            raise ValueError("give a router either classify= or examples=")
        strangers = {*(examples or ()), *(() if default is None else (default,))}
        if strangers - set(routes):
            raise ValueError(f"no route for {sorted(strangers - set(routes))}")
        if not 0.0 <= threshold <= 1.0:
            raise ValueError(f"threshold is a confidence, 0 to 1, not {threshold!r}")
        self._classify = (
            Worker(classify, self._setting, "classify") if examples is None else
            NearestExample(examples)
        )  # fmt: skip
        self._routes = {
            intent: Worker(agent, self._setting, intent)
            for intent, agent in routes.items()
        }
        self._threshold = threshold
        self._default = default

    async def _run(self, setting: Setting, prompt: str, spent: Spent) -> Routed:
        began = perf_counter()
        if isinstance(self._classify, Worker):
            answer = await self._classify.ask(setting, prompt, {}, spent)
            intent, confidence = _intent(answer)
        else:
            intent, confidence = self._classify(prompt)
        route = self._route(setting, prompt, intent, confidence)
        value = await self._routes[route].ask(
            setting, prompt, {"intent": intent}, spent
        )
        return Routed(
            intent, confidence, route, value, spent.usd, perf_counter() - began
        )

    def _route(
        self, setting: Setting, prompt: str, intent: str, confidence: float | None
    ) -> str:
        sure = confidence is None or confidence >= self._threshold
        route = intent if sure else self._default
        known = route in self._routes and (intent in self._routes or not sure)
        setting.record(
            "route", prompt=prompt, intent=intent, confidence=confidence,
            route=route if known else None, sure=sure,
        )  # fmt: skip
        if route is None or not known:
            raise UnknownIntentError(intent, self._routes, confidence, self._threshold)
        return route


def _intent(answer: object) -> tuple[str, float | None]:
    """Read what a classifier returned."""
    if isinstance(answer, str):
        text = text_of(answer).strip()
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            return text, None
        answer = data if isinstance(data, dict | str) else text
    if isinstance(answer, Mapping):
        answer = (answer.get("intent", ""), answer.get("confidence"))
    if isinstance(answer, tuple) and len(answer) == 2:
        intent, confidence = answer
        number = isinstance(confidence, int | float) and not isinstance(
            confidence, bool
        )
        return str(intent).strip(), float(confidence) if number else None
    return text_of(answer).strip(), None
