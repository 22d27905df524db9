"""The queue beside a plain model that looks at everything after each event."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from waybell_scheduler import Gap, SchedulerError, Task, TaskQueue
from waybell_scheduler._graph import CANCELLED


LOST = {"failed", "skipped", "cancelled"}
KINDS = (
    {},
    {},
    {},
    {"run_if": "always"},
    {"partial": True},
    {"priority": 1},
    {"priority": -1},
)


class Model:
    """What is true of the tasks, found by looking at all of them again and again."""

    def __init__(self, stop_on_failure: bool) -> None:
        self.stop_on_failure = stop_on_failure
        self.stopped = False
        self.stopper: str | None = None
        self.tasks: dict[str, Task] = {}
        self.state: dict[str, str] = {}
        self.root: dict[str, str | None] = {}
        self.value: dict[str, object] = {}

    def needs(self, name: str) -> list[str]:
        return [self.state[need] for need in self.tasks[name].depends_on]

    def always(self, name: str) -> bool:
        return self.tasks[name].run_if == "always"

    def add(self, task: Task) -> None:
        self.tasks[task.id] = task
        self.state[task.id] = "waiting"
        lost = [need for need in task.depends_on if self.state[need] in LOST]
        root = self.root.get(lost[0], lost[0]) if lost else self.stopper
        if self.stopped and not self.always(task.id):
            self.skip(task.id, root)
        self.settle(root)

    def end(self, name: str, state: str, value: object = None) -> None:
        self.state[name], self.value[name] = state, value
        if state != "done" and self.stop_on_failure and not self.stopped:
            self.stop(name)
        self.settle(name)

    def stop(self, root: str | None) -> None:
        self.stopped, self.stopper = True, root
        for name, state in self.state.items():
            if state == "waiting" and not self.always(name):
                self.skip(name, root)
        self.settle(root)

    def skip(self, name: str, root: str | None) -> None:
        self.state[name] = "skipped"
        self.root[name] = root

    def settle(self, root: str | None) -> None:
        before = None
        while before != self.state:
            before = dict(self.state)
            for name, task in self.tasks.items():
                needs = self.needs(name)
                lost = not LOST.isdisjoint(needs)
                hopeless = lost and LOST.issuperset(needs) if task.partial else lost
                if self.state[name] == "waiting" and hopeless and not self.always(name):
                    self.skip(name, root)

    def may_start(self, name: str) -> bool:
        ended = LOST.union({"done"}).issuperset(self.needs(name))
        return self.state[name] == "waiting" and ended

    def ready(self) -> list[str]:
        names = [name for name in self.tasks if self.may_start(name)]
        return sorted(names, key=lambda name: -self.tasks[name].priority)


class Both(RuleBasedStateMachine):
    """Each event is told to both, and both are asked everything."""

    @initialize(data=st.data(), stop=st.booleans())
    def build(self, data, stop) -> None:
        self.count = data.draw(st.integers(0, 7))
        tasks = [self.task(data, n, n) for n in range(self.count)]
        self.model = Model(stop)
        for task in tasks:
            self.model.add(task)
        # The model's order is that of the queue, which is not that of dependencies.
        tasks = data.draw(st.permutations(tasks))
        self.model.tasks = {task.id: task for task in tasks}
        self.model.state = dict.fromkeys(self.model.tasks, "waiting")
        self.queue = TaskQueue(tasks, stop)

    def task(self, data, number: int, known: int) -> Task:
        names = st.sampled_from([f"t{n}" for n in range(known)] or ["none"])
        needs = data.draw(st.lists(names, max_size=3 if known else 0))
        return Task(f"t{number}", depends_on=needs, **data.draw(st.sampled_from(KINDS)))

    @rule(data=st.data())
    def add(self, data) -> None:
        task = self.task(data, self.count, self.count)
        self.count += 1
        self.model.add(task)
        self.queue.add(task)

    def pick(self, data, *states: str) -> str | None:
        names = [name for name, state in self.model.state.items() if state in states]
        return data.draw(st.sampled_from(names)) if names else None

    @rule(data=st.data())
    def start(self, data) -> None:
        name = self.pick(
            data, "waiting", "suspended", "done", "failed", "skipped", "running"
        )
        if name is None:
            return
        if self.model.may_start(name) or self.model.state[name] == "suspended":
            self.queue.start(name)
            self.model.state[name] = "running"
        else:
            with pytest.raises(SchedulerError, match=name):
                self.queue.start(name)

    @rule(data=st.data(), success=st.booleans(), value=st.integers())
    def complete(self, data, success, value) -> None:
        name = self.pick(
            data, *["waiting", "running"] * 3, "suspended", "done", "failed", "skipped"
        )
        if name is None:
            return
        if self.model.may_start(name) or self.model.state[name] == "running":
            error = None if success else ValueError(value)
            self.queue.complete(name, success, value, error)
            self.model.end(
                name, "done" if success else "failed", value if success else error
            )
        else:
            with pytest.raises(SchedulerError, match=name):
                self.queue.complete(name, success)

    @rule(data=st.data())
    def cancel(self, data) -> None:
        name = self.pick(data, "running")
        if name is not None:
            self.queue._fail(self.queue._index[name], None, CANCELLED)
            self.model.end(name, "cancelled")

    @rule(data=st.data())
    def suspend(self, data) -> None:
        name = self.pick(data, "running")
        if name is not None:
            self.queue.suspend(name)
            self.model.state[name] = "suspended"

    @precondition(lambda self: self.count > 4)
    @rule()
    def stop(self) -> None:
        self.queue.stop()
        self.model.stop(None)

    @rule()
    def rank(self) -> None:
        self.queue._rank()

    @invariant()
    def they_agree(self) -> None:
        queue, model = self.queue, self.model
        ready = model.ready()
        said = {
            name: "ready" if name in ready else state
            for name, state in model.state.items()
        }
        assert {name: queue.status(name) for name in model.tasks} == said
        counts = {state: list(said.values()).count(state) for state in said.values()}
        assert queue.summary() == counts
        assert [task.id for task in queue.ready()] == ready
        skipped = [name for name, state in said.items() if state == "skipped"]
        assert queue.skipped_tasks() == skipped
        assert {n: queue.stems_from(n) for n in skipped} == {
            n: model.root[n] for n in skipped
        }
        assert queue.stopped == model.stopped
        for name in ready:
            for need, value in queue.inputs(name).items():
                if model.state[need] == "done":
                    assert value == model.value[need]
                else:
                    assert isinstance(value, Gap)
                    assert (value.task_id, value.status) == (need, model.state[need])
                    source = model.root.get(need, need)
                    assert value.error is (
                        None if source is None else model.value[source]
                    )


TestQueueAndModel = Both.TestCase
TestQueueAndModel.settings = settings(
    max_examples=150, stateful_step_count=25, deadline=None
)
