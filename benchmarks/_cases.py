"""What is measured: suites of cases, and in each case a limit, us and the peers.

A contestant is a generator function. It sets up, yields `run(n)`, which does the
work `n` times, and cleans up after the yield. An async generator with an async
`run` is driven on an event loop of its own; a plain one outside any loop.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal


Kind = Literal["time", "value", "growth", "import", "rate"]
Role = Literal["limit", "ours", "peer"]


@dataclass(frozen=True, slots=True)
class Contestant:
    """One row of a case.

    Args:
        label: What the row is called.
        make: The generator function that sets it up.
        role: The limit, one of ours, or a peer.
        env: The environment it runs in (see `_environments`).
        package: The distributions whose versions the page names.
        size: How much is there before the measuring starts (growth only).
    """

    label: str
    make: Callable[[], Any]
    role: Role
    env: str = "own"
    package: str = ""
    size: int = 0

    @property
    def key(self) -> str:
        """What the driver and the worker call it."""
        return f"{self.label}@{self.size}" if self.size else self.label


def nothing_beside() -> AbstractContextManager[dict[str, str]]:
    """What most cases need beside them."""
    return nullcontext({})


@dataclass(slots=True, eq=False)
class Case:
    """One question, asked of several contestants in interleaved rounds.

    Args:
        name: Unique in its suite.
        title: A heading for the page.
        kind: `time` (per operation), `value` (`run` returns the figure), `growth`
            (time against size), `import` (fresh interpreters) or `rate` (`run` warms up
            and returns how much it did then, and the ns of wall and CPU it took).
        unit: Of the figure.
        note: A sentence or two below the heading.
        count: The `n` of a `value` or a `rate` case.
        per: Operations in each turn of a contestant's loop.
        rounds: Counted rounds at most, where each takes long.
        patience: Seconds after which a contestant runs no further rounds, but one counts.
        beside: Runs what all contestants share, and gives variables that tell of it.
    """

    name: str
    title: str
    kind: Kind = "time"
    unit: str = "µs"
    note: str = ""
    count: int = 1
    per: int = 1
    rounds: int = 1000
    patience: int = 0
    beside: Callable[[], AbstractContextManager[dict[str, str]]] = nothing_beside
    contestants: list[Contestant] = field(default_factory=list)

    def limit(self, label: str, *, package: str = "", size: int = 0) -> Callable:
        """Register the limit, which also runs on the newer Python if peers do."""
        return self._register(label, "limit", "own", package, size)

    def ours(self, label: str, *, env: str = "own", size: int = 0) -> Callable:
        """Register one of ours."""
        return self._register(label, "ours", env, "", size)

    def peer(
        self, label: str, *, env: str = "light", package: str = "", size: int = 0
    ) -> Callable:
        """Register a peer."""
        return self._register(label, "peer", env, package, size)

    def _register(
        self, label: str, role: Role, env: str, package: str, size: int
    ) -> Callable:
        def add(make: Callable[[], Any]) -> Callable[[], Any]:
            self.contestants.append(Contestant(label, make, role, env, package, size))
            return make

        return add

    def reference(self) -> Contestant | None:
        """The limit, if this case has one."""
        return next((c for c in self.contestants if c.role == "limit"), None)


@dataclass(frozen=True, slots=True)
class Target:
    """A ratio we promised ourselves.

    Args:
        what: In words.
        case: Where it is measured.
        ours: The key of our row.
        against: The key of the row it is divided by; None: the figure itself.
        at_most: The promise.
        aim: What we hope for, if stricter.
        at_least: The promise where more is better: of the rates of a `rate` case.
    """

    what: str
    case: Case
    ours: str
    against: str | None
    at_most: float | None = None
    aim: float | None = None
    at_least: float | None = None


@dataclass(frozen=True, slots=True)
class Suite:
    """The cases of one package.

    Args:
        name: What `python -m benchmarks NAME` calls it.
        title: A heading for the page.
        cases: In the order of the page.
        targets: What is to be reached.
        left_out: Peers that are not measured, and why.
    """

    name: str
    title: str
    cases: tuple[Case, ...]
    targets: tuple[Target, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()

    def case(self, name: str) -> Case:
        """The case of that name."""
        return next(case for case in self.cases if case.name == name)
