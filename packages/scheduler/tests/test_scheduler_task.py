"""What may be said of a task, and what is refused."""

import pickle
from dataclasses import replace
from decimal import Decimal
from enum import StrEnum

import pytest
from tenacity import AsyncRetrying

from waybell_deadline import Deadline
from waybell_scheduler import SchedulerError, Task


def test_a_task_of_defaults_takes_the_fast_path() -> None:
    assert Task("a").plain
    assert Task("a", "do it", "writer", ["b"]).plain
    assert not Task("a", priority=1).plain
    assert not Task("a", safe_to_repeat=False).plain


def test_dependencies_are_kept_as_a_tuple() -> None:
    assert Task("a", depends_on=["b", "c"]).depends_on == ("b", "c")
    assert Task("a", depends_on=(name for name in "bc")).depends_on == ("b", "c")
    assert Task("a", depends_on={"b": 1}).depends_on == ("b",)


@pytest.mark.parametrize("bad", ["", None, 7, b"a", ["a"]])
def test_an_id_must_be_text(bad) -> None:
    with pytest.raises(SchedulerError, match="id must be text"):
        Task(bad)


def test_text_may_be_of_a_subclass() -> None:
    class Name(StrEnum):
        A = "a"

    assert Task(Name.A, Name.A).id == "a"


@pytest.mark.parametrize("bad", [None, 7, b"do it"])
def test_a_description_must_be_text(bad) -> None:
    with pytest.raises(SchedulerError, match=f"'a': description={bad!r} is not text"):
        Task("a", bad)


def test_a_function_must_be_one() -> None:
    assert Task("a", run=print).run is print
    with pytest.raises(SchedulerError, match="'a': run='print' cannot be called"):
        Task("a", run="print")


def test_a_task_can_be_changed_copied_and_pickled() -> None:
    task = replace(Task("a", depends_on=["b"]), retries=2)
    assert (task.retries, task.plain, task.depends_on) == (2, False, ("b",))
    copy = pickle.loads(pickle.dumps(task))
    assert (copy.id, copy.retries, copy.plain) == ("a", 2, False)


@pytest.mark.parametrize("bad", ["bc", 7, None])
def test_dependencies_that_are_no_list_are_refused(bad) -> None:
    with pytest.raises(SchedulerError, match="depends_on must be a list of ids"):
        Task("a", depends_on=bad)


@pytest.mark.parametrize("agent", ["writer", "team.writer", "intent:review", "a:b.c"])
def test_an_agent_is_a_name_or_a_topic(agent) -> None:
    assert Task("a", agent=agent).agent == agent


@pytest.mark.parametrize("agent", ["", "a::b", "a.", "*", "a.*", 7])
def test_an_agent_that_is_no_topic_is_refused(agent) -> None:
    with pytest.raises(SchedulerError, match="is no name for a topic"):
        Task("a", agent=agent)


def test_an_agent_and_a_function_together_are_refused() -> None:
    with pytest.raises(SchedulerError, match="give one"):
        Task("a", agent="writer", run=print)


@pytest.mark.parametrize(
    "policy",
    [
        {"priority": -3},
        {"retries": 2},
        {"retries": AsyncRetrying()},
        {"timeout": 0.5},
        {"deadline": Deadline(seconds=5)},
        {"usd": 0},
        {"usd": "0.25"},
        {"usd": Decimal("0.1")},
        {"usd": 0.1},
        {"tokens": 0},
        {"run_if": "always"},
        {"partial": True},
        {"safe_to_repeat": False},
    ],
    ids=repr,
)
def test_a_policy_that_makes_sense_is_kept(policy) -> None:
    task = Task("a", **policy)
    (name,) = policy
    assert getattr(task, name) is policy[name]


@pytest.mark.parametrize(
    "policy",
    [
        {"priority": 1.5},
        {"priority": True},
        {"retries": -1},
        {"retries": True},
        {"retries": "often"},
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": float("nan")},
        {"timeout": float("inf")},
        {"timeout": True},
        {"timeout": "1"},
        {"deadline": 5},
        {"usd": -1},
        {"usd": "much"},
        {"usd": float("nan")},
        {"usd": "Infinity"},
        {"usd": True},
        {"usd": [1]},
        {"tokens": -1},
        {"tokens": 1.5},
        {"run_if": "never"},
        {"partial": None},
        {"safe_to_repeat": "yes"},
    ],
    ids=repr,
)
def test_a_policy_that_makes_no_sense_is_refused_by_name(policy) -> None:
    (name,) = policy
    with pytest.raises(SchedulerError, match=f"'a': {name}="):
        Task("a", **policy)
