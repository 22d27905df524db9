import json
import time
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from waybell_adapters import (
    BadReply,
    ContextTooLong,
    ModelRefused,
    ModelUnavailable,
    RateLimited,
    Usage,
)
from waybell_adapters._refusals import refusal, retry_after


VENDORS = ("openai", "anthropic", "ollama")
NOW = 1_800_000_000.0
SOON = {"retry_after_ms": "1"}


class DeadlineExceeded(TimeoutError):
    """What a deadline raises."""


class Deadline:
    """The methods of one that this package uses, in real time."""

    def __init__(self, seconds):
        self.ends = time.monotonic() + seconds

    def check(self):
        if time.monotonic() >= self.ends:
            raise DeadlineExceeded

    def timeout(self, cap=None):
        self.check()
        left = self.ends - time.monotonic()
        return left if cap is None else min(left, cap)


def drop(conn, request):
    """Take the request and say nothing."""
    raise OSError("dropped")


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_what_may_pass_is_tried_again_and_seen(serve, connect, wire, vendor, status):
    no = wire.http(status, {"error": {"message": "busy"}}, **SOON)
    server = serve(no, no, wire.whole(vendor))
    reply = connect(server, vendor).generate("hi")
    assert reply == "Hello there"
    assert [a.status for a in reply.attempts] == [status, status, 200]
    assert "busy" in reply.attempts[0].error
    assert reply.attempts[0].usage is None
    assert server.connections == 1


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 413, 422, 301, 501])
def test_what_will_not_pass_is_not_tried_again(serve, connect, wire, status):
    server = serve(wire.http(status, {"error": {"message": "no"}}, location="/x"))
    with pytest.raises(ModelRefused, match="no") as caught:
        connect(server).generate("hi")
    assert (caught.value.status, len(server.requests)) == (status, 1)
    assert len(caught.value.attempts) == 1


@pytest.mark.parametrize(
    "error",
    [
        {"message": "x", "type": "insufficient_quota", "code": "insufficient_quota"},
        {"message": "You exceeded your current quota, check your plan and billing."},
        {"message": "Your credit balance is too low.", "type": "invalid_request_error"},
    ],
)
def test_a_quota_is_not_a_rate_limit(serve, connect, wire, error):
    server = serve(wire.http(429, {"error": error}, retry_after="1"))
    with pytest.raises(ModelRefused) as caught:
        connect(server).generate("hi")
    assert (caught.value.status, len(server.requests)) == (429, 1)


@pytest.mark.parametrize(
    ("name", "status", "kind", "text"),
    [
        ("aimock.429", 429, RateLimited, "Rate limit exceeded"),
        ("aimock.anthropic.529", 529, ModelUnavailable, "Overloaded"),
        ("litellm.429", 429, RateLimited, "mock rate limit"),
        ("llamacpp.400.ctx", 400, ContextTooLong, "exceeds the available context"),
    ],
)
def test_a_recorded_error_is_read_by_any_adapter(wire, name, status, kind, text):
    found = refusal(status, {}, wire.recorded(name).decode(), NOW)
    assert type(found.error) is kind
    assert text in str(found.error)
    assert found.error.status == status


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        ('{"type":"error","error":{"type":"overloaded_error","message":"o"}}', ModelUnavailable, "o"),
        ('{"error":{"type":"invalid_request_error","message":"prompt is too long: 9 tokens"}}', ContextTooLong, "too long"),
        ('{"error":{"code":"context_length_exceeded","message":"m"}}', ContextTooLong, "m"),
        ('{"error":{"code":"rate_limit_exceeded","message":"m"}}', RateLimited, "m"),
        ('{"error":{"code":503,"message":"m"}}', ModelUnavailable, "m"),
        ('{"error":{"code":401,"message":"m"}}', ModelRefused, "m"),
        ('[{"error":{"code":404,"message":"m","status":"NOT_FOUND"}}]', ModelRefused, "m"),
        ('{"error":"model \'m\' not found"}', ModelUnavailable, "not found"),
        ('{"detail":"Not Found"}', ModelUnavailable, "Not Found"),
        ('{"detail":[{"loc":["body"],"msg":"bad"}]}', ModelUnavailable, "bad"),
        ('{"message":"m"}', ModelUnavailable, "m"),
        ("upstream connect error", ModelUnavailable, "upstream"),
        ("", ModelUnavailable, "500"),
    ],
)  # fmt: skip
def test_an_error_inside_a_stream_is_read_in_any_shape(body, kind, text):
    found = refusal(None, {}, body, NOW)
    assert type(found.error) is kind
    assert text in str(found.error)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "2s"}, 2),
        ({"Retry-After-Ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": format_datetime(datetime.fromtimestamp(NOW + 9, UTC), usegmt=True)}, 9),
        ({"retry-after": format_datetime(datetime.fromtimestamp(NOW - 9, UTC), usegmt=True)}, 0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT",
          "date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 30),
        ({"retry-after": "soon"}, None),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "6m0s"}, 360),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "6m0s",
          "x-ratelimit-remaining-requests": "0", "x-ratelimit-remaining-tokens": "5"}, 1),
        ({"x-ratelimit-reset-requests": "120ms"}, 0.12),
        ({"x-ratelimit-reset": str(int(NOW) + 5)}, 5),
        ({"anthropic-ratelimit-tokens-reset":
          datetime.fromtimestamp(NOW + 4, UTC).isoformat().replace("+00:00", "Z")}, 4),
        ({}, None),
    ],
)  # fmt: skip
def test_every_way_to_ask_for_patience_is_understood(headers, seconds):
    assert retry_after(headers, NOW, limits=True) == (
        None if seconds is None else pytest.approx(seconds)
    )


