import asyncio
import logging
from types import MappingProxyType

import pytest

from waybell_decisions import DecisionLog


class Event(dict):
    """What a bus hands its middleware, as far as a log can see."""

    topic, id, time, parent, root = "intent:ask", "e2", 1.0, "e1", "e0"


class Next:
    handler = "app.answer"

    def __init__(self, work):
        self.work = work

    async def __call__(self, event):
        return await self.work(event)


class Clock:
    def __init__(self):
        self.time = 10.0

    def __call__(self):
        self.time += 0.25
        return self.time


@pytest.fixture
def log(path):
    with DecisionLog(path, clock=Clock()) as log:
        yield log


async def test_a_delivery_is_recorded_with_what_went_in_and_out(log, strict, path):
    async def answer(event):
        return {"text": event["prompt"].upper()}

    assert await log.around(Event(prompt="hi"), Next(answer)) == {"text": "HI"}
    (record,) = strict(path)
    for ours in ("v", "id", "time", "pid", "seq"):
        del record[ours]
    assert record == {
        "decision": "deliver",
        "topic": "intent:ask",
        "event": "e2",
        "parent": "e1",
        "root": "e0",
        "handler": "app.answer",
        "given": {"prompt": "hi"},
        "outcome": "ok",
        "returned": {"text": "HI"},
        "seconds": 0.25,
    }


async def test_one_query_says_which_agent_failed_and_what_it_was_given(log):
    async def fail(event):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await log.around(Event(prompt="hi"), Next(fail))
    (failed,) = log.query("deliver", where={"outcome": "error"})
    assert failed["handler"] == "app.answer"
    assert failed["given"] == {"prompt": "hi"}
    assert failed["error"] == {"type": "ValueError", "message": "no"}
    assert "returned" not in failed


async def test_a_cancelled_delivery_is_recorded_and_stays_cancelled(log):
    started = asyncio.Event()

    async def hang(event):
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(log.around(Event(), Next(hang)))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log.count(by="outcome") == {"cancelled": 1}


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_an_interrupt_goes_through(log, error):
    async def interrupt(event):
        raise error

    with pytest.raises(error):
        await log.around(Event(), Next(interrupt))
    assert log.count(by="error.type") == {error.__name__: 1}


async def test_what_a_handler_changes_was_not_given(log):
    async def spoil(event):
        event["items"].append("mine")

    await log.around(Event(items=[]), Next(spoil))
    assert log.tail(1)[0]["given"] == {"items": []}


async def test_an_odd_event_is_recorded_as_far_as_it_can_be(log):
    class Odd:
        @property
        def topic(self):
            raise RuntimeError

        def __repr__(self):
            raise RuntimeError

    async def answer(event):
        return None

    for event in (Odd(), None, MappingProxyType({"a": {1}}), 3):
        await log.around(event, answer)
    odd, none, proxy, number = log.tail(4)
    assert (odd["topic"], odd["handler"]) == (None, None)
    assert odd["given"] == "[unreadable Odd: RuntimeError]"
    assert (none["given"], proxy["given"], number["given"]) == (None, {"a": [1]}, 3)


async def test_a_live_object_with_a_repr_is_recorded_as_that(log, path):
    class Budget:
        """Slots and no JSON form, like the budgets and deadlines that events carry."""

        __slots__ = ("_cap",)

        def __repr__(self):
            return "<Budget $0.03 held, $0.01 spent>"

    async def work(event):
        return event["budget"]

    await log.around(Event(budget=Budget(), prompt="p"), Next(work))
    (record,) = log.query()
    shown = "<Budget $0.03 held, $0.01 spent>"
    assert record["given"] == {"budget": shown, "prompt": "p"}
    assert record["returned"] == shown
    assert "0x" not in path.read_text()


async def test_nothing_of_events_and_answers_is_kept_when_so_told(path):
    async def answer(event):
        return "secret"

    with DecisionLog(path, drop=["given", "returned"]) as log:
        await log.around(Event(prompt="secret"), Next(answer))
        (record,) = log.query("deliver")
    assert not {"given", "returned"} & set(record)
    assert b"secret" not in path.read_bytes()


async def test_a_delivery_that_cannot_be_recorded_still_answers(log, caplog):
    async def answer(event):
        return 42

    async def fail(event):
        raise ValueError("mine")

    log.close()
    with caplog.at_level(logging.ERROR, logger="waybell_decisions"):
        assert await log.around(Event(), Next(answer)) == 42
        with pytest.raises(ValueError, match="mine"):
            await log.around(Event(), Next(fail))
    assert len(caplog.records) == 2
    assert "the log is closed" in caplog.text


async def test_time_is_the_running_loops(path):
    loop = asyncio.get_running_loop()

    async def answer(event):
        done = loop.create_future()
        loop.call_later(0.002, done.set_result, None)
        await done

    with DecisionLog(path) as log:
        before = loop.time()
        await log.around(Event(), Next(answer))
        assert 0 < log.tail(1)[0]["seconds"] <= loop.time() - before


async def test_a_bound_log_observes_too(log):
    async def answer(event):
        return None

    await log.bind(run="r").around(Event(), Next(answer))
    assert log.tail(1)[0]["run"] == "r"
