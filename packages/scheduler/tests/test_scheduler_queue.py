"""What a queue says of its tasks, told what happens to them."""

import pickle
from itertools import pairwise

import pytest

from waybell_scheduler import (
    CyclicDependencyError,
    Gap,
    SchedulerError,
    Task,
    TaskQueue,
)
from waybell_scheduler._graph import CANCELLED


def graph(*edges: str, **options) -> TaskQueue:
    """Tasks in the order given; `"c: a b"` is a task c that needs a and b."""
    tasks = []
    for edge in edges:
        name, _, needs = edge.partition(":")
        tasks.append(Task(name, depends_on=needs.split()))
    return TaskQueue(tasks, **options)


def ready(queue: TaskQueue) -> list[str]:
    return [task.id for task in queue.ready()]


# -- construction ----------------------------------------------------------------------


def test_a_queue_without_tasks_has_nothing_to_say() -> None:
    queue = TaskQueue([])
    assert (queue.ready(), queue.summary(), queue.skipped_tasks()) == ([], {}, [])
    assert repr(queue) == "<TaskQueue empty>"
    assert len(queue) == 0


def test_the_same_id_twice_is_refused() -> None:
    with pytest.raises(SchedulerError, match="two tasks are called 'b'"):
        graph("a", "b", "c", "b")


def test_an_unknown_dependency_is_refused_with_both_names() -> None:
    with pytest.raises(SchedulerError, match="'b' depends on 'x', which is no task"):
        graph("a", "b: a x")


@pytest.mark.parametrize("name", [7, None, ["a"]])
def test_a_dependency_that_is_no_text_is_refused(name) -> None:
    with pytest.raises(SchedulerError, match="which is no task's id"):
        TaskQueue([Task("a"), Task("b", depends_on=["a", name])])


def test_what_is_no_task_is_refused() -> None:
    with pytest.raises(SchedulerError, match="not a Task: 'b'"):
        TaskQueue([Task("a"), "b"])


def test_a_task_that_needs_itself_is_refused() -> None:
    with pytest.raises(CyclicDependencyError, match="'b' depends on itself") as caught:
        graph("a", "b: a b")
    assert caught.value.cycle == ["b", "b"]


def test_a_cycle_is_named_in_the_order_it_would_run() -> None:
    with pytest.raises(CyclicDependencyError) as caught:
        graph("a", "b: a d", "c: b", "d: c", "e: d", "f")
    cycle = caught.value.cycle
    assert cycle[0] == cycle[-1]
    assert sorted(cycle[1:]) == ["b", "c", "d"]
    pairs = set(pairwise(cycle))
    assert pairs == {("b", "c"), ("c", "d"), ("d", "b")}
    assert str(caught.value).startswith("tasks wait for each other: ")


def test_a_cycle_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(CyclicDependencyError(["a", "b", "a"])))
    assert error.cycle == ["a", "b", "a"]


def test_errors_of_use_are_value_errors_too() -> None:
    with pytest.raises(ValueError, match="no task is called 'x'"):
        graph("a").complete("x")


# -- readiness ---------------------------------------------------------------------------


def test_tasks_may_be_given_before_what_they_need() -> None:
    queue = graph("c: b", "b: a", "a")
    assert ready(queue) == ["a"]
    queue.complete("a")
    assert ready(queue) == ["b"]


def test_what_is_ready_comes_in_the_order_given() -> None:
    queue = graph("d: a", "c: b", "a", "b")
    queue.complete("b")
    queue.complete("a")
    assert ready(queue) == ["d", "c"]


def test_the_highest_priority_comes_first() -> None:
    tasks = [
        Task("a"),
        Task("b", priority=2),
        Task("c", priority=-1),
        Task("d", priority=2),
    ]
    assert ready(TaskQueue(tasks)) == ["b", "d", "a", "c"]


def test_a_dependency_named_twice_counts_once() -> None:
    queue = graph("a", "b", "x: a", "c: a a b a", "y: b")
    queue.complete("a")
    queue.complete("b")
    assert ready(queue) == ["x", "c", "y"]
    assert TaskQueue([Task("a"), Task("b", depends_on=["a", "a"])])._left == [0, 1]


def test_what_has_started_is_not_ready_any_more() -> None:
    queue = graph("a", "b")
    queue.start("a")
    assert ready(queue) == ["b"]
    assert queue.status("a") == "running"
    assert queue.summary() == {"ready": 1, "running": 1}


def test_a_task_can_complete_without_having_started() -> None:
    queue = graph("a", "b: a")
    queue.complete("a", result=7)
    assert (queue.status("a"), queue.result("a"), queue.status("b")) == (
        "done",
        7,
        "ready",
    )


