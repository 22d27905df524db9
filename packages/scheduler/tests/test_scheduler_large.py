"""Graphs of 100,000 tasks: no recursion, time in proportion, little memory each."""

import random
import sys
import tracemalloc

import pytest

from waybell_scheduler import CyclicDependencyError, Task, TaskQueue


MANY = 100_000


def chain() -> list[Task]:
    return [Task(str(i), depends_on=(str(i - 1),) if i else ()) for i in range(MANY)]


def fan_out() -> list[Task]:
    return [Task(str(i), depends_on=("0",) if i else ()) for i in range(MANY)]


def layered() -> list[Task]:
    rng = random.Random(7)
    tasks = [Task(str(i)) for i in range(100)]
    for i in range(100, MANY):
        first = (i // 100 - 1) * 100
        needs = tuple(str(first + k) for k in rng.sample(range(100), 3))
        tasks.append(Task(str(i), depends_on=needs))
    return tasks


@pytest.fixture(scope="module", params=[chain, fan_out, layered])
def tasks(request) -> list[Task]:
    return request.param()


def test_each_shape_runs_to_its_end_in_whatever_order_it_is_given(tasks) -> None:
    queue = TaskQueue(tasks[::-1])
    done: set[str] = set()
    while batch := queue.ready():
        for task in batch:
            assert done.issuperset(task.depends_on)
            queue.start(task.id)
            queue.complete(task.id)
        done.update(task.id for task in batch)
    assert queue.summary() == {"done": MANY}


def test_a_failure_at_the_root_skips_all_that_follows_without_recursion(tasks) -> None:
    queue = TaskQueue(tasks)
    queue.complete("0", success=False)
    skipped = queue.skipped_tasks()
    assert len(skipped) > MANY * 0.9  # of the layered one, some needs none of it
    assert {queue.stems_from(name) for name in skipped} == {"0"}


def test_each_shape_is_ranked_without_recursion(tasks) -> None:
    queue = TaskQueue(tasks)
    queue._rank()
    ran = 0
    while queue._frontier:
        queue._done(queue._frontier.popleft())
        ran += 1
    assert ran == MANY


def test_a_cycle_through_all_of_a_long_chain_is_found() -> None:
    tasks = chain()
    tasks[0] = Task("0", depends_on=(str(MANY - 1),))
    with pytest.raises(CyclicDependencyError) as caught:
        TaskQueue(tasks)
    assert caught.value.cycle == [str(i % MANY) for i in range(MANY + 1)]


def test_a_task_in_a_queue_takes_little_memory(tasks) -> None:
    tracemalloc.start()
    queue = TaskQueue(tasks)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    each = held / MANY
    assert each < 400, f"{each:.0f} bytes of the queue for each task"
    assert sys.getsizeof(tasks[1]) < 250
    assert len(queue) == MANY
