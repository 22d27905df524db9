import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from waybell_adapters import AdapterError, Reply
from waybell_adapters._refusals import refusal, retry_after


VENDORS = ("openai", "anthropic", "ollama")
WORDS = st.sampled_from(
    """choices delta content index message usage tool_calls function arguments name id type
    text error finish_reason stop content_block_start content_block_delta message_start
    content_block message_delta message_stop text_delta input_json_delta partial_json
    thinking_delta signature_delta tool_use done done_reason thinking refusal
    prompt_tokens completion_tokens output_tokens eval_count""".split()
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | WORDS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4)
    ),
    max_leaves=12,
)
EVENTS = st.lists(st.dictionaries(WORDS, VALUES, max_size=5), max_size=6)
CHOICES = st.lists(
    st.fixed_dictionaries({"delta": st.dictionaries(WORDS, VALUES, max_size=4)}),
    max_size=2,
).map(lambda choices: [{"choices": choices}])
SLOWLY = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def answer_of(model, **options):
    """A reply, or an error of this package; anything else fails the test."""
    try:
        reply = model.generate("hi", attempts=1, **options)
    except AdapterError as error:
        return error
    assert isinstance(reply, Reply)
    return reply


@pytest.mark.parametrize("vendor", VENDORS)
@SLOWLY
@given(events=EVENTS | CHOICES)
def test_json_of_any_shape_gives_a_reply_or_a_documented_error(
    serve, connect, wire, vendor, events
):
    server = serve()
    model = connect(server, vendor)
    body = wire.sse(*events)
    kind = "text/event-stream"
    if vendor == "ollama":
        body = "\n".join(json.dumps(event) for event in events).encode()
        kind = "application/x-ndjson"
    server.say(wire.http(200, body, kind))
    answer_of(model)
    model.close()
    server.close()
    server.close = lambda: None


@SLOWLY
@given(data=st.binary(max_size=300), head=st.booleans())
def test_any_bytes_give_a_documented_error(serve, connect, wire, data, head):
    def answer(conn, request):
        conn.sendall(wire.head() + data if head else data)
        raise OSError("the end")

    server = serve(answer)
    model = connect(server)
    assert isinstance(answer_of(model), AdapterError)
    model.close()
    server.close()
    server.close = lambda: None


@given(
    st.dictionaries(
        st.sampled_from(
            ["retry-after", "retry-after-ms", "date", "x-ratelimit-reset-requests"]
        ),
        st.text(max_size=20)
        | st.from_regex(r"\d{1,30}(\.\d+)?(ms|s|m|h)?", fullmatch=True),
    ),
    st.text(max_size=50) | VALUES.map(json.dumps),
)
def test_any_refusal_can_be_read(headers, body):
    found = refusal(429, headers, body, 1e9)
    assert isinstance(found.error, AdapterError)
    wait = retry_after(headers, 1e9, limits=True)
    assert wait is None or wait >= 0


def test_an_endless_reply_is_bounded(serve, connect, wire):
    part = wire.chunk(wire.sse({"choices": [{"delta": {"content": "x" * 1_000_000}}]}))

    def flood(conn, request):
        conn.sendall(wire.head())
        while True:
            conn.sendall(part)

    error = answer_of(connect(serve(flood)))
    assert "more than" in str(error)
    endless = b"data: " + b"x" * 1_000_000

    def line(conn, request):
        conn.sendall(wire.head())
        while True:
            conn.sendall(wire.chunk(endless))

    assert "more than" in str(answer_of(connect(serve(line))))
