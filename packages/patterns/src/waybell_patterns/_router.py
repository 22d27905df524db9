"""Router: a classifier picks the route, the route's agent answers."""

from collections.abc import Iterable, Mapping
from typing import Any, Unpack

from waybell_patterns._agent import Agent
from waybell_patterns._errors import UnknownIntentError
from waybell_patterns._nearest import NearestExample
from waybell_patterns._pattern import Pattern, Setting
from waybell_patterns._results import Routed, fields_of, text_of
from waybell_patterns._run import Run, Worker


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
        strangers = {*(examples or ()), *(() if default is None else (default,))}
        if not routes or strangers - set(routes):
            raise ValueError(f"no route for {sorted(strangers - set(routes))}")
        if not 0.0 <= threshold <= 1.0:
            raise ValueError(f"threshold is a confidence, 0 to 1, not {threshold!r}")
        self._classify = (
            self._hire(classify, "classify") if examples is None else
            NearestExample(examples)
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
