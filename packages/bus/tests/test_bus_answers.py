"""The verbs that wait for answers: emit, request, gather, stream."""

import asyncio
import contextvars
import inspect

import pytest

from waybell_bus import AmbiguousTopicError, EventBus, NestingError, NoHandlerError
from waybell_bus._fan import launch


async def test_emit_gives_one_answer_bare_and_several_in_order():
    bus = EventBus()
    done = asyncio.Event()
    assert await bus.emit("t") is None

    @bus.on("t")
    async def slow(event):
        await done.wait()
        return ["slow"]

    bus.on("u", slow)
    bus.on("t", lambda event: done.set())
    assert await bus.emit("t") == [["slow"], None]
    assert await bus.emit("u") == ["slow"]


async def test_emit_and_request_are_coroutines_like_any_other():
    bus = EventBus()
    bus.on("t", lambda event: event["n"])
    assert inspect.iscoroutinefunction(bus.emit)
    assert inspect.iscoroutinefunction(bus.request)
    assert await asyncio.create_task(bus.emit("t", n=1)) == 1
    assert await asyncio.gather(bus.emit("t", n=1), bus.request("t", n=2)) == [1, 2]
    assert await asyncio.wait_for(bus.emit("t", n=3), 1) == 3


async def test_one_handler_is_awaited_in_place():
    bus, var = EventBus(), contextvars.ContextVar("var", default=0)

    async def handle(event):
        var.set(event["n"])
        return asyncio.current_task()

    bus.on("t", handle)
    assert await bus.emit("t", n=1) is asyncio.current_task()
    assert var.get() == 1
    bus.observe("t", lambda event: None)
    assert await bus.emit("t", n=2) is asyncio.current_task()
    assert await bus.request("t", n=2) is asyncio.current_task()
    assert var.get() == 2


async def test_several_run_in_copies_of_the_emitters_context():
    bus, var = EventBus(), contextvars.ContextVar("var", default=0)

    async def handle(event):
        seen = var.get()
        var.set(99)
        return seen

    bus.on("t", handle)
    bus.on("t.**", handle)
    bus.on("*", handle)
    var.set(7)
    assert await bus.emit("t") == [7, 7]
    assert var.get() == 7


async def test_one_handlers_error_is_raised_as_itself():
    bus = EventBus()
    error = ValueError("mine")

    @bus.on("t")
    async def fail(event):
        raise error

    for send in (bus.emit, bus.request):
        with pytest.raises(ValueError, match="mine") as caught:
            await send("t")
        assert caught.value is error
    bus.observe("t", lambda event: None)
    for send in (bus.emit, bus.request):
        with pytest.raises(ValueError, match="mine") as caught:
            await send("t")
        assert caught.value is error
    assert bus.stats()["handler_errors"] == 4


async def test_several_all_finish_before_the_group_is_raised():
    bus, finished = EventBus(), []

    @bus.on("t")
    async def fail(event):
        raise ValueError

    @bus.on("t")
    async def work(event):
        await asyncio.sleep(0.001)
        finished.append(1)

    @bus.on("t")
    def fail_too(event):
        raise KeyError

    with pytest.raises(ExceptionGroup, match="2 of 3 handlers of 't' failed") as caught:
        await bus.emit("t")
    assert [type(error) for error in caught.value.exceptions] == [ValueError, KeyError]
    assert finished == [1]
    assert bus.stats()["handler_errors"] == 2


async def test_cancelling_the_emitter_cancels_its_handlers_and_waits_for_them(settle):
    for verb in ("emit", "gather", "request"):
        bus, log = EventBus(), []

        def make(name, bus=bus, log=log):
            async def handle(event):
                log.append(name)
                try:
                    await asyncio.Event().wait()
                finally:
                    await asyncio.sleep(0)
                    log.append(f"{name} ended")

            return handle

        for name in "a" if verb == "request" else "ab":
            bus.on("t", make(name))
        task = asyncio.create_task(getattr(bus, verb)("t"))
        await settle()
        task.cancel()
        await settle(2)
        task.cancel()  # Once more does not abandon them.
        with pytest.raises(asyncio.CancelledError):
            await task
        assert max(log).endswith("ended")
        assert len(log) % 2 == 0
        assert task.cancelled()


async def test_a_timeout_around_an_emit_is_a_timeout():
    bus = EventBus()
    forever = asyncio.Event()

    @bus.on("t")
    @bus.on("*")
    async def wait(event):
        await forever.wait()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await bus.emit("t")


