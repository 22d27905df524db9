"""Router: a classifier picks the route, the route's agent answers."""

from collections.abc import Iterable, Mapping
from typing import Any

from waybell_patterns._call import Agent
from waybell_patterns._errors import UnknownIntentError
from waybell_patterns._matcher import NearestExample
from waybell_patterns._pattern import Pattern, Run, Worker
from waybell_patterns._results import Routed, json_object, text_of


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
            Worker(classify, self._bus, "classify") if examples is None else
            NearestExample(examples)
        )  # fmt: skip
        self._routes = {
            intent: Worker(agent, self._bus, intent) for intent, agent in routes.items()
        }
        self._threshold = threshold
        self._default = default

    async def _run(self, run: Run, prompt: str) -> Routed:
        if isinstance(self._classify, Worker):
            intent, confidence = _intent(await run.ask(self._classify, prompt))
        else:
            intent, confidence = self._classify(prompt)
        route = self._route(intent, confidence)
        run.record(
            "route", prompt=prompt, intent=intent, confidence=confidence, route=route
        )
        if route is None:
            raise UnknownIntentError(intent, self._routes, confidence, self._threshold)
        value = await run.ask(self._routes[route], prompt, intent=intent)
        return Routed(intent, confidence, route, value, run.usd, run.seconds)

    def _route(self, intent: str, confidence: float | None) -> str | None:
        if confidence is not None and confidence < self._threshold:
            return self._default
        return intent if intent in self._routes else None


def _intent(answer: Any) -> tuple[str, float | None]:
    """Read what a classifier returned."""
    if isinstance(answer, str):
        answer = json_object(text_of(answer)) or answer
    if isinstance(answer, Mapping):
        fields: Mapping[str, Any] = answer
        named = fields.get("intent", fields.get("label", ""))
        answer = (named, fields.get("confidence"))
    pair: tuple[Any, ...] = answer if isinstance(answer, tuple) else (answer, None)
    intent, sure = (*pair, None)[:2]
    number = isinstance(sure, int | float) and not isinstance(sure, bool)
    return text_of(intent).strip(), sure if number else None
