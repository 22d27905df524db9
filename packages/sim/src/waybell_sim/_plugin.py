"""The pytest plugin: `@pytest.mark.simulate`."""

from __future__ import annotations

import functools
import inspect
import os
import random
import shlex
from collections.abc import Callable, Generator
from typing import Any

import pytest


class _RunRandom(random.Random):
    """Stands for the run's Random until there is a run."""


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Return the run's `random.Random` (in a test marked `simulate`)."""
    if request.node.get_closest_marker("simulate") is None:
        pytest.fail("the fixture rng needs @pytest.mark.simulate", pytrace=False)
    return _RunRandom(0)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    config.addinivalue_line(
        "markers",
        "simulate(seeds=1000, max_steps=1000000, max_time=1000000.0): run this async "
        "test once per seed, each time in another order, on a virtual clock",
    )
    config.addinivalue_line("markers", "soak: counts grow under make soak")


# The innermost wrapper: it must see the items before pytest-asyncio's does, which
# takes over every item whose function is a coroutine function.
@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_pycollect_makeitem() -> Generator[None, Any, Any]:
    """Make simulated tests plain functions that run their seeds."""
    made = yield
    for item in made if isinstance(made, list) else [made]:
        if isinstance(item, pytest.Function):
            _wrap(item)
    return made


def _wrap(item: pytest.Function) -> None:
    marker = item.get_closest_marker("simulate")
    if marker is None:
        return
    if inspect.iscoroutinefunction(item.obj):
        item.obj = _simulated(item, item.obj, marker)
    elif marker in item.own_markers:
        raise pytest.Collector.CollectError(
            f"{item.nodeid}: @pytest.mark.simulate needs an async test"
        )


def _simulated(
    item: pytest.Function, test: Callable[..., Any], marker: pytest.Mark
) -> Callable[..., None]:
    @functools.wraps(test)
    def run(**arguments: Any) -> None:
        __tracebackhide__ = True
        from waybell_sim._errors import SimulationFailed  # noqa: PLC0415 - start-up
        from waybell_sim._simulate import explore, simulate  # noqa: PLC0415

        names = [k for k, v in arguments.items() if isinstance(v, _RunRandom)]

        def main(rng: random.Random) -> Any:
            return test(**arguments | dict.fromkeys(names, rng))

        settings = inspect.signature(simulate).bind(main, *marker.args, **marker.kwargs)
        settings.apply_defaults()
        only = os.environ.get("WAYBELL_SIM_SEED", "").strip()
        if only:
            settings.arguments["seeds"] = [int(only)]
        where = shlex.quote(item.config.cwd_relative_nodeid(item.nodeid))
        try:
            explore(
                **settings.arguments,
                replay=lambda seed: f"WAYBELL_SIM_SEED={seed} pytest {where}",
            )
        except SimulationFailed as failed:
            if isinstance(failed.cause, pytest.skip.Exception | pytest.xfail.Exception):
                raise failed.cause from None
            raise

    return run