def test_resets_count_for_a_limit_only():
    assert retry_after({"x-ratelimit-reset-requests": "60s"}, NOW) is None


@pytest.mark.parametrize("status", [429, 503])
def test_a_wait_that_outlasts_the_deadline_is_an_error_at_once(
    serve, connect, wire, status
):
    server = serve(wire.http(status, {"error": {"message": "m"}}, retry_after="30"))
    began = time.monotonic()
    with pytest.raises((RateLimited, ModelUnavailable)) as caught:
        connect(server).generate("hi", deadline=Deadline(20))
    assert time.monotonic() - began < 5
    assert caught.value.retry_after == 30
    assert len(server.requests) == 1


def test_a_wait_beyond_patience_is_an_error_at_once(serve, connect, wire):
    server = serve(wire.http(429, {"error": {"message": "m"}}, retry_after="3600"))
    with pytest.raises(RateLimited, match="retry after 3600"):
        connect(server).generate("hi")


def test_attempts_are_as_many_as_were_asked_for(serve, connect, wire):
    server = serve(wire.http(500, {"error": {"message": "m"}}, **SOON))
    for given, made in ((1, 1), (2, 2), (None, 3), (5, 5)):
        server.requests.clear()
        with pytest.raises(ModelUnavailable) as caught:
            connect(server).generate("hi", attempts=given)
        assert len(server.requests) == len(caught.value.attempts) == made
    with pytest.raises(ValueError, match="attempts is at least 1"):
        connect(server, attempts=0)


def test_a_refused_connection_is_tried_again_and_costs_nothing(connect, serve, spies):
    server = serve(b"")
    server.close()
    server.close = lambda: None
    budget = spies.Budget()
    with pytest.raises(ModelUnavailable, match="connection") as caught:
        connect(server).generate("hi", budget=budget)
    assert len(caught.value.attempts) == 3
    assert {a.usage for a in caught.value.attempts} == {None}
    assert len(budget.checked) == 3
    assert [(c["usd"], c["usage"].total) for c in budget.charged] == [(0, 0)]
    assert isinstance(caught.value, ConnectionError)


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_lost_answer_is_tried_again_and_each_try_is_charged(
    serve, connect, wire, spies, vendor
):
    server = serve(drop, drop, wire.whole(vendor))
    budget = spies.Budget()
    reply = connect(server, vendor).generate("one two three", budget=budget)
    assert reply == "Hello there"
    assert len(budget.charged) == 3
    assert [c["line"] for c in budget.charged[:2]] == ["estimated"] * 2
    assert "line" not in budget.charged[2]
    assert budget.charged[0]["usage"] == Usage(3, 0, estimated=True)
    assert [a.usage for a in reply.attempts[:2]] == [Usage(3, 0, estimated=True)] * 2


def test_a_budget_that_a_lost_answer_empties_stops_the_retries(
    serve, connect, wire, spies
):
    server = serve(drop)
    with pytest.raises(spies.Overspent):
        connect(server).generate("one two three", budget=spies.Budget(2))
    assert len(server.requests) == 0
    budget = spies.Budget(3)
    budget.charge = lambda **amounts: setattr(budget, "tokens", 0)
    with pytest.raises(spies.Overspent, match="before"):
        connect(server).generate("one two three", budget=budget)
    assert len(server.requests) == 1


def test_a_server_that_says_nothing_in_time_is_tried_again(serve, connect, wire, spies):
    server = serve(wire.stall(b""), wire.whole("openai"))
    budget = spies.Budget()
    reply = connect(server, timeout=0.05).generate("hi", budget=budget)
    assert reply == "Hello there"
    assert "no answer in time" in reply.attempts[0].error
    assert len(budget.charged) == 2


