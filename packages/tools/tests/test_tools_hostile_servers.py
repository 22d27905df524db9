"""What a server may send to harm whoever reads it: memory, time, or a false text."""

import gzip
import tracemalloc

import pytest

from waybell_tools import ToolDenied, ToolError, ToolTimeoutError, http_get


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
FLOODS = {
    "a chunk of negative size": (CHUNKED + b"-1\r\n", b"x" * 65536),
    "a chunk of more than all memory": (CHUNKED + b"f" * 20 + b"\r\n", b"x" * 65536),
    "a chunk size without end": (CHUNKED, b"1" * 65536),
    "a chunk extension without end": (CHUNKED + b"1;", b"a" * 65536),
    "chunks of one byte with long extensions": (CHUNKED, b"1;" + b"a" * 60000 + b"\r\nx\r\n"),
    "a trailer without end": (CHUNKED + b"0\r\n", b"x" * 65536),
    "trailers without end": (CHUNKED + b"0\r\n", b"A: x\r\n" * 10000),
    "a status line without end": (b"HTTP/1.1 200 ", b"x" * 65536),
    "a header without end": (b"HTTP/1.1 200 OK\r\nA: ", b"x" * 65536),
    "headers without end": (b"HTTP/1.1 200 OK\r\n", b"A: x\r\n" * 10000),
    "folded headers without end": (b"HTTP/1.1 200 OK\r\nA: x\r\n", b" x\r\n" * 10000),
    "100 Continue without end": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "headers of 100 Continue": (b"HTTP/1.1 100 Continue\r\n", b"A: b\r\n" * 1000),
    "redirects with endless bodies": (
        b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", b"x" * 65536
    ),
    "many long headers": (
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"A%d: %s\r\n" % (n, b"b" * 65000) for n in range(90)),
        b"\r\n",
    ),
}  # fmt: skip


@pytest.fixture
def fetch(loopback):
    """Read the page of a server that plays a public one."""

    def read(answer, path="/", **options):
        server = loopback(answer)
        tool = http_get(
            ports=[server.port],
            allow=lambda address: address == "127.0.0.1",
            resolve=lambda host, port: ["127.0.0.1"],
            **{"timeout": 60, **options},
        )
        return tool(f"http://site.example:{server.port}{path}")

    return read


@pytest.mark.parametrize("kind", FLOODS)
def test_no_flood_takes_memory_or_the_whole_time(fetch, kind) -> None:
    head, block = FLOODS[kind]

    def answer(server, conn, request):
        conn.sendall(head)
        while not server.stopped.is_set():
            conn.sendall(block)

    tracemalloc.start()
    try:
        with pytest.raises(ToolError) as caught:
            fetch(answer, max_bytes=300_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert not isinstance(caught.value, ToolTimeoutError)
    assert peak < 20_000_000


@pytest.mark.parametrize("status", [101, 102, 103, 199])
def test_an_answer_that_only_announces_one_is_an_error(fetch, status) -> None:
    early = f"HTTP/1.1 {status} Early\r\n\r\n".encode()
    with pytest.raises(ToolError, match=f"ends with {status}"):
        fetch(early + HEAD + b"Content-Length: 4\r\n\r\nreal")


@pytest.mark.parametrize(
    "body",
    [
        gzip.compress(b"hello world" * 100)[:40],
        gzip.compress(b"hello") + gzip.compress(b"x"),
        gzip.compress(b"hello") + b"plain",
    ],
    ids=["cut", "two", "followed"],
)
def test_a_packed_page_that_is_not_whole_is_an_error(fetch, body) -> None:
    with pytest.raises(ToolError, match="not one whole gzip"):
        fetch(HEAD + b"Content-Encoding: gzip\r\n\r\n" + body)


def test_a_packed_page_may_be_empty_or_padded(fetch) -> None:
    packed = HEAD + b"Content-Encoding: gzip\r\n\r\n"
    assert fetch(packed)["text"] == ""
    assert fetch(packed + gzip.compress(b"hello") + b"\0" * 9)["text"] == "hello"


def test_a_content_type_without_end_is_told_in_part(fetch) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/" + b"p" * 60_000
    assert len(fetch(head + b"\r\n\r\nhello")["content_type"]) == 200


@pytest.mark.parametrize("coding", ["gzip", "gzip, chunked", "identity", "xchunked"])
def test_other_transfer_encodings_are_refused(fetch, coding) -> None:
    with pytest.raises(ToolError, match="nobody asked"):
        fetch(HEAD + f"Transfer-Encoding: {coding}\r\n\r\nabc".encode())


def test_a_redirect_may_name_its_path_in_utf8(fetch) -> None:
    def answer(server, conn, request):
        path = request.split(b" ")[1]
        if path == b"/":
            conn.sendall("HTTP/1.1 302 F\r\nLocation: /é\r\n\r\n".encode())
        conn.sendall(HEAD + b"\r\n" + path)

    assert fetch(answer)["text"] == "/%C3%A9"


@pytest.mark.parametrize(
    "location", ["/a b", "/\x01", "//[", "https:/x", "\\\\host\\x", "/" + "a" * 9000]
)
def test_a_redirect_to_nonsense_is_an_error(fetch, location) -> None:
    head = f"HTTP/1.1 302 F\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(ToolError) as caught:
        fetch(head.encode())
    assert "redirects" not in str(caught.value)


@pytest.mark.parametrize("part", ["a" * 3_000_000, "é" * 9000, "%" * 9000])
def test_a_url_without_measure_is_refused_unread(part) -> None:
    for url in (f"http://{part}/", f"http://example.com/{part}"):
        with pytest.raises(ToolDenied, match="longer than 8000") as caught:
            http_get(resolve=lambda *_: ["127.0.0.1"])(url)
        assert len(str(caught.value)) < 1000
