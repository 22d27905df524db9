"""The pytest plugin: `@pytest.mark.simulate`."""

import functools
import inspect
import os
import random
import shlex
from collections.abc import Callable, Generator
from typing import Any, cast

import pytest

from waybell_sim._errors import SimulationFailed
from waybell_sim._simulate import simulate


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
        "simulate(seeds=1000, max_steps=..., max_time=...): run this async test once "
        "per seed, each time in another order, on a virtual clock",
    )
    config.addinivalue_line("markers", "soak: counts grow under make soak")


# The innermost wrapper: it must see the items before pytest-asyncio's does, which
# takes over every item whose function is a coroutine function.
@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_pycollect_makeitem() -> Generator[None, object, object]:
    """Make simulated tests plain functions that run their seeds."""
    made = yield
    many = issubclass(type(made), list)
    for item in cast("list[object]", made if many else [made]):
        if not isinstance(item, pytest.Function):
            continue
        marker = item.get_closest_marker("simulate")
        if marker and inspect.iscoroutinefunction(item.obj):
            item.obj = _simulated(item, item.obj, marker)
        elif marker in item.own_markers:
            what = f"{item.nodeid}: @pytest.mark.simulate needs an async test"
            raise pytest.Collector.CollectError(what)
    return made


def _simulated(
    item: pytest.Function, test: Callable[..., Any], marker: pytest.Mark
) -> Callable[..., None]:
    @functools.wraps(test)
    def run(**arguments: Any) -> None:
        __tracebackhide__ = True
        names = [k for k, v in arguments.items() if isinstance(v, _RunRandom)]

        def main(rng: random.Random) -> Any:
            return test(**arguments | dict.fromkeys(names, rng))

        settings = inspect.signature(simulate).bind(main, *marker.args, **marker.kwargs)
        if only := os.environ.get("WAYBELL_SIM_SEED", "").strip():
            settings.arguments["seeds"] = [int(only)]
        try:
            simulate(*settings.args, **settings.kwargs)
        except SimulationFailed as failed:
            if isinstance(failed.cause, pytest.skip.Exception | pytest.xfail.Exception):
                raise failed.cause from None
            at = f"{os.path.relpath(item.path)}::{item.nodeid.partition('::')[2]}"
            failed.replay = f"WAYBELL_SIM_SEED={failed.seed} pytest {shlex.quote(at)}"
            raise

    return run
