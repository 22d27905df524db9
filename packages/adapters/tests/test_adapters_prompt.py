import pytest
from hypothesis import given
from hypothesis import strategies as st

from waybell_adapters import Reply, ScriptedAdapter
from waybell_adapters._prompt import count_tokens, messages, pieces, texts


def test_text_is_one_message_of_the_user():
    assert messages("hi") == [{"role": "user", "content": "hi"}]


def test_what_a_message_carries_beyond_its_text_is_kept():
    turn = [
        {"role": "user", "content": [{"type": "image", "source": 1}, _text("look")]},
        Reply("ok").message,
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "tool_call_id": "1", "content": "42"},
    ]
    assert messages(turn) == turn
    assert [texts(message) for message in messages(turn)] == ["look", "ok", "", "42"]


def _text(text):
    return {"type": "text", "text": text}


@pytest.mark.parametrize(
    ("prompt", "error", "where"),
    [
        (None, TypeError, "prompt is text or a list of messages, not None"),
        (b"bytes", TypeError, "prompt is text"),
        ({"role": "user"}, TypeError, "prompt is text"),
        ([], ValueError, "no message"),
        (["hi"], TypeError, r"prompt\[0\] is a mapping"),
        ([{"role": "user", "content": "a"}, 1], TypeError, r"prompt\[1\] is a mapping"),
        (
            [{"role": "bot", "content": "a"}],
            ValueError,
            r"prompt\[0\]\['role'\].*'bot'",
        ),
        ([{"role": "user"}], TypeError, r"prompt\[0\]\['content'\] is text or a list"),
        ([{"role": "user", "content": 3}], TypeError, "not a value of type int"),
        (
            [{"role": "user", "content": [{"type": "text"}, "b"]}],
            TypeError,
            r"prompt\[0\]\['content'\]\[1\] is a mapping with a type",
        ),
        ([{"role": "user", "content": [{}]}], TypeError, r"\['content'\]\[0\]"),
    ],
)
def test_a_bad_prompt_is_refused_at_its_place(prompt, error, where):
    with pytest.raises(error, match=where):
        ScriptedAdapter(["x"]).generate(prompt)


@given(st.text())
def test_the_pieces_of_a_text_join_to_it(text):
    assert "".join(pieces(text)) == text
    assert len(pieces(text)) == count_tokens(text)