def test_results_reach_those_who_need_them() -> None:
    queue = graph("a", "b", "c: a b")
    queue.complete("a", result=1)
    queue.complete("b", result=None)
    assert queue.inputs("c") == {"a": 1, "b": None}


def test_a_queue_counts_names_and_shows_itself() -> None:
    queue = graph("a", "b: a")
    assert len(queue) == 2
    assert "a" in queue
    assert "x" not in queue
    assert repr(queue) == "<TaskQueue 1 waiting, 1 ready>"


# -- what a task's state does not allow ------------------------------------------------------


@pytest.mark.parametrize("verb", ["start", "complete", "suspend"])
def test_what_waits_can_neither_start_nor_end(verb) -> None:
    queue = graph("a", "b: a", "c: a b")
    with pytest.raises(SchedulerError, match="waits for 'a', 'b'"):
        getattr(queue, verb)("c")
    assert queue.summary() == {"waiting": 2, "ready": 1}


@pytest.mark.parametrize("verb", ["start", "complete", "suspend"])
@pytest.mark.parametrize("success", [True, False])
def test_what_has_ended_stays_as_it_is(verb, success) -> None:
    queue = graph("a")
    queue.complete("a", success)
    with pytest.raises(SchedulerError, match=r"it is (done|failed)"):
        getattr(queue, verb)("a")


@pytest.mark.parametrize(
    "verb",
    [
        "start",
        "complete",
        "suspend",
        "status",
        "stems_from",
        "inputs",
        "result",
        "error",
    ],
)
def test_an_unknown_task_is_named(verb) -> None:
    with pytest.raises(SchedulerError, match="no task is called 'x'"):
        getattr(graph("a"), verb)("x")


def test_a_running_task_cannot_start_again() -> None:
    queue = graph("a")
    queue.start("a")
    with pytest.raises(SchedulerError, match="'a' cannot start: it is running"):
        queue.start("a")


def test_nothing_succeeds_with_an_error() -> None:
    queue = graph("a")
    with pytest.raises(SchedulerError, match="cannot succeed with an error"):
        queue.complete("a", error=ValueError("no"))
    assert ready(queue) == ["a"]


# -- failure -----------------------------------------------------------------------------------


def test_exactly_the_descendants_of_a_failure_are_skipped() -> None:
    queue = graph("a", "b", "c: a", "d: b", "e: c d", "f: e", "g: b")
    boom = ValueError("boom")
    queue.complete("a", success=False, error=boom)
    assert queue.skipped_tasks() == ["c", "e", "f"]
    assert {queue.stems_from(name) for name in "cef"} == {"a"}
    assert queue.stems_from("g") is None
    assert queue.error("a") is boom
    queue.complete("b")
    assert ready(queue) == ["d", "g"]
    assert queue.summary() == {"ready": 2, "done": 1, "failed": 1, "skipped": 3}


def test_each_skipped_task_names_the_failure_that_came_first() -> None:
    queue = graph("a", "b", "c: a b", "d: b")
    queue.complete("b", success=False)
    queue.complete("a", success=False)
    assert (queue.stems_from("c"), queue.stems_from("d")) == ("b", "b")


def test_stop_on_failure_skips_all_that_has_not_started() -> None:
    queue = graph("a", "b", "c", "d: b", stop_on_failure=True)
    queue.start("b")
    queue.complete("a", success=False)
    assert queue.stopped
    assert queue.skipped_tasks() == ["c", "d"]
    assert queue.stems_from("c") == "a"
    assert ready(queue) == []
    queue.complete("b", result=1)
    assert queue.summary() == {"done": 1, "failed": 1, "skipped": 2}


def test_stopping_by_hand_says_why() -> None:
    queue = TaskQueue([Task("a"), Task("z", depends_on=["a"], run_if="always")])
    late = TimeoutError("late")
    queue.stop(late)
    assert (queue.stopped, queue.stems_from("a"), ready(queue)) == (True, None, ["z"])
    assert queue.inputs("z") == {"a": Gap("a", "skipped", late)}


def test_a_second_failure_after_a_stop_skips_no_clean_up() -> None:
    tasks = [Task("a"), Task("b"), Task("z", depends_on=["a", "b"], run_if="always")]
    queue = TaskQueue(tasks, stop_on_failure=True)
    queue.start("b")
    queue.complete("a", success=False)
    assert queue.status("z") == "waiting"
    queue.complete("b", success=False)
    assert ready(queue) == ["z"]


# -- always and partial ------------------------------------------------------------------------


