"""Run a program once per seed and name the seed that breaks it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import inspect
import os
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from waybell_sim._errors import SimulationFailed
from waybell_sim._loop import SimLoop, run_rng


MAX_STEPS = 1_000_000
MAX_TIME = 1_000_000.0


@dataclass(frozen=True, slots=True)
class SimulationReport:
    """What a simulation that found nothing has done.

    Args:
        runs: Seeds run.
        steps: Callbacks run, of all seeds together.
        seconds: Virtual seconds passed, of all seeds together.
    """

    runs: int
    steps: int
    seconds: float


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
    bounds = ""
    if max_steps != MAX_STEPS:
        bounds += f", max_steps={max_steps}"
    if max_time != MAX_TIME:
        bounds += f", max_time={max_time}"
    name = getattr(main, "__qualname__", None) or repr(main)
    return explore(
        main,
        seeds=seeds,
        max_steps=max_steps,
        max_time=max_time,
        replay=lambda seed: f"simulate({name}, seeds=[{seed}]{bounds})",
    )


def explore(
    main: Callable[..., Awaitable[Any]],
    *,
    seeds: int | Iterable[int],
    max_steps: int,
    max_time: float,
    replay: Callable[[int], str],
) -> SimulationReport:
    """Do what `simulate` does, with the replay line left to the caller."""
    __tracebackhide__ = True
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("simulate() runs its own loops: call it from sync code")
    takes_rng = _takes_rng(main)
    passed = steps = 0
    seconds = 0.0
    with _outside_state():
        for seed in _seeds(seeds):
            loop = SimLoop(seed, max_steps, max_time)
            try:
                _run(loop, main, takes_rng, seed)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as exc:
                raise SimulationFailed(seed, exc, passed, replay(seed)) from exc
            finally:
                loop.close()
            passed += 1
            steps += loop.steps
            seconds += loop.time()
    if not passed:
        raise ValueError("no seeds: nothing was simulated")
    return SimulationReport(passed, steps, seconds)


def _run(
    loop: SimLoop, main: Callable[..., Awaitable[Any]], takes_rng: bool, seed: int
) -> None:
    __tracebackhide__ = True
    random.seed(seed)
    context = contextvars.copy_context()
    context.run(run_rng.set, loop.rng)

    async def start() -> None:
        __tracebackhide__ = True
        # Called here, on the running loop, so that `main` may return any awaitable.
        await (main(loop.rng) if takes_rng else main())

    loop.run(start(), context)


@contextlib.contextmanager
def _outside_state() -> Iterator[None]:
    """Keep what a run could disturb, or be disturbed by.

    The module-level random functions are seeded for each run, since retries draw
    their jitter from them. The cyclic garbage collector, whose finalisers would come
    at arbitrary steps, waits until the runs are over.
    """
    state, collecting = random.getstate(), gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        random.setstate(state)
        if collecting:
            gc.enable()


def _takes_rng(main: Callable[..., Awaitable[Any]]) -> bool:
    if not callable(main):
        if inspect.iscoroutine(main):
            main.close()
        raise TypeError(f"main must be an async function, not {main!r}: do not call it")
    needed = [
        parameter
        for parameter in inspect.signature(main).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if len(needed) > 1 or any(p.kind is p.KEYWORD_ONLY for p in needed):
        raise TypeError(f"{main!r} must take no argument or one, the run's Random")
    return bool(needed)


def _seeds(seeds: int | Iterable[int]) -> Iterable[int]:
    if isinstance(seeds, bool):
        raise TypeError(f"seeds must be a count or the seeds, not {seeds!r}")
    if not isinstance(seeds, int):
        return seeds
    text = os.environ.get("WAYBELL_SIM_SEEDS", "").strip()
    if text and not text.isdecimal():
        raise ValueError(f"WAYBELL_SIM_SEEDS must be a count, not {text!r}")
    return range(int(text) if text else seeds)