def test_a_kept_connection_that_was_closed_meanwhile_costs_nothing(
    serve, connect, wire, spies
):
    server = serve(wire.whole("openai"), drop, wire.whole("openai"))
    model, budget = connect(server), spies.Budget()
    model.generate("hi")
    reply = model.generate("hi", budget=budget)
    assert [a.status for a in reply.attempts] == [None, 200]
    assert len(budget.charged) == 1


@pytest.mark.parametrize("vendor", VENDORS)
def test_nothing_is_tried_again_after_the_first_piece(
    serve, connect, wire, spies, vendor
):
    first = wire.part(vendor, "Once upon")
    cut = wire.head(
        "application/x-ndjson" if vendor == "ollama" else "text/event-stream"
    )

    def half(conn, request):
        conn.sendall(cut + wire.chunk(first))
        raise OSError("cut")

    server, budget = serve(half), spies.Budget()
    with pytest.raises(ModelUnavailable) as caught:
        connect(server, vendor).generate("hi", budget=budget)
    assert len(server.requests) == 1
    reply = caught.value.reply
    assert (reply, reply.partial) == ("Once upon", True)
    assert reply.usage.estimated
    assert reply.usage.output_tokens == 2
    assert len(budget.charged) == 1
    assert len(reply.attempts) == len(caught.value.attempts) == 1


def test_a_stream_that_ends_early_but_well_is_a_failure_too(serve, connect, wire):
    server = serve(wire.http(200, wire.chat("Once", stop=None), size=9))
    with pytest.raises(ModelUnavailable, match="ended before"):
        connect(server).generate("hi")
    server = serve(wire.http(200, b""), wire.whole("openai"))
    assert connect(server).generate("hi").attempts[0].error


def test_an_error_in_the_stream_before_any_piece_is_tried_again(serve, connect, wire):
    over = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}
    server = serve(wire.http(200, wire.sse(over)), wire.whole("anthropic"))
    assert connect(server, "anthropic").generate("hi") == "Hello there"
    body = wire.part("anthropic", "Once") + wire.sse(over)
    server = serve(wire.http(200, body), wire.whole("anthropic"))
    with pytest.raises(ModelUnavailable, match="busy") as caught:
        connect(server, "anthropic").generate("hi")
    assert caught.value.reply == "Once"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"data: {nonsense\n\n", "text/event-stream"),
        (b'data: "text"\n\n', "text/event-stream"),
        (b"data: " + b"[" * 100_000 + b"\n\n", "text/event-stream"),
        (b"<html>Sign in</html>", "text/html; charset=utf-8"),
        (b"not json", "application/json"),
    ],
)
def test_what_cannot_be_understood_is_a_bad_reply_with_its_body(
    serve, connect, wire, body, kind
):
    server = serve(wire.http(200, body, kind))
    with pytest.raises(BadReply) as caught:
        connect(server).generate("hi")
    assert caught.value.body
    assert len(server.requests) == 1


def test_an_error_says_which_call_it_was(serve, connect, wire):
    no = {"error": {"message": "no such thing", "type": "not_found_error"}}
    server = serve(wire.http(404, no, request_id="req-9"))
    with pytest.raises(ModelRefused) as caught:
        connect(server, "anthropic", model="claude").generate("hi")
    error = caught.value
    assert (error.provider, error.model, error.request_id) == (
        "anthropic",
        "claude",
        "req-9",
    )
    assert json.loads(error.body) == no
    assert str(error) == (
        "no such thing (provider anthropic, model claude, status 404, request req-9, "
        "attempts 1)"
    )


def test_a_deadline_that_has_passed_sends_nothing(serve, connect, wire):
    server = serve(wire.whole("openai"))
    with pytest.raises(DeadlineExceeded):
        connect(server).generate("hi", deadline=Deadline(0))
    assert server.requests == []


def test_a_budget_bounds_what_may_be_written(serve, connect, wire, spies):
    class Clamping(spies.Budget):
        def clamp(self, limit, *, model, input_tokens):
            if model == "unknown":
                raise LookupError(model)
            return min(limit, 10 - input_tokens)

    server = serve(wire.whole("openai"))
    connect(server).generate("one two", max_tokens=100, budget=Clamping())
    assert server.requests[0].json["max_tokens"] == 8
    price = {"input": 1, "output": 1}
    with pytest.raises(LookupError):
        connect(server, model="unknown").generate("hi", max_tokens=5, budget=Clamping())
    priced = connect(server, model="unknown", price=price)
    priced.generate("hi", max_tokens=5, budget=Clamping())
    assert server.requests[1].json["max_tokens"] == 5


def test_a_reply_that_was_too_much_is_on_the_error(serve, connect, wire, spies):
    server = serve(wire.whole("openai"))
    with pytest.raises(spies.Overspent, match="after") as caught:
        connect(server).generate("hi", budget=spies.Budget(3))
    assert caught.value.reply == "Hello there"
    assert not caught.value.reply.partial
