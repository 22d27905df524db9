"""Deadlines and budgets as this package uses them: any object with these methods."""

from collections.abc import Callable
from contextvars import Context, copy_context
from threading import Thread
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from waybell_adapters._reply import Reply


if TYPE_CHECKING:
    from concurrent.futures import Future


T = TypeVar("T")


class DeadlineLike(Protocol):
    """When to stop; `waybell_deadline.Deadline` is one."""

    def check(self) -> None:
        """Raise when it has passed."""

    def timeout(self, cap: float | None = None) -> float | None:
        """Seconds that may be waited, None without limit."""


class BudgetLike(Protocol):
    """What may be spent; `waybell_budget.Budget` is one."""

    def check(self, *args: Any, **amounts: Any) -> Any:
        """Raise when an amount does not fit."""

    def charge(self, *args: Any, **amounts: Any) -> Any:
        """Book `usd`, `model`, `usage`, and the `line` if it is not a billed one."""


def admit(
    deadline: DeadlineLike | None, budget: BudgetLike | None, *, tokens: int
) -> None:
    """Ask both before a call that reads this many tokens."""
    if deadline is not None:
        deadline.check()
    if budget is not None:
        budget.check(tokens=tokens)


def settle(budget: BudgetLike | None, reply: Reply) -> None:
    """Book a paid reply; the complaint that it was too much carries it as `reply`.

    A line that is not billed says so: `line="free"` or `line="estimated"`.
    """
    if budget is None:
        return
    line = {"line": "free"} if reply.cost == 0 else {}
    if reply.usage.estimated:
        line.setdefault("line", "estimated")
    try:
        budget.charge(usd=reply.cost, model=reply.model, usage=reply.usage, **line)
    except Exception as error:
        error.reply = reply  # type: ignore[attr-defined]
        raise


async def in_thread(fn: Callable[[], T], deadline: DeadlineLike | None = None) -> T:
    """Run it in a daemon thread with this context; past the deadline, leave it behind.

    By the loop's own door for executors, so that a simulated loop can run it as a step.
    """
    import asyncio  # noqa: PLC0415 - a loop runs, so it is loaded already

    loop, executor = asyncio.get_running_loop(), cast(Any, _Daemons)
    work = loop.run_in_executor(executor, _run, copy_context(), fn)
    try:
        while not work.done():
            if deadline is not None:
                deadline.check()
            limit = None if deadline is None else deadline.timeout()
            await asyncio.wait({work}, timeout=limit)
    except BaseException:
        work.cancel()
        raise
    return work.result()


def _run(context: Context, fn: Callable[[], T]) -> T:
    try:
        return context.run(fn)
    except StopIteration as error:  # which no asyncio future takes
        raise RuntimeError(f"the model raised {error!r}") from error


class _Daemons:
    """An executor with a daemon thread for each call; `asyncio.run` waits for others."""

    @staticmethod
    def submit(fn: Callable[..., Any], *args: Any) -> "Future[Any]":
        from concurrent.futures import Future  # noqa: PLC0415 - asyncio has loaded it

        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()

        def run() -> None:
            try:
                future.set_result(fn(*args))
            except BaseException as error:
                future.set_exception(error)

        Thread(target=run, daemon=True).start()
        return future
