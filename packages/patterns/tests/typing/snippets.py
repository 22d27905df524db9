# pyright: strict
"""Never run: the type checkers must accept what the docs show, as it stands."""

from typing import Any, assert_type

from waybell_budget import BudgetPool
from waybell_deadline import Deadline
from waybell_patterns import (
    Broadcast,
    BroadcastResult,
    Degrade,
    Fallback,
    Pipeline,
    Retry,
    Routed,
    Router,
    Stage,
    Supervisor,
)


class Model:
    async def run(self, prompt: str) -> str:
        return prompt


router = Router(
    {"bug": lambda prompt: "fixing", "topic": "agent:bug", "model": Model()},
    examples={"bug": ["it crashes"]},
)
assert_type(router.run_sync("x", deadline=Deadline(seconds=3)), Routed)
Router({"bug": lambda prompt: prompt.upper()}, classify=lambda prompt: ("bug", 0.9))
Router(
    {"bug": router, "a": Stage("a", str.upper, usd=1)}, classify=Model(), default="a"
)

Pipeline(
    [
        lambda prompt: prompt.upper(),
        lambda prompt, results: results["draft"],
        Stage("draft", lambda prompt: "a draft about " + prompt),
        Stage("shout", lambda prompt, results: results["draft"].upper()),
        Stage("own", str.upper, prompt=lambda prompt, results: prompt + results["a"]),
        router,
    ]
)

panel = Broadcast(
    {"a": lambda prompt: prompt, "b": "topic"},
    quorum=1,
    aggregate=lambda answers: sum(answers.values()),
)
assert_type(panel.run_sync("x", budget=BudgetPool(usd=1)), BroadcastResult)
Broadcast([lambda prompt: prompt, router])

Supervisor(lambda prompt, problems: prompt, lambda prompt, draft: len(draft) < 9)
assert_type(
    Retry(lambda prompt: prompt, on=lambda error: True).run_sync("x", budget=None), Any
)
Fallback(lambda prompt: prompt.missing, str.upper, on=(ValueError, KeyError))
Degrade(lambda prompt: prompt.missing, str.upper, on=ValueError)


async def awaited() -> None:
    assert_type(await router.run("x", deadline=Deadline(3), budget=None), Routed)


router.run_sync("x", timeout=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Router({}, classifier=str)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
