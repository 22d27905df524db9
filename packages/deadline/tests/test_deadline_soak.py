"""Random trees of walls, tasks, shields and stubborn bodies, in random schedules."""

import asyncio
import contextlib
from math import inf

import pytest

from waybell_deadline import Deadline, DeadlineExceeded


CLEANUP = 1  # the longest a stubborn body goes on after it was cancelled
DEPTH = 4


class Program:
    """One random tree of blocks, which notes every promise that is broken."""

    def __init__(self, rng, shields):
        self.rng = rng
        self.shields = shields
        self.broken = []
        self.tasks = []
        self.outside = False  # somebody other than a wall asked a task to end

    def now(self):
        return asyncio.get_running_loop().time()

    def expect(self, truth, *what):
        if not truth:
            self.broken.append((self.now(), *what))

    async def wall(self, walls, depth):
        """Run a body behind a new wall inside `walls`, and judge how it ended."""
        seconds = self.rng.choice([0, 1, 1, 2, 2, 3])
        deadline = (
            self.rng.choice(walls)[0] if walls and self.rng.random() < 0.1 else None
        )
        deadline = deadline or Deadline(seconds)
        due = self.now() + deadline.remaining()
        inside = [*walls, (deadline, due)]
        notes = {"ending": None}
        task = asyncio.current_task()
        before, ended = task.cancelling(), "error"
        try:
            async with deadline:
                await self.body(inside, depth, notes)
            ended = "value"
            return notes["ending"]
        except DeadlineExceeded as error:
            ended = "exceeded"
            self.expect(
                self.now() >= due - 1e-6 or error.deadline is not deadline, "early"
            )
            outer = [wall for wall, _ in walls if wall is not deadline]
            self.expect(error.deadline not in outer, "an outer one's error", deadline)
            if error.deadline is not deadline:
                raise
            return None
        except asyncio.CancelledError:
            ended = "cancelled"
            self.expect(self.excused(walls), "a cancellation of nobody's", deadline)
            raise
        finally:
            slack = depth * CLEANUP * (4 if self.shields else 1)
            self.expect(self.now() <= due + slack, "ended late", ended, due)
            if not self.excused(walls):
                swallowed = ended == "value" and notes["ending"] == "swallowed"
                self.expect(not swallowed, "a swallowed expiry raised nothing")
                self.expect(task.cancelling() == before, "requests left")

    def excused(self, walls):
        return self.outside or any(due <= self.now() + 1e-6 for _, due in walls)

    async def body(self, walls, depth, notes):
        for _ in range(self.rng.randrange(1, 4)):
            try:
                ending = await self.step(walls, depth)
                if ending:
                    notes["ending"] = ending
                    return
            except asyncio.CancelledError:
                mood = self.rng.choice(["yield", "yield", "clean", "swallow", "fail"])
                if mood in ("clean", "fail"):
                    await self.clean_up(walls[-1][0])
                if mood == "fail":
                    raise ValueError("clean-up failed") from None
                if mood != "swallow":
                    raise
                notes["ending"] = "swallowed"
                return

    async def clean_up(self, deadline):
        if self.shields and self.rng.random() < 0.5:
            async with deadline.shield(self.rng.choice([0, 1, 2])):
                await asyncio.sleep(self.rng.choice([0, 1, 5]))
        else:
            await asyncio.sleep(self.rng.choice([0, CLEANUP]))

    async def step(self, walls, depth):
        kinds = ["sleep", "sleep", "own", "postpone"]
        if depth > 1:
            kinds += ["wall", "wall", "gather", "group"]
        kind = self.rng.choice(kinds)
        if kind == "sleep":
            await asyncio.sleep(self.rng.choice([0, 0, 1, 1, 2, 5]))
        elif kind == "own" and self.rng.random() < 0.2:
            raise self.rng.choice([ValueError, TimeoutError])("of the body's own")
        elif kind == "postpone" and self.shields:
            async with (self.rng.choice(walls)[0] or Deadline(1)).shield(
                self.rng.choice([0, 1, 2])
            ):
                await asyncio.sleep(self.rng.choice([0, 1, 5]))
        elif kind == "wall":
            return await self.wall(walls, depth - 1)
        elif kind in ("gather", "group"):
            return await self.children(kind, walls, depth - 1)
        return None

    async def children(self, kind, walls, depth):
        if kind == "gather":
            tasks = [asyncio.create_task(self.wall(walls, depth)) for _ in range(2)]
            self.tasks += tasks  # gather leaves the second one running
            gathering = asyncio.gather(*tasks)
            gathering.add_done_callback(retrieve)
            await gathering
            return None
        trouble = [None, inf]  # a failing child makes its group cancel the others

        async def child():
            try:
                await self.wall([*walls, trouble], depth)
            except asyncio.CancelledError:
                raise
            except BaseException:
                trouble[1] = -inf
                raise

        group, over = asyncio.TaskGroup(), None
        try:
            async with group:
                group.create_task(child())
                group.create_task(child())
        except* TimeoutError:
            # The group may have swallowed a cancellation in favour of this error.
            await asyncio.sleep(0)
            over = "over" if self.excused(walls) else None
        finally:
            if GROUPS_LEAK and group._parent_cancel_requested:
                asyncio.current_task().uncancel()
        return over


async def group_leaks():
    """Whether a failed group leaves a request to cancel, as before Python 3.13."""

    async def fail():
        raise ValueError

    with contextlib.suppress(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
    return asyncio.current_task().cancelling() > 0


GROUPS_LEAK = asyncio.run(group_leaks())


def retrieve(future):
    return future.cancelled() or future.exception()


async def run(rng, *, shields):
    program = Program(rng, shields)
    loop, seen = asyncio.get_running_loop(), []

    async def top():
        try:
            await program.wall([], DEPTH)
        finally:
            seen.append(asyncio.current_task().cancelling())

    def interrupt():
        if not task.done():
            program.outside = True
            task.cancel()

    task = asyncio.create_task(top())
    if rng.random() < 0.5:
        loop.call_at(rng.choice([0, 1, 1, 2, 2, 3]), interrupt)
    await asyncio.wait([task])
    while any(not child.done() for child in program.tasks):
        await asyncio.wait(program.tasks)
    for child in program.tasks:
        retrieve(child)
    interrupted = task.cancelling()
    if task.cancelled():
        program.expect(program.outside, "cancelled by nobody")
    else:
        retrieve(task)
    program.expect(seen[0] <= interrupted, "requests left at the top", seen)
    assert program.broken == []


@pytest.mark.soak
@pytest.mark.simulate(seeds=1000)
async def test_walls_hold_and_say_truly_why_in_every_schedule(rng):
    await run(rng, shields=False)


@pytest.mark.soak
@pytest.mark.simulate(seeds=1000)
async def test_they_do_with_shields_too(rng):
    await run(rng, shields=True)
