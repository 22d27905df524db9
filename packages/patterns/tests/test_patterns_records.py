"""What the records of a run say of how something ended, in words that all packages use."""

import asyncio
import json

import pytest

from waybell_budget import BudgetExceeded, BudgetPool
from waybell_deadline import Deadline, DeadlineExceeded
from waybell_patterns import Broadcast, Fallback, Pipeline, Retry, Stage, Supervisor


def wordings(log):
    """Each record that says how something ended: of what, the word, the error's type."""
    return [
        (each["decision"], each["outcome"], each.get("error", {}).get("type"))
        for each in log.records
        if "outcome" in each
    ]


async def test_what_ended_well_has_no_error(fakes):
    log = fakes.Log()
    await Pipeline([str.upper], log=log).run("hi")
    assert [("error" in each) for each in log.records] == [False, False]
    assert wordings(log) == [("answer", "ok", None), ("pipeline", "ok", None)]


async def test_a_refused_budget_is_an_error(fakes):
    log = fakes.Log()
    with pytest.raises(BudgetExceeded):
        await Pipeline([Stage("a", str, usd=2)], budget=BudgetPool(1), log=log).run("x")
    assert wordings(log) == [("pipeline", "error", "BudgetExceeded")]


@pytest.mark.simulate(seeds=20)
async def test_a_deadline_is_an_error_of_the_pattern_and_cancels_its_agent(fakes):
    log = fakes.Log()
    await Pipeline([fakes.hang], log=log).run("hi", deadline=Deadline(1))
    await Supervisor(fakes.hang, str, log=log).run("hi", deadline=Deadline(1))
    assert wordings(log) == [
        ("answer", "cancelled", "CancelledError"),
        ("pipeline", "error", "DeadlineExceeded"),
        ("answer", "cancelled", "CancelledError"),
        ("supervisor", "error", "DeadlineExceeded"),
    ]
    with pytest.raises(DeadlineExceeded):
        await Retry(fakes.hang, log=log).run("hi", deadline=Deadline(1))
    assert wordings(log)[-1] == ("retry", "error", "DeadlineExceeded")


async def test_a_result_that_lacks_something_without_an_error_is_incomplete(fakes):
    log = fakes.Log()
    await Broadcast([fakes.failing(OSError("down"))], log=log).run("hi")
    await Supervisor(str, lambda draft: False, max_rounds=1, log=log).run("hi")
    assert wordings(log)[:2] == [
        ("answer", "error", "OSError"),
        ("broadcast", "incomplete", "IncompleteError"),
    ]
    assert wordings(log)[-1] == ("supervisor", "incomplete", "IncompleteError")
    said = log.records[-1]["error"]["message"]
    assert said == "not approved: exhausted after 1 reviews"


async def test_a_cancellation_is_cancelled(fakes):
    log = fakes.Log()
    task = asyncio.ensure_future(Fallback(Stage("a", fakes.hang), log=log).run("hi"))
    await asyncio.sleep(0)
    task.cancel("enough")
    await asyncio.wait([task])
    assert wordings(log)[-1] == ("fallback", "cancelled", "CancelledError")
    assert log.records[-1]["error"]["message"] == "enough"


async def test_every_error_has_one_shape_and_goes_through_json(fakes):
    log = fakes.Log()
    wait = fakes.failing(ConnectionError("down"), times=1)
    retry = Retry(wait, wait=lambda state: 0, log=log)
    await Fallback(fakes.failing(OSError("odd")), retry, log=log).run("hi")
    errors = [each["error"] for each in log.records if "error" in each]
    assert errors == json.loads(json.dumps(errors))
    assert [each.keys() for each in errors] == [{"type", "message"}] * 4
    assert {each["message"] for each in errors} == {"odd", "down"}
