"""Run a program once per seed and name the seed that breaks it."""

import asyncio
import contextlib
import contextvars
import functools
import gc
import inspect
import os
import random
from collections.abc import Awaitable, Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any

from waybell_sim._errors import SimulationFailed
from waybell_sim._loop import SimLoop, run_rng
from waybell_sim._tasks import ordered_set, retrieve


MAX_STEPS, MAX_TIME = 1_000_000, 1_000_000.0


@dataclass(frozen=True, slots=True)
class SimulationReport:
    """What a simulation that found nothing has done, all seeds together."""

    runs: int
    steps: int  # callbacks run
    seconds: float  # on the virtual clock


def simulate(
    main: Callable[..., Awaitable[Any]],
    *,
    seeds: int | Iterable[int] = 1000,
    max_steps: int = MAX_STEPS,
    max_time: float = MAX_TIME,
) -> SimulationReport:
    """Run `main` once per seed, each time in another order and on a virtual clock.

    Args:
        main: An async function of no argument, or of one: the run's `random.Random`.
        seeds: A count, meaning 0 to n-1 (the environment variable
            `WAYBELL_SIM_SEEDS` replaces it), or the seeds themselves.
        max_steps: Callbacks a run may take before it counts as a livelock.
        max_time: Virtual seconds it may take before it does.

    Raises:
        SimulationFailed: A run raised, deadlocked, never ended, or lost an exception.
        RuntimeError: Called while an event loop is running in this thread.
    """
    __tracebackhide__ = True
    if asyncio._get_running_loop() is not None:  # noqa: SLF001 - documented for loops
        raise RuntimeError("simulate() runs its own loops: call it from sync code")
    takes_rng = _takes_rng(main)
    passed, steps, seconds = 0, 0, 0.0
    for seed in _seeds(seeds):
        loop = SimLoop(seed, max_steps, max_time)
        try:
            with _apart(seed), contextlib.closing(loop):
                wrong = contextvars.copy_context().run(_run, loop, main, takes_rng)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as exc:
            replay = _replay(main, seed, max_steps, max_time)
            raise SimulationFailed(seed, exc, passed, replay) from exc
        if wrong:
            raise TypeError(f"main must be an async function, but {main!r} {wrong}")
        passed += 1
        steps += loop.steps
        seconds += loop.time()
    if not passed:
        raise ValueError("no seeds: nothing was simulated")
    return SimulationReport(passed, steps, seconds)


def _run(loop: SimLoop, main: Callable[..., Any], takes_rng: bool) -> str:
    """Run the program and end what it leaves; say what was wrong with `main` itself.

    What else went wrong is raised: the first error, with the others as its notes.
    """
    __tracebackhide__ = True

    async def program() -> str:
        __tracebackhide__ = True
        # Called here, on the running loop, so that `main` may return any awaitable.
        given = main(loop.rng) if takes_rng else main()
        if not inspect.isawaitable(given):
            return f"gave {given!r}"
        await given
        return ""

    run_rng.set(loop.rng)
    top: asyncio.Task[str] = loop.create_task(program(), name="main")
    failure = loop.drive(top.done)
    if failure is None:
        failure = asyncio.CancelledError("main") if top.cancelled() else top.exception()
    # Cleaning up may take as long again.
    loop.max_steps += loop.steps
    loop.max_time += loop.time()
    late = _end_tasks(loop)
    if late is None and loop.agens:
        late = loop.drive(loop.create_task(loop.shutdown_asyncgens()).done)
    errors = [e for e in (failure, late, *loop.lost, *retrieve(loop.tasks)) if e]
    if errors:
        for other in errors[1:]:
            errors[0].add_note(f"also: {type(other).__name__}: {other}")
        raise errors[0]
    return top.result()


def _end_tasks(loop: SimLoop) -> BaseException | None:
    """Cancel what is pending, again and again, since clean-up may start tasks."""
    while True:
        pending = loop.pending()
        for task in pending:
            task.cancel()
        for task in pending:
            if failure := loop.drive(task.done):
                failure.add_note("its remaining tasks had been cancelled before")
                return failure
        # Callbacks start tasks too: so it is that abandoned generators are closed.
        limit = min(loop.steps + 1000, loop.max_steps)
        failure = loop.drive(functools.partial(loop.idle_or_at, limit))
        if failure or not loop.pending():
            return failure


@contextlib.contextmanager
def _apart(seed: int) -> Generator[None]:
    """Keep a run apart from the process.

    Libraries draw jitter from the module-level functions of `random`; finalisers of
    cycles would come at arbitrary steps, so they are collected between runs.
    """
    state, collecting = random.getstate(), gc.isenabled()
    names = asyncio.tasks.__dict__
    nested = "set" in names
    names["set"] = ordered_set
    gc.disable()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
        if not nested:
            names.pop("set", None)
        if collecting:
            gc.enable()


def _replay(main: object, seed: int, max_steps: int, max_time: float) -> str:
    name = getattr(main, "__qualname__", None) or repr(main)
    steps = f", max_steps={max_steps}" if max_steps != MAX_STEPS else ""
    time = f", max_time={max_time}" if max_time != MAX_TIME else ""
    return f"simulate({name}, seeds=[{seed}]{steps}{time})"


def _takes_rng(main: Callable[..., Awaitable[Any]]) -> bool:
    if not callable(main):
        if inspect.iscoroutine(main):
            main.close()
        raise TypeError(f"main must be an async function, not {main!r}: do not call it")
    taken = inspect.signature(main).parameters.values()
    needed = [p for p in taken if p.kind < p.VAR_POSITIONAL and p.default is p.empty]
    if len(needed) > 1:
        raise TypeError(f"{main!r} must take no argument or one, the run's Random")
    return bool(needed)


def _seeds(seeds: int | Iterable[int]) -> Iterable[int]:
    if not isinstance(seeds, int):
        return seeds
    text = os.environ.get("WAYBELL_SIM_SEEDS", "").strip()
    if text and not text.isdecimal():
        raise ValueError(f"WAYBELL_SIM_SEEDS must be a count, not {text!r}")
    return range(int(text) if text else seeds)
