"""Chunked answers: cut anywhere they give the same, and nothing else is taken for one."""

import io
from collections import deque
from http.client import HTTPException, HTTPResponse, IncompleteRead
from itertools import repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waybell_adapters import OpenAIAdapter
from waybell_adapters._answer import Answer
from waybell_adapters._framing import LIMIT, Chunks


HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


class Reads(io.RawIOBase):
    """Gives bytes in the given pieces, one a read."""

    def __init__(self, pieces) -> None:
        self.pieces = [piece for piece in pieces if piece]

    def readable(self) -> bool:
        return True

    def readinto(self, into) -> int:
        if not self.pieces:
            return 0
        piece = self.pieces.pop(0)
        size = min(len(piece), len(into))
        into[:size] = piece[:size]
        if piece[size:]:
            self.pieces.insert(0, piece[size:])
        return size


class Sock:
    """A socket of which only reading is needed."""

    def __init__(self, *pieces) -> None:
        self.file = io.BufferedReader(Reads(pieces))

    def makefile(self, _mode):
        return self.file


def stdlib_body(*pieces):
    """What the standard library reads."""
    answer = HTTPResponse(Sock(HEAD, *pieces))
    answer.begin()
    found = []
    while data := answer.read1(65536):
        found.append(data)
    assert answer.isclosed()
    return found


def body_of(*pieces, head=HEAD):
    """All parts of an answer's body until its end."""
    answer, reads = Answer(), deque(piece for piece in (head, *pieces) if piece)
    while not answer.begin(reads.popleft() if reads else b""):
        pass
    found = []
    while answer.more or not answer.ended:
        if answer.more or not (data := reads.popleft() if reads else b""):
            found.append(answer.read())
        else:
            found.append(answer.read(data))
    return [data for data in found if data]


def cut(data, places):
    """The data cut at these places."""
    at = sorted({place % (len(data) + 1) for place in places})
    return [data[a:b] for a, b in zip([0, *at], [*at, len(data)], strict=True)]


framed = st.builds(
    lambda data, pad, extension, case: (
        data,
        case(b"%x" % len(data)).zfill(pad) + extension + b"\r\n" + data + b"\r\n",
    ),
    st.one_of(st.binary(min_size=1, max_size=40), st.just(b"\r\n0\r\n\r\n" * 9)),
    st.integers(0, 8),
    st.sampled_from([b"", b";", b";a=b", b' ; a="0"', b"  "]),
    st.sampled_from([bytes.lower, bytes.upper]),
)
trailers = st.sampled_from([b"", b"A: b\r\n", b"A: b\r\nC: d\r\n", b"A: b\n"])
places = st.lists(st.integers(0, 10_000), max_size=30)


@given(st.lists(framed, max_size=12), trailers, places)
def test_a_body_cut_anywhere_reads_as_the_standard_library_reads_it(
    frames, trailers, places
):
    raw = b"".join(frame for _, frame in frames) + b"0\r\n" + trailers + b"\r\n"
    mine = b"".join(body_of(*cut(raw, places)))
    assert mine == b"".join(data for data, _ in frames)
    assert mine == b"".join(stdlib_body(raw))


@given(st.lists(framed, max_size=6), places, st.data())
def test_a_body_with_a_wrong_byte_ends_in_an_error_or_in_what_its_sizes_say(
    frames, places, data
):
    raw = bytearray(b"".join(frame for _, frame in frames) + END)
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    pieces = cut(bytes(raw), places)
    try:
        mine = b"".join(body_of(*pieces))
    except HTTPException:
        return
    assert mine == b"".join(stdlib_body(bytes(raw)))


@given(st.lists(framed, min_size=1, max_size=6), places, st.integers(1, 10_000))
def test_a_body_that_ends_too_soon_is_told_after_what_came(frames, places, left_out):
    raw = b"".join(frame for _, frame in frames)
    raw = raw[: -(left_out % len(raw)) or None]
    with pytest.raises(IncompleteRead):
        body_of(*cut(raw, places))


def test_all_that_came_together_is_given_out_at_once_and_its_end_is_known():
    answer = Answer()
    assert answer.begin(HEAD + b"3\r\nabc\r\n2\r\nde\r\n" + END)
    assert answer.read() == b"abcde"
    assert answer.ended
    assert answer.keep
    assert answer.read() == b""


def test_a_chunk_that_is_not_whole_is_given_out_as_it_comes():
    whole = b"x" * 100_000
    found = body_of(b"186a0\r\n" + whole[:5], whole[5:], b"\r\n", END)
    assert found[0] == b"xxxxx"
    assert b"".join(found) == whole


@pytest.mark.parametrize(
    "size",
    [b"", b"-1", b"+1", b"0x1", b"1_0", b"g", b"\xd9\xa1", b"1 1", b"f" * 17, b"1\r1"],
)
def test_what_is_no_size_is_refused(size):
    with pytest.raises(HTTPException, match="no chunk"):
        Chunks().feed(size + b"\r\nabc\r\n" + END)


def test_data_longer_than_its_size_is_refused():
    with pytest.raises(HTTPException, match="no chunk"):
        Chunks().feed(b"2\r\nabc\r\n" + END)


@pytest.mark.parametrize(
    ("before", "more"),
    [
        (b"1", b"1"),
        (b"1;", b"a"),
        (b"1\r\na\r\n", b"1"),
        (b"0\r\n", b"a"),
        (b"0\r\n", b"a: b\r\n"),
    ],
    ids=repr,
)
def test_framing_without_an_end_is_refused_before_it_fills_the_memory(before, more):
    chunks = Chunks()
    chunks.feed(before)
    with pytest.raises(HTTPException, match="no chunk"):
        deque(map(chunks.feed, repeat(more, LIMIT + 1)), maxlen=0)


def test_a_server_may_leave_out_the_line_behind_the_trailers():
    assert body_of(b"1\r\na\r\n0\r\n") == [b"a"]
    assert body_of(b"1\r\na\r\n0\r\na: b\r\n") == [b"a"]


def test_a_connection_with_something_behind_the_answer_is_not_used_again(serve, wire):
    events = b'data: {"choices": [{"delta": {"content": "Hi"}}]}\n\ndata: [DONE]\n\n'
    good = wire.http(body=events, size=9)
    stray = wire.http(body=events.replace(b"Hi", b"No"), size=9)
    server = serve().say(good, good + stray, good)
    model = OpenAIAdapter("m", base_url=server.url, api_key="k")
    with model:
        assert [model.generate("x") for _ in range(3)] == ["Hi", "Hi", "Hi"]
    assert server.connections == 2
