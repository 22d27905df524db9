"""Chunked answers: cut anywhere they give the same, and nothing else is taken for one."""

import gzip
import io
import tracemalloc
import zlib
from collections import deque
from http.client import HTTPException, HTTPResponse, IncompleteRead
from itertools import repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waybell_adapters import BadReply, ModelRefused, OpenAIAdapter
from waybell_adapters._answer import Answer, Packed
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


def answered(head, *pieces):
    """An answer that was read to its end."""
    answer, reads = Answer(), deque(pieces)
    assert answer.begin(head)
    while answer.more or not answer.ended:
        known = answer.more or not reads
        answer.read(b"" if known else reads.popleft())
    return answer


@pytest.mark.parametrize(
    ("head", "keep"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: closed-captions\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: x\r\nConnection: close\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", True),
        (b"HTTP/1.0 200 OK\r\nConnection: no-keep-alive\r\n", False),
        (b"HTTP/1.1 101 Up\r\nConnection: upgrade\r\n", False),
        (b"HTTP/1.1 200 OK\r\nsome words\r\n", False),
        (b"HTTP/1.1 200 OK\r\n: a\r\n", False),
        (b"HTTP/1.1 200 OK\r\na b: c\r\n", False),
        (b"HTTP/1.1 200 OK\r\na: b\r\n folded\r\n", True),
    ],
    ids=repr,
)
def test_only_a_connection_whose_state_is_known_is_kept(head, keep):
    assert answered(head + b"Content-Length: 0\r\n\r\n").keep is keep


def test_chunks_of_an_older_server_leave_a_doubt_about_what_follows():
    head = (
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n"
    )
    assert not answered(head + b"\r\n", END).keep


def test_a_name_is_read_without_the_spaces_behind_it_and_a_value_with_odd_ones():
    assert body_of(head=b"HTTP/1.1 200 OK\r\ncontent-length : \t2 \r\n\r\nabc") == [
        b"ab"
    ]
    for odd in (b"\x0b", b"\x0c", b"\x85", b"\xa0", b"\x1c"):
        head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: %schunked\r\n\r\n" % odd
        with pytest.raises(HTTPException, match="coded"):
            Answer().begin(head)


@pytest.mark.parametrize("line", [b"a:b\n", b"a: b\r\n", b" c\n"])
def test_a_head_of_very_many_lines_is_refused(line):
    with pytest.raises(HTTPException, match="lines"):
        Answer().begin(b"HTTP/1.1 200 OK\r\na: b\r\n" + line * 10_000 + b"\r\n")


def raw_deflate(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKINGS = {
    "gzip": [
        gzip.compress,
        lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:]),
    ],
    "deflate": [zlib.compress, raw_deflate, gzip.compress],
}


@given(st.binary(max_size=400), st.sampled_from(list(PACKINGS)), st.data(), places)
def test_a_packed_body_cut_anywhere_is_unpacked_in_all_forms_it_is_known_in(
    body, kind, data, places
):
    packed = data.draw(st.sampled_from(PACKINGS[kind]))(body)
    packed += data.draw(st.sampled_from([b"", b"\0" * 512, b"\x1fno", b"x"]))
    head = f"HTTP/1.1 200 OK\r\ncontent-encoding: {kind}\r\n\r\n".encode()
    assert b"".join(body_of(*cut(packed, places), head=head)) == body


def test_what_comes_behind_a_packed_body_is_not_gathered():
    packed = Packed("gzip")
    assert packed.feed(gzip.compress(b"a") + b"no gzip") == b"a"
    tracemalloc.start()
    try:
        for _ in range(200):
            assert packed.feed(b"x" * 65536) == b""
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert not packed.more


def test_an_empty_name_of_a_packing_is_none():
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: \r\ncontent-length: 1\r\n\r\na"
    assert body_of(head=head) == [b"a"]


def test_an_error_whose_body_cannot_be_unpacked_is_still_told_by_its_status(
    serve, connect, wire
):
    bad = wire.http(503, b"\x0b\x02\x80busy\x03", content_encoding="br")
    good = wire.whole("openai")
    reply = connect(serve(bad, good)).generate("hi")
    assert [made.status for made in reply.attempts] == [503, 200]


def test_an_answer_that_changes_the_protocol_leaves_no_connection_for_the_next_call(
    serve, connect, wire
):
    upgrade = b"HTTP/1.1 101 Up\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    server = serve(upgrade, wire.whole("openai"))
    model = connect(server)
    with pytest.raises(ModelRefused):
        model.generate("hi")
    assert model.generate("hi") == "Hello there"
    assert server.connections == 2


def test_a_page_is_known_however_its_type_is_written(serve, connect, wire):
    page = wire.http(200, b"<HTML>", "Text/HTML")
    with pytest.raises(BadReply, match="a page"):
        connect(serve(page)).generate("hi")
