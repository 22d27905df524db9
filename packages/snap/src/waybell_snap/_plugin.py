"""The pytest plugin: the fixture `agent_run` and `@pytest.mark.replay`."""

# The fixture ends what users leave at the end of a block.
# ruff: noqa: SLF001
# pyright: reportPrivateUsage=false

import contextlib
import os
import re
import shlex
from collections.abc import Generator, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from waybell_snap._quiet import Offline
from waybell_snap._recording import Recording, Replay
from waybell_snap._redact import Redactor


HOME = "__waybell__"
_PLAIN, _ODD = re.compile(r"[\w.=+-]{1,60}"), re.compile(r"[^\w.=+-]+")
_COMMON = {"matchers", "max_tokens", "max_usd", "redact"}
_REPLAY = {"allow", "patience", "tools"}
_RUNS = pytest.StashKey["Runs"]()
_SEEN = pytest.StashKey["Seen"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.getgroup("waybell").addoption(
        "--waybell-update",
        action="store_true",
        help="run agents for real, and keep what they did as the recordings to replay",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and refuse to update where nobody would look at it."""
    config.addinivalue_line(
        "markers",
        "replay(tools='replay', matchers=..., redact=..., allow=..., max_usd=..., "
        "max_tokens=...): how agent_run records, replays and compares",
    )
    if config.getoption("--waybell-update") and _in_ci():
        raise pytest.UsageError(
            "--waybell-update is for people who look at what changed, and CI is set; "
            "for all that: CI= pytest --waybell-update"
        )
    config.stash[_SEEN] = Seen()
    config.pluginmanager.register(config.stash[_SEEN], "waybell-snap-seen")


def _in_ci() -> bool:
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


def file_of(item: pytest.Item) -> Path:
    """Where the recording of a test is: beside its file, by its name."""
    classes = [one.name for one in item.listchain() if isinstance(one, pytest.Class)]
    name, bracket, case = item.name.partition("[")
    case = case.removesuffix("]")
    clean = Redactor(environ={})(case)
    if bracket and not (_PLAIN.fullmatch(case) and case == case.lower() == clean):
        # Not a name of a file, not one on a disk that takes a for A, or a secret.
        mark = sha256(case.encode(errors="surrogatepass")).hexdigest()[:8]
        case = f"{_ODD.sub('_', clean)[:40]}-{mark}"
    file = ".".join([*classes, f"{name}[{case}]" if bracket else name])
    return item.path.parent / HOME / item.path.stem / f"{file}.json"


class Runs:
    """The runs of one test: the fixture's value, which stands for the first of them.

    Each is recorded if there is no recording yet or `--waybell-update` is given, and kept
    when the test has passed; else it is replayed, and compared when the test has passed.

    Args:
        item: The test.
        settings: Of the marker.
    """

    def __init__(self, item: pytest.Item, settings: dict[str, Any]) -> None:
        self._item, self._settings = item, settings
        self._runs: dict[str, Recording | Replay] = {}
        self._stack = contextlib.ExitStack()
        self._quiet: list[Offline] = []

    def run(self, name: str) -> Recording | Replay:
        """A further run of the same test, kept in a file of its own."""
        if not _PLAIN.fullmatch(name) or "--" in name:
            told = f"a run's name is made of letters, digits and -_.=+, not {name!r}"
            raise ValueError(told)
        return self._begun(name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # Whoever looks at it asks for nothing of a run.
            raise AttributeError(name)
        return getattr(self._begun(""), name)

    def _begun(self, name: str) -> Recording | Replay:
        if name not in self._runs:
            self._runs[name] = self._session(name)
        return self._runs[name]

    def _session(self, name: str) -> Recording | Replay:
        path = file_of(self._item)
        path = path.with_name(f"{path.stem}--{name}.json") if name else path
        if self._item.config.getoption("--waybell-update"):
            return _recording(path, self._settings)
        if path.exists():
            if self._settings.get("tools") != "live":
                self._quiet.append(self._stack.enter_context(Offline()))
            return Replay(path, **self._settings)
        if _in_ci():
            where = os.path.relpath(path, self._item.config.rootpath)
            pytest.fail(
                f"no recording {where}, and in CI none is made. Make it, look at it and "
                f"commit it:\n    pytest {shlex.quote(self._item.nodeid)} --waybell-update",
                pytrace=False,
            )
        return _recording(path, self._settings)

    def close(self, *, passed: bool) -> None:
        """End the runs: keep or compare them, if the test has passed."""
        first = file_of(self._item)
        if passed and "" not in self._runs and first.exists():
            pytest.fail(
                f"{os.path.relpath(first)} was recorded, and now the test asked agent_run "
                "for nothing; delete it if that is meant",
                pytrace=False,
            )
        runs, self._runs = list(self._runs.values()), {}
        with self._stack:
            for run in runs:
                run._closed = True
            if passed:
                self._finish(runs, first)

    def _finish(self, runs: list[Recording | Replay], first: Path) -> None:
        for told in (told for each in self._quiet for told in each.refused):
            pytest.fail(told, pytrace=False)
        # Recordings last: they are kept only if all the rest is as it was.
        for run in sorted(runs, key=lambda run: isinstance(run, Recording)):
            run._finish()
            seen = self._item.config.stash[_SEEN]
            seen.finished.add(first)
            made = isinstance(run, Recording)
            seen.told["made" if made else "used"].add(str(run.path))


def _recording(path: Path, settings: dict[str, Any]) -> Recording:
    return Recording(path, **{k: v for k, v in settings.items() if k in _COMMON})


@pytest.fixture
def agent_run(request: pytest.FixtureRequest) -> Iterator[Runs]:
    """Return the run of this test: `adapter`, `tools`, `watch`, `agent`, `output`."""
    settings: dict[str, Any] = {}
    for marker in reversed([*request.node.iter_markers("replay")]):
        settings |= marker.kwargs
    if unknown := sorted(settings.keys() - _COMMON - _REPLAY):
        pytest.fail(f"@pytest.mark.replay has no {unknown[0]!r}", pytrace=False)
    runs = request.node.stash[_RUNS] = Runs(request.node, settings)
    yield runs
    runs.close(passed=False)


# The innermost wrapper: what it raises is the failure of the test itself.
@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Keep or compare the runs of a test that has passed."""
    if any(m.name == "replay" for m in item.own_markers) and _RUNS not in item.stash:
        pytest.fail("@pytest.mark.replay is for tests with agent_run", pytrace=False)
    result = yield
    if _RUNS in item.stash:
        item.stash[_RUNS].close(passed=True)
    return result


class Seen:
    """Which recordings were made, and which have no test."""

    def __init__(self) -> None:
        self.expected: set[Path] = set()  # the first run of each collected test
        self.files: set[Path] = set()  # of tests, that were collected
        self.finished: set[Path] = set()  # the first run of tests that have passed
        self.told: dict[str, set[str]] = {"made": set(), "used": set(), "unused": set()}

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Note the recording that a test may have, whether it will run or not."""
        if isinstance(item, pytest.Function):
            self.files.add(item.path)
            if "agent_run" in item.fixturenames:
                self.expected.add(file_of(item))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Look for recordings without a test; a worker tells the others."""
        config = session.config
        if not config.getoption("lf", default=False):
            self._look_around(config)
        told: Any = getattr(config, "workeroutput", {})  # of pytest-xdist
        told["waybell_snap"] = {k: sorted(paths) for k, paths in self.told.items()}

    def _look_around(self, config: pytest.Config) -> None:
        """Note the recordings beside whole test files that belong to none of their tests."""
        folder = config.invocation_params.dir
        parts = (arg.partition("::") for arg in config.args)
        partly = {(folder / name).resolve() for name, part, _ in parts if part}
        for home in {path.parent / HOME for path in self.files - partly}:
            for path in home.glob("*/*.json"):
                if not self._owned(path, partly):
                    self.told["unused"].add(str(path))

    def _owned(self, path: Path, partly: set[Path]) -> bool:
        """Whether this is a recording of a test, as far as can be told."""
        test = path.parents[2] / f"{path.parent.name}.py"
        if path in self.expected or (test.exists() and test not in self.files - partly):
            return True
        first = path.with_name(f"{path.stem.rpartition('--')[0]}.json")
        left_out = (
            first in self.finished
            and str(path) not in self.told["used"] | self.told["made"]
        )
        return first in self.expected and not left_out

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Hear from a worker of pytest-xdist."""
        told = getattr(node, "workeroutput", {}).get("waybell_snap", {})
        for what, paths in told.items():
            self.told[what].update(paths)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Tell of recordings that somebody should look at."""
        for what, todo in (
            ("made", "made, to be looked at and committed"),
            ("unused", "without a test or a run, to be deleted"),
        ):
            if paths := sorted(self.told[what]):
                many = f"{len(paths)} recording{'s' * (len(paths) > 1)}"
                terminalreporter.section("waybell")
                terminalreporter.line(f"{many} {todo}:")
                for path in paths:
                    terminalreporter.line(f"  {os.path.relpath(path)}")
