"""The router: which agent gets the prompt."""

import pickle

import pytest

from waybell_bus import EventBus
from waybell_deadline import Deadline, DeadlineExceeded
from waybell_patterns import Router, UnknownIntentError


ROUTES = {"bug": str.upper, "other": str.lower}


def classified(answer, **setting):
    return Router(ROUTES, classify=lambda prompt: answer, **setting)


@pytest.mark.parametrize(
    ("answer", "confidence"),
    [
        ("bug", None),
        (" 'bug'.\n", None),
        (("bug",), None),
        (("bug", 0.5), 0.5),
        (("bug", 0.5, "more"), 0.5),
        ({"intent": "bug"}, None),
        ({"label": "bug", "confidence": "0.5"}, 0.5),
        ('{"intent": "bug", "confidence": 1}', 1.0),
        ('```json\n{"intent": "bug"}\n```', None),
        (("bug", float("nan")), None),
        (("bug", 85), None),
    ],
)
async def test_a_classifier_names_the_intent_in_many_forms(answer, confidence):
    routed = await classified(answer).run("Hi")
    assert (routed.intent, routed.confidence) == ("bug", confidence)
    assert (routed.route, routed.value, str(routed)) == ("bug", "HI", "HI")
    assert routed.ok


async def test_the_default_route_is_taken_when_the_intent_is_unsure_or_unknown():
    routed = await classified(("bug", 0.4), threshold=0.5, default="other").run("Hi")
    assert (routed.intent, routed.route, routed.value) == ("bug", "other", "hi")
    routed = await classified("nonsense", default="other").run("Hi")
    assert (routed.intent, routed.route) == ("nonsense", "other")


async def test_an_unknown_intent_is_an_error_that_lists_the_routes(fakes):
    log = fakes.Log()
    with pytest.raises(
        UnknownIntentError, match="no route for intent 'bugs'; there are 'bug', 'other'"
    ):
        await classified("bugs", log=log).run("Hi")
    assert log.answers() == [("classify", "ok")]
    assert log.of("route")[0]["route"] is None
    assert log.of("router")[0]["outcome"] == "error"


async def test_an_unsure_intent_without_a_default_is_an_error_with_its_figures():
    with pytest.raises(
        UnknownIntentError, match=r"0\.40 sure of 'bug', below threshold=0\.50"
    ):
        await classified(("bug", 0.4), threshold=0.5).run("Hi")


async def test_what_resembles_no_example_is_said_to():
    router = Router({"bug": str.upper}, examples={"bug": ["it crashes"]})
    with pytest.raises(
        UnknownIntentError, match="no example resembles it; give default="
    ):
        await router.run("??")


def test_the_error_survives_pickling():
    error = pickle.loads(pickle.dumps(UnknownIntentError("a", ["b"], 0.1, 0.5)))
    assert (error.intent, error.known, error.confidence, error.threshold) == (
        "a",
        ("b",),
        0.1,
        0.5,
    )


async def test_examples_classify_by_likeness():
    router = Router(
        ROUTES,
        examples={
            "bug": ["the app crashes", "an exception is raised"],
            "other": "how do I start?",
        },
        threshold=0.1,
    )
    routed = await router.run("it crashed with an Exception")
    assert routed.route == "bug"
    assert 0.1 < routed.confidence < 1
    assert (await router.run("the app crashes")).confidence == pytest.approx(1.0)
    with pytest.raises(UnknownIntentError):
        await router.run("zzz 999")
    with pytest.raises(UnknownIntentError):
        await router.run("?!")


async def test_routes_and_classifier_may_be_topics_and_are_told_the_intent():
    bus = EventBus()
    bus.on("classify", lambda event: "bug")
    bus.on("agent:bug", lambda event: event["intent"] + " " + event["prompt"])
    router = Router({"bug": "agent:bug"}, classify="classify", bus=bus)
    assert (await router.run("Hi")).value == "bug Hi"


async def test_a_failing_route_raises_its_own_error(fakes):
    log = fakes.Log()
    with pytest.raises(ConnectionError):
        await Router(
            {"a": fakes.failing(ConnectionError())}, classify=lambda p: "a", log=log
        ).run("hi")
    assert log.answers() == [("classify", "ok"), ("fail", "error")]


@pytest.mark.simulate(seeds=20)
async def test_the_deadline_is_a_wall_around_classifying_and_answering(fakes):
    import asyncio

    loop = asyncio.get_running_loop()
    router = Router({"a": fakes.hang}, classify=fakes.slow(1, "a"))
    with pytest.raises(DeadlineExceeded):
        await router.run("hi", deadline=Deadline(5))
    assert loop.time() == 5


@pytest.mark.parametrize(
    ("routes", "setting", "why"),
    [
        ({}, {"classify": str.upper}, "at least one route"),
        (ROUTES, {}, "either classify= or examples="),
        (ROUTES, {"classify": str.upper, "examples": {"bug": "x"}}, "either"),
        (
            ROUTES,
            {"classify": str.upper, "default": "nobody"},
            r"default= names 'nobody', no route; there are 'bug', 'other'",
        ),
        (
            ROUTES,
            {"classify": str.upper, "default": "bugs"},
            r"default= names 'bugs', no route; did you mean 'bug'\?",
        ),
        (ROUTES, {"classify": str.upper, "default": ""}, "default= names '', no route"),
        (
            ROUTES,
            {"examples": {"othr": "x"}},
            r"examples= names 'othr', no route; did you mean 'other'\?",
        ),
        (ROUTES, {"examples": {"bug": []}}, r"no usable text for \['bug'\]"),
        (ROUTES, {"examples": {}}, "no usable text"),
        (ROUTES, {"classify": str.upper, "threshold": 2}, "0 to 1, not 2"),
    ],
)
def test_a_router_that_makes_no_sense_is_refused(routes, setting, why):
    with pytest.raises(ValueError, match=why):
        Router(routes, **setting)