def test_clean_up_runs_once_all_it_follows_has_ended() -> None:
    boom = ValueError("boom")
    queue = TaskQueue(
        [
            Task("a"),
            Task("b", depends_on=["a"]),
            Task("c"),
            Task("z", depends_on=["a", "b", "c"], run_if="always"),
            Task("after", depends_on=["z"]),
        ]
    )
    queue.complete("a", success=False, error=boom)
    assert queue.status("z") == "waiting"
    queue.complete("c", result=3)
    assert ready(queue) == ["z"]
    assert queue.inputs("z") == {
        "a": Gap("a", "failed", boom),
        "b": Gap("b", "skipped", boom),
        "c": 3,
    }
    queue.complete("z")
    assert ready(queue) == ["after"]


def test_clean_up_runs_after_a_stop_and_what_it_would_ready_does_not() -> None:
    queue = TaskQueue(
        [
            Task("z0", run_if="always"),
            Task("a"),
            Task("b"),
            Task("z", depends_on=["b"], run_if="always"),
            Task("zz", depends_on=["z"], run_if="always"),
            Task("after", depends_on=["z"]),
        ],
        stop_on_failure=True,
    )
    queue.complete("a", success=False)
    assert queue.skipped_tasks() == ["b", "after"]
    assert ready(queue) == ["z0", "z"]
    queue.complete("z", success=False)
    assert ready(queue) == ["z0", "zz"]


def test_a_partial_task_runs_with_a_gap_where_an_input_is_missing() -> None:
    queue = TaskQueue(
        [Task("a"), Task("b"), Task("c", depends_on=["a", "b"], partial=True)]
    )
    queue.complete("a", result=1)
    queue.complete("b", success=False)
    assert ready(queue) == ["c"]
    assert queue.inputs("c") == {"a": 1, "b": Gap("b", "failed", None)}


def test_a_partial_task_waits_for_inputs_that_may_still_come() -> None:
    queue = TaskQueue(
        [Task("a"), Task("b"), Task("c", depends_on=["a", "b"], partial=True)]
    )
    queue.complete("b", success=False)
    assert queue.status("c") == "waiting"
    queue.complete("a", result=1)
    assert ready(queue) == ["c"]


def test_a_partial_task_without_any_input_is_skipped_with_what_follows() -> None:
    queue = TaskQueue(
        [
            Task("a"),
            Task("b", depends_on=["a"]),
            Task("c", depends_on=["a", "b"], partial=True),
            Task("d", depends_on=["c"]),
        ]
    )
    queue.complete("a", success=False)
    assert queue.skipped_tasks() == ["b", "c", "d"]
    assert queue.stems_from("d") == "a"


def test_a_partial_task_does_not_outlive_a_stop() -> None:
    tasks = [Task("a"), Task("b"), Task("c", depends_on=["a", "b"], partial=True)]
    queue = TaskQueue(tasks, stop_on_failure=True)
    queue.complete("a")
    queue.complete("b", success=False)
    assert queue.skipped_tasks() == ["c"]


def test_a_cancelled_task_skips_like_a_failed_one_and_says_so() -> None:
    queue = TaskQueue(
        [
            Task("a"),
            Task("b", depends_on=["a"], run_if="always"),
            Task("c", depends_on=["a"]),
        ]
    )
    queue._fail(0, None, CANCELLED)
    assert (queue.status("a"), queue.status("c")) == ("cancelled", "skipped")
    assert queue.inputs("b") == {"a": Gap("a", "cancelled")}


# -- suspending ----------------------------------------------------------------------------------


def test_what_needs_a_suspended_task_waits_and_the_rest_goes_on() -> None:
    queue = graph("a", "b: a", "c")
    queue.start("a")
    queue.suspend("a")
    assert ready(queue) == ["c"]
    assert queue.summary() == {"waiting": 1, "ready": 1, "suspended": 1}
    with pytest.raises(SchedulerError, match="'a' cannot complete: it is suspended"):
        queue.complete("a")
    with pytest.raises(SchedulerError, match="waits for 'a'"):
        queue.start("b")
    queue.start("a")
    queue.complete("a")
    assert ready(queue) == ["b", "c"]


# -- adding ----------------------------------------------------------------------------------------


def test_a_task_added_waits_for_what_it_needs() -> None:
    queue = graph("a", "b: a")
    queue.start("a")
    queue.add(Task("c", depends_on=["a", "b", "a"]))
    queue.add(Task("d", depends_on=["a"]))
    queue.add(Task("e"))
    assert ready(queue) == ["e"]
    queue.complete("a")
    assert ready(queue) == ["b", "d", "e"]
    queue.complete("b")
    assert ready(queue) == ["c", "d", "e"]


def test_a_task_added_after_its_dependencies_is_ready_at_once() -> None:
    queue = graph("a")
    queue.complete("a", result=5)
    queue.add(Task("b", depends_on=["a"]))
    assert ready(queue) == ["b"]
    assert queue.inputs("b") == {"a": 5}