async def cancels_itself(event):
    asyncio.current_task().cancel()
    await asyncio.sleep(0)


async def gives_up(event):
    raise asyncio.CancelledError("mine")


async def test_a_handler_cancelled_by_itself_does_not_cancel_the_emitter():
    bus = EventBus()
    bus.on("t", gives_up)
    bus.on("t", lambda event: "fine")
    bus.on("t", cancels_itself)
    first, second, third = await bus.gather("t")
    assert isinstance(first.error, asyncio.CancelledError)
    assert (second.value, second.error) == ("fine", None)
    assert isinstance(third.error, asyncio.CancelledError)
    assert first.seconds >= 0
    with pytest.raises(BaseExceptionGroup) as caught:
        await bus.emit("t")
    assert len(caught.value.exceptions) == 2
    async with bus.stream("t") as outcomes:
        assert [o.failed async for o in outcomes].count(True) == 2
    assert asyncio.current_task().cancelling() == 0
    assert bus.stats()["handler_errors"] == 0


async def test_in_place_a_cancelled_error_is_raised_as_itself():
    bus = EventBus()
    bus.on("t", gives_up)
    for send in (bus.emit, bus.request):
        with pytest.raises(asyncio.CancelledError, match="mine"):
            await send("t")


class Stop(BaseException):
    """Like KeyboardInterrupt, but asyncio does not stop its loop for it."""


async def test_a_base_exception_is_never_an_outcome():
    bus = EventBus()

    @bus.on("t")
    async def stop(event):
        raise Stop

    for send in (bus.emit, bus.request, bus.gather):
        with pytest.raises(Stop):
            await send("t")
    async with bus.stream("t") as outcomes:
        with pytest.raises(Stop):
            await anext(outcomes)
    assert bus.stats()["handler_errors"] == 0


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_one_of_several_ends_the_loop(stop):
    bus = EventBus()
    seen = []

    @bus.on("t")
    async def interrupt(event):
        raise stop

    @bus.on("t")
    async def other(event):
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("ended")

    with pytest.raises(stop):
        asyncio.run(bus.emit("t"))
    assert seen in ([], ["ended"])


async def test_a_task_factory_is_respected():
    bus = EventBus()
    made = []

    def factory(loop, coro, **kwargs):
        task = asyncio.Task(coro, loop=loop, **kwargs)
        made.append(task)
        return task

    async def handle(event):
        return asyncio.current_task() in made

    bus.on("t", handle)
    bus.on("*", handle)
    asyncio.get_running_loop().set_task_factory(factory)
    try:
        assert await bus.emit("t") == [True, True]
    finally:
        asyncio.get_running_loop().set_task_factory(None)


async def test_gather_tells_of_each_handler_in_order():
    bus = EventBus()

    @bus.on("t", priority=1)
    async def fail(event):
        raise ValueError

    @bus.on("t")
    def work(event):
        return 1

    failed, worked = await bus.gather("t")
    assert failed.handler.endswith("<locals>.fail")
    assert isinstance(failed.error, ValueError)
    assert worked[1:3] == (1, None)
    assert worked.seconds >= 0


async def test_stream_gives_outcomes_as_they_finish():
    bus = EventBus()
    gates = {name: asyncio.Event() for name in "abc"}
    for name, gate in gates.items():

        async def handle(event, name=name, gate=gate):
            await gate.wait()
            return name

        bus.on("t", handle)
    async with bus.stream("t") as outcomes:
        for name in "cab":
            gates[name].set()
            assert (await anext(outcomes)).value == name
        with pytest.raises(StopAsyncIteration):
            await anext(outcomes)


async def test_leaving_a_stream_cancels_the_rest(settle):
    bus, ended = EventBus(), []

    async def forever(event):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(1)

    bus.on("t", lambda event: 1)
    bus.on("t", forever)
    bus.on("*", forever)
    async with bus.stream("t") as outcomes:
        async for outcome in outcomes:
            assert outcome.value == 1
            await settle()
            break
    assert ended == [1, 1]
    await outcomes.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(outcomes)


async def test_a_stream_is_not_read_outside_its_block():
    bus = EventBus()
    bus.on("t", lambda event: 1)
    stream = bus.stream("t")
    with pytest.raises(RuntimeError, match="async with"):
        await anext(stream)
    await stream.aclose()
    assert bus.stats()["handler_errors"] == 0


