"""The graph behind a queue: what ends, what that readies, and what it skips."""
# pyright: reportPrivateUsage=false

from collections import deque
from collections.abc import Iterable
from typing import Any, Protocol

from waybell_scheduler._errors import CyclicDependencyError, QueueError
from waybell_scheduler._order import (
    Ranked,
    Successors,
    cycle,
    following,
    hops,
    in_order,
)
from waybell_scheduler._task import Gap, Task


WAITING, RUNNING, DONE, FAILED, CANCELLED, SUSPENDED, SKIPPED = range(7)
_LOST = frozenset({FAILED, CANCELLED, SKIPPED})
STATES = ("waiting", "running", "done", "failed", "cancelled", "suspended", "skipped")


class Runner(Protocol):
    """Who runs a queue, and so hears of what is added to it."""

    def check(self, task: Task) -> bool:
        """Whether a task is news; raises if it could not be run."""
        ...

    def added(self, i: int) -> None:
        """There is one more task; it may be ready."""
        ...


class Graph:
    """Tasks by dense number, and what is known of each in a list by that number.

    At 100,000 tasks this takes a tenth of what objects with sets of names take. A run
    loop takes numbers from `_frontier` (skipping those whose state is not `WAITING`)
    and gives them to `_done` or `_fail`; both are O(dependants). The frontier is read
    from the attribute each time, since `_rank` replaces it.
    """

    __slots__ = (
        "_errors", "_frontier", "_index", "_left", "_lenient", "_live", "_ordered",
        "_ranks", "_reason", "_results", "_state", "_stems", "_succ", "stop_on_failure",
        "stopped", "tasks",
    )  # fmt: skip

    def __init__(self, tasks: Iterable[Task], stop_on_failure: bool) -> None:
        self.tasks = tasks = list(tasks)
        self.stop_on_failure = stop_on_failure
        self.stopped = False
        self._index = numbered(tasks)
        self._succ: list[Successors] = [None] * len(tasks)
        self._left = [0] * len(tasks)  # dependencies that have not ended
        self._state = bytearray(len(tasks))
        self._frontier: deque[int] | Ranked = deque()  # and perhaps some that started
        self._results: list[Any] = [None] * len(tasks)
        self._errors: dict[int, BaseException | None] = {}
        self._reason: tuple[int, BaseException | None] = -1, None  # of the stop
        self._stems: dict[int, int] = {}  # from what is skipped to what failed, or -1
        self._lenient: dict[
            int, bool
        ] = {}  # runs after failures; True: after a stop too
        self._live: Runner | None = None  # who runs it now
        self._ranks: list[int] | None = None
        self._ordered = not self._wire()
        if not self._ordered:
            self._check_cycles()
        if any(not task.plain for task in tasks):
            for i, task in enumerate(tasks):
                self._note(i, task)

    def _wire(self) -> bool:  # budget: construction's inner loop, in one piece
        """Link each task to what it needs; whether some need a later one."""
        index, succ, left, ready = self._index, self._succ, self._left, self._frontier
        forward = False
        task = None
        try:
            for i, task in enumerate(self.tasks):
                deps = task.depends_on
                if not deps:
                    ready.append(i)
                    continue
                count = 0
                for name in deps:
                    j = index[name]
                    after = succ[j]
                    if after is None:
                        succ[j] = i
                    elif isinstance(after, int):
                        if after == i:
                            continue
                        succ[j] = [after, i]
                    elif after[-1] == i:
                        continue
                    else:
                        after.append(i)
                    count += 1
                    if j >= i:
                        forward = True
                left[i] = count
        except (KeyError, TypeError):
            assert task is not None
            raise unknown(task, index) from None
        return forward

    def _note(self, i: int, task: Task) -> None:
        """Remember how a task differs from most."""
        if task.run_if == "always":
            self._lenient[i] = True
        elif task.partial:
            self._lenient[i] = False
        if task.priority and self._ranks is None:
            self._rank()

    # -- what ends -----------------------------------------------------------------

    def _done(self, i: int) -> None:
        """Take a task as done; its result is already in `_results`."""
        self._state[i] = DONE
        after = self._succ[i]
        if after is None:
            return
        left, state = self._left, self._state
        if isinstance(after, int):
            left[after] = count = left[after] - 1
            if not count and not state[after]:
                self._frontier.append(after)
            return
        ready = self._frontier.append
        for j in after:
            left[j] = count = left[j] - 1
            if not count and not state[j]:
                ready(j)

    def _fail(
        self, i: int, error: BaseException | None = None, state: int = FAILED
    ) -> None:
        """Take a task as failed or cancelled, and skip what cannot do without it."""
        self._state[i] = state
        self._errors[i] = error
        if self.stop_on_failure and not self.stopped:
            self._stop(i, error)
        else:
            self._spread([i], i)

    def _stop(self, root: int, error: BaseException | None) -> None:
        """Skip all that has not started and is not to run always."""
        self.stopped = True
        self._reason = root, error
        state, lenient = self._state, self._lenient
        self._refill([i for i in self._frontier if not state[i] and lenient.get(i)])
        ended = [i for i, now in enumerate(state) if not now and not lenient.get(i)]
        for i in ended:
            state[i] = SKIPPED
            self._stems[i] = root
        self._spread([root, *ended] if root >= 0 else ended, root)

    def _spread(self, ended: list[int], root: int) -> None:
        """Skip what needs those that ended without success; `ended` grows meanwhile."""
        state, left, lenient = self._state, self._left, self._lenient
        for i in ended:
            for j in following(self._succ[i]):
                if state[j]:
                    continue
                left[j] -= 1
                if j in lenient:
                    if left[j]:
                        continue
                    if lenient[j] or self._fed(j):
                        self._frontier.append(j)
                        continue
                state[j] = SKIPPED
                self._stems[j] = root
                ended.append(j)

    def _join(self, i: int, needed: list[int]) -> None:
        """Let a task that was added wait for what it needs, or end with it."""
        state, lost = self._state, list[int]()
        for j in needed:
            if state[j] in _LOST:
                lost.append(j)
            elif state[j] != DONE:
                self._left[i] += 1
                after = self._succ[j]
                self._succ[j] = i if after is None else [*following(after), i]
        if self._hopeless(i, bool(lost)):
            state[i] = SKIPPED
            self._stems[i] = (
                self._stems.get(lost[0], lost[0]) if lost else self._reason[0]
            )
        elif not self._left[i]:
            self._frontier.append(i)

    def _hopeless(self, i: int, lost: bool) -> bool:
        """Whether a task that is added will not run; `lost`: some of its inputs are."""
        always = self._lenient.get(i)
        if always or self.stopped:
            return not always
        return lost and (always is None or not (self._left[i] or self._fed(i)))

    def _fed(self, i: int) -> bool:
        """Whether at least one dependency succeeded."""
        index, state = self._index, self._state
        return any(state[index[name]] == DONE for name in self.tasks[i].depends_on)

    # -- what a task is given --------------------------------------------------------

    def _inputs(self, i: int) -> dict[str, Any]:
        """The results of a task's dependencies, by id; gaps for those that are lost."""
        index, results, state = self._index, self._results, self._state
        if i not in self._lenient:
            return {name: results[index[name]] for name in self.tasks[i].depends_on}
        numbers = {name: index[name] for name in self.tasks[i].depends_on}
        return {
            name: results[j] if state[j] == DONE else self._gap(j)
            for name, j in numbers.items()
        }

    def _gap(self, i: int) -> Gap:
        root = self._stems.get(i, i)
        error = self._errors.get(root) if root >= 0 else self._reason[1]
        return Gap(self.tasks[i].id, STATES[self._state[i]], error)

    # -- order -----------------------------------------------------------------------

    def _rank(self) -> None:
        """From now on, the frontier gives the highest priority first.

        Of equal ones, that with the most tasks in a row after it: a long chain begun
        late is what makes a run long. A loop asks for this only when more is ready
        than it may run; until then first come, first served is as good and cheaper.
        """
        if self._ranks is not None:
            return
        self._ranks = [
            (t.priority << 40) + n
            for t, n in zip(self.tasks, hops(self._succ, self._ordered), strict=True)
        ]
        self._frontier = Ranked(self._ranks, self._frontier)

    def _refill(self, ready: list[int]) -> None:
        """Replace what is in the frontier, in place."""
        while self._frontier:
            self._frontier.popleft()
        for i in ready:
            self._frontier.append(i)

    def standing(self, i: int) -> str:
        """The state of a task, as a word."""
        if not self._state[i] and not self._left[i]:
            return "ready"
        return STATES[self._state[i]]

    def _check_cycles(self) -> None:
        stuck = set(range(len(self.tasks))).difference(in_order(self._succ))
        if stuck:
            needs = {
                i: [self._index[name] for name in self.tasks[i].depends_on]
                for i in stuck
            }
            raise CyclicDependencyError([self.tasks[i].id for i in cycle(needs)])


def unknown(task: Task, index: dict[str, int]) -> QueueError:
    """What to say of a task that needs what is not there."""
    names: Iterable[Any] = task.depends_on
    wrong = next(n for n in names if not (isinstance(n, str) and n in index))
    return QueueError(f"{task.id!r} depends on {wrong!r}, which is no task's id")


def numbered(tasks: list[Task]) -> dict[str, int]:
    try:
        index = {task.id: i for i, task in enumerate(tasks)}
    except AttributeError:
        wrong = next(task for task in tasks if not hasattr(task, "id"))
        raise QueueError(f"not a Task: {wrong!r}") from None
    if len(index) < len(tasks):
        twice = next(task.id for i, task in enumerate(tasks) if index[task.id] != i)
        raise QueueError(f"two tasks are called {twice!r}")
    return index