def test_a_task_added_to_a_failed_one_is_skipped_and_names_it() -> None:
    queue = graph("a", "b: a")
    queue.complete("a", success=False)
    queue.add(Task("c", depends_on=["b"]))
    queue.add(Task("d", depends_on=["c"], run_if="always"))
    assert queue.stems_from("c") == "a"
    assert ready(queue) == ["d"]


def test_a_partial_task_added_to_ended_ones_needs_one_success() -> None:
    queue = graph("a", "b", "x")
    queue.complete("a", success=False)
    queue.complete("b", result=2)
    queue.add(Task("c", depends_on=["a", "b"], partial=True))
    queue.add(Task("d", depends_on=["a"], partial=True))
    queue.add(Task("e", depends_on=["a", "x"], partial=True))
    assert ready(queue) == ["x", "c"]
    assert queue.skipped_tasks() == ["d"]
    queue.complete("x", success=False)
    assert queue.skipped_tasks() == ["d", "e"]


def test_nothing_but_clean_up_is_added_after_a_stop() -> None:
    queue = graph("a", "b", stop_on_failure=True)
    queue.complete("a", success=False)
    queue.add(Task("c"))
    queue.add(Task("d", depends_on=["a"]))
    queue.add(Task("z", run_if="always"))
    assert queue.skipped_tasks() == ["b", "c", "d"]
    assert (queue.stems_from("c"), queue.stems_from("d")) == ("a", "a")
    assert ready(queue) == ["z"]


def test_what_cannot_be_added_changes_nothing() -> None:
    queue = graph("a")
    for bad in (
        Task("a"),
        Task("b", depends_on=["x"]),
        Task("b", depends_on=["b"]),
        "b",
    ):
        with pytest.raises(SchedulerError):
            queue.add(bad)
    assert (len(queue), queue.summary()) == (1, {"ready": 1})


class Runner:
    """Who runs a queue, and takes only tasks with agents."""

    def __init__(self) -> None:
        self.heard: list[int] = []

    def check(self, task: Task) -> bool:
        if task.agent is None:
            raise ValueError(task.id)
        return task.agent != "known"

    def added(self, i: int) -> None:
        self.heard.append(i)


def test_who_runs_a_queue_hears_of_what_is_added_and_may_refuse_or_know_it() -> None:
    queue = graph("a")
    queue._live = runner = Runner()
    queue.add(Task("b", agent="writer"))
    with pytest.raises(ValueError, match="c"):
        queue.add(Task("c"))
    queue.add(Task("d", agent="known"))
    assert (runner.heard, len(queue)) == ([1], 2)


def test_outside_of_a_run_there_is_no_current_queue() -> None:
    assert TaskQueue.current() is None


# -- order -------------------------------------------------------------------------------------------


def popped(queue: TaskQueue) -> str:
    names = []
    while queue._frontier:
        i = queue._frontier.popleft()
        names.append(queue.tasks[i].id)
        queue._done(i)
    return "".join(names)


def test_first_come_first_served_until_it_is_ranked() -> None:
    assert popped(graph("a", "b", "c: a", "d: c")) == "abcd"


def test_ranked_the_longest_chain_goes_first() -> None:
    queue = graph("a", "b", "c: b", "d: c", "e: a", "f: d a")
    queue._rank()
    queue._rank()
    assert list(queue._frontier) == [1, 0]
    assert popped(queue) == "bcadef"


@pytest.mark.parametrize(
    "edges",
    [
        ("c: b", "b: a", "a", "x", "y: x"),
        ("b: a", "c: b", "x", "a", "y: x"),
        ("b: a", "x", "a", "b2: a", "c: b", "y: x"),
    ],
    ids=repr,
)
def test_ranking_does_not_need_tasks_in_any_order(edges) -> None:
    queue = graph(*edges)
    queue._rank()
    first = queue._frontier.popleft()
    assert queue.tasks[first].id == "a"


def test_priority_goes_before_the_longest_chain() -> None:
    queue = TaskQueue([Task("a"), Task("b", depends_on=["a"]), Task("c", priority=1)])
    assert popped(queue) == "cab"


def test_an_urgent_task_added_later_goes_first() -> None:
    queue = graph("a", "b: a", "c")
    queue.add(Task("d", priority=1))
    queue.add(Task("e", priority=2))
    queue.add(Task("f"))
    assert popped(queue) == "edacfb"


def test_of_a_ranked_queue_too_what_started_is_forgotten() -> None:
    queue = graph("a", "b", "c")
    queue._rank()
    queue.start("b")
    assert ready(queue) == ["a", "c"]
    assert len(queue._frontier) == 2
