import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waybell_adapters._events import BodyParser, LineParser, SSEParser, objects


WIRE = Path(__file__).parent / "wire"
STREAMS = sorted(path.stem for path in WIRE.glob("*.stream.txt"))
ENDINGS = {"LF": b"\n", "CRLF": b"\r\n", "CR": b"\r"}


def parser_of(name):
    return LineParser() if "ollama" in name else SSEParser()


def read(parser, *chunks):
    found = [text for chunk in chunks for text in parser.feed(chunk)]
    return found + parser.finish()


def cut(data, places):
    places = sorted(place % (len(data) + 1) for place in places)
    edges = [0, *places, len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("name", STREAMS)
def test_a_recorded_stream_cut_anywhere_once_gives_the_same_events(name, ending):
    data = (WIRE / f"{name}.txt").read_bytes()
    whole = read(parser_of(name), data)
    if "ollama" not in name:
        data = data.replace(b"\n", ENDINGS[ending])
    assert len(whole) > 1
    assert all(objects(text) or text.strip() == "[DONE]" for text in whole)
    for at in range(len(data)):
        assert read(parser_of(name), data[:at], data[at:]) == whole


@given(
    st.sampled_from(STREAMS),
    st.sampled_from(sorted(ENDINGS)),
    st.lists(st.integers(0, 10**6), max_size=40),
)
def test_a_recorded_stream_cut_many_times_gives_the_same_events(name, ending, places):
    data = (WIRE / f"{name}.txt").read_bytes()
    whole = read(parser_of(name), data)
    if "ollama" not in name:
        data = data.replace(b"\n", ENDINGS[ending])
    assert read(parser_of(name), *cut(data, places)) == whole


@given(
    st.lists(st.text(st.characters(exclude_characters="\r\n\x00", codec="utf-8"))),
    st.lists(st.integers(0, 10**6), max_size=20),
)
def test_multi_byte_characters_survive_every_cut(texts, places):
    values = [json.dumps({"t": text}, ensure_ascii=False) for text in texts]
    data = "".join(f": keep-alive\n\nid: 1\ndata: {v}\n\n" for v in values).encode()
    data = b"\xef\xbb\xbf" + data
    assert [objects(t)[0]["t"] for t in read(SSEParser(), *cut(data, places))] == texts
    lines = "\n\n".join(values).encode()
    assert [
        objects(t)[0]["t"] for t in read(LineParser(), *cut(lines, places))
    ] == texts


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_garbage_gives_only_value_errors_and_bounded_memory(chunks):
    for kind in (SSEParser, LineParser, BodyParser):
        parser = kind(limit=300)
        try:
            for text in read(parser, *chunks):
                objects(text)
        except ValueError:
            pass  # the documented error
        assert len(parser._buffer) <= 500


def test_the_forms_of_an_event():
    def data(text):
        return read(SSEParser(), text.encode())

    assert data('event: a\ndata: {"x":1}\nid: 3\n\n') == ['{"x":1}']
    assert data('data: {"x":\ndata:1}\n\n') == ['{"x":\n1}']
    assert data("data\n\ndata:\n\n: comment\n\nretry: 5\n\n") == []
    assert data('\n\n\ndata:{"x":1}\n\n\n\ndata: 2\n\n') == ['{"x":1}', " 2"]
    assert data('data: {"x":1}') == [' {"x":1}']


def test_an_event_is_given_when_it_ends_and_not_later():
    for ending in ENDINGS.values():
        parser = SSEParser()
        assert parser.feed(b"data: 1" + ending) == []
        assert parser.feed(ending) == [" 1"]


def test_an_endless_event_is_refused():
    for parser in (
        SSEParser(limit=1000),
        LineParser(limit=1000),
        BodyParser(limit=1000),
    ):
        with pytest.raises(ValueError, match="more than 1000 bytes"):
            read(parser, *[b"data: xxxxxxxxxxxxxxxxxxx"] * 100)


def test_values_that_are_glued_together_come_apart():
    assert objects('{"a":1} {"b":2}\n{}') == [{"a": 1}, {"b": 2}, {}]
    assert objects('{"a":1}[DONE]') == [{"a": 1}]
    assert objects(" [DONE] ") == []
    for bad in ("[1]", "3", "null", '"x"', "{", '{"a":1}x', "[" * 100_000):
        with pytest.raises(ValueError, match=r".+"):
            objects(bad)