async def test_request_asks_the_most_specific_then_the_highest_priority():
    bus = EventBus()
    asked = ["a.b.c", "a.b.*", "a.*.**", "a.**", "*.*.*", "*.**", "**"]
    for pattern in reversed(asked):
        bus.on(pattern, lambda event, p=pattern: p)
    for pattern in asked:
        assert await bus.request("a.b.c") == pattern
        for name in bus._plans.handlers.find(pattern, []):
            bus.off(pattern, name.fn)
    bus.on("t", lambda event: "low")
    bus.on("t", lambda event: "high", priority=1)
    assert await bus.request("t") == "high"


@pytest.mark.parametrize("pair", [("a.b", "a.b"), ("a.*", "*.b"), ("a.**", "a.**")])
async def test_a_tie_is_refused_before_anything_runs(pair):
    bus, ran = EventBus(), []
    bus.observe("**", ran.append)
    for pattern in pair:
        bus.on(pattern, lambda event: ran.append(event) or event)
    with pytest.raises(AmbiguousTopicError, match="equally well") as caught:
        await bus.request("a.b")
    assert len(caught.value.handlers) == 2
    assert ran == []


async def test_request_without_a_handler_names_near_misses():
    bus = EventBus()
    bus.on("intent:summarise", lambda event: 1)
    with pytest.raises(
        NoHandlerError, match=r"did you mean 'intent:summarise'"
    ) as caught:
        await bus.request("intent:summarize")
    assert caught.value.near == ("intent:summarise",)
    with pytest.raises(NoHandlerError, match=r"^nobody answers 'xyz'$"):
        await bus.request("xyz")


async def test_handlers_that_wait_for_each_other_without_end_are_stopped():
    bus = EventBus()
    bus.on("start", lambda event: bus.emit("ping"))
    bus.on("ping", lambda event: bus.request("pong"))

    @bus.on("pong")
    async def pong(event):
        return await bus.emit("ping")

    with pytest.raises(NestingError, match="pong -> ping -> pong") as caught:
        await bus.emit("start")
    assert caught.value.depth == 64
    assert caught.value.topics == ("pong", "ping", "pong")


async def test_nesting_without_a_loop_names_every_topic():
    bus = EventBus(max_depth=2)
    bus.on("*", lambda event: bus.emit(event.topic + "a"))
    with pytest.raises(NestingError) as caught:
        await bus.emit("a")
    assert caught.value.topics == ("a", "aa", "aaa")


async def test_a_chain_of_tasks_is_not_nested(settle):
    bus = EventBus(max_depth=3)
    left = [50]
    done = asyncio.Event()

    @bus.on("t")
    async def handle(event):
        left[0] -= 1
        if left[0]:
            handle.task = asyncio.create_task(later())
        else:
            done.set()

    async def later():
        await settle(2)
        await bus.emit("t")

    await bus.emit("t")
    await done.wait()
    assert left == [0]


async def test_a_start_that_is_interrupted_leaves_nothing_behind(settle):
    ended = []

    async def run(name):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    bodies = [run("first"), None, run("never")]
    with pytest.raises(TypeError):
        launch(bodies, list("abc"))
    await settle()
    assert ended in ([], ["first"])
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert inspect.getcoroutinestate(bodies[2]) == inspect.CORO_CLOSED


@pytest.mark.parametrize("verb", ["emit", "gather"])
async def test_a_handler_that_ignores_its_cancellation_keeps_nobody(verb, settle):
    bus, ended = EventBus(), []

    async def ignore(event):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "anyway"

    async def wait(event):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    bus.on("t", ignore)
    bus.on("t", wait)
    task = asyncio.create_task(getattr(bus, verb)("t"))
    await settle()
    task.cancel()
    await asyncio.wait([task], timeout=10)
    assert task.cancelled()
    assert ended == [True]


async def test_who_is_cancelled_while_leaving_a_stream_is_cancelled(settle):
    bus, gate = EventBus(), asyncio.Event()

    @bus.on("t")
    async def linger(event):
        try:
            await asyncio.Event().wait()
        finally:
            await gate.wait()

    async def leave():
        async with bus.stream("t"):
            await settle()

    task = asyncio.create_task(leave())
    await settle(30)
    task.cancel()
    await settle()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
