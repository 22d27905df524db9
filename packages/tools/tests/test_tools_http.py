import gc
import gzip
import math
import re
import socket
import ssl
import threading
import time
import zlib
from functools import partial
from pathlib import Path

import pytest

from waybell_tools import (
    ToolDenied,
    ToolError,
    ToolLimitError,
    ToolRegistry,
    ToolTimeoutError,
    http_get,
)


def on(server, **options):
    """`http_get` for a server that plays a public one."""
    options = {"timeout": 10, "ports": [server.port], **options}
    options.setdefault("resolve", lambda host, port: ["127.0.0.1"])
    return http_get(allow=lambda address: address == "127.0.0.1", **options)


def test_a_page_comes_with_its_status_type_and_text(loopback, answers) -> None:
    server = loopback(
        answers.page("Grüße".encode("latin-1"), "text/html; charset=latin-1")
    )
    got = on(server)(f"http://site.example:{server.port}/a?b=c#d")
    assert got == {
        "url": f"http://site.example:{server.port}/a?b=c#d",
        "status": 200,
        "content_type": "text/html; charset=latin-1",
        "text": "Grüße",
    }
    head = server.requests[0].decode().lower()
    assert head.startswith("get /a?b=c http/1.1\r\n")
    assert f"host: site.example:{server.port}\r\n" in head


def test_a_status_of_error_is_data(loopback) -> None:
    server = loopback(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone")
    got = on(server)(f"http://site.example:{server.port}/")
    assert (got["status"], got["text"]) == (404, "gone")


def test_redirects_are_followed_and_the_last_address_told(loopback, answers) -> None:
    def answer(server, conn, request):
        first = b"GET / " in request
        conn.sendall(answers.redirect("/end") if first else answers.page(b"end"))

    server = loopback(answer)
    got = on(server)(f"http://site.example:{server.port}/")
    assert got["url"].endswith("/end")
    assert server.connections == 2


def test_redirects_in_a_ring_end(loopback, answers) -> None:
    server = loopback(answers.redirect("/"))
    with pytest.raises(ToolLimitError, match="more than 3 redirects"):
        on(server, max_redirects=3)(f"http://site.example:{server.port}/")
    assert server.connections == 4


def test_cookies_proxies_and_password_files_are_not_used(
    loopback, answers, monkeypatch, tmp_path
) -> None:
    (tmp_path / ".netrc").write_text("default login me password secret")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    cookie = answers.redirect("/end").replace(
        b"\r\n\r\n", b"\r\nSet-Cookie: a=b\r\n\r\n"
    )

    def answer(server, conn, request):
        conn.sendall(cookie if b"GET / " in request else answers.page(b"end"))

    server = loopback(answer)
    assert on(server)(f"http://site.example:{server.port}/")["text"] == "end"
    sent = b"".join(server.requests).lower()
    assert b"cookie" not in sent
    assert b"authorization" not in sent


def test_a_certificate_is_checked_against_the_name_not_the_address(
    loopback, answers, authority, tmp_path
) -> None:
    names = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("site.example").configure_cert(context)
    context.sni_callback = lambda sock, name, ctx: names.append(name)
    bundle = str(tmp_path / "ca.pem")
    authority.cert_pem.write_to_path(bundle)
    server = loopback(answers.page(b"safe"), tls=context)
    fetch = on(server, verify=bundle)
    assert fetch(f"https://site.example:{server.port}/")["text"] == "safe"
    with pytest.raises(ToolError, match="mismatch"):
        fetch(f"https://other.example:{server.port}/")
    assert names == ["site.example", "other.example"]


def test_an_unknown_authority_is_refused(loopback, answers, authority) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("site.example").configure_cert(context)
    server = loopback(answers.page(b"safe"), tls=context)
    with pytest.raises(ToolError, match="certificate"):
        on(server)(f"https://site.example:{server.port}/")
    assert server.requests == []


def bomb(size: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    block = b"\0" * 1_000_000
    return (
        b"".join(packer.compress(block) for _ in range(size // len(block)))
        + packer.flush()
    )


def test_a_packed_page_is_unpacked(loopback, answers) -> None:
    server = loopback(
        answers.page(gzip.compress(b"packed"), "text/plain", "Content-Encoding: gzip")
    )
    assert on(server)(f"http://site.example:{server.port}/")["text"] == "packed"


def test_a_decompression_bomb_is_unpacked_no_further_than_the_limit(
    loopback, answers
) -> None:
    server = loopback(
        answers.page(bomb(300_000_000), "text/plain", "Content-Encoding: gzip")
    )
    import tracemalloc

    tracemalloc.start()
    with pytest.raises(ToolLimitError, match="larger than 100000 bytes"):
        on(server, max_bytes=100_000)(f"http://site.example:{server.port}/")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000


@pytest.mark.parametrize("packing", ["br", "gzip, gzip", "zstd", "deflate", "x"])
def test_packings_that_nobody_asked_for_are_refused(loopback, answers, packing) -> None:
    server = loopback(answers.page(b"x", "text/plain", f"Content-Encoding: {packing}"))
    with pytest.raises(ToolError, match="packed as"):
        on(server)(f"http://site.example:{server.port}/")


@pytest.mark.parametrize(
    "framing", ["", "Content-Length: 99999999999\r\n", "Transfer-Encoding: chunked\r\n"]
)
def test_an_endless_body_ends_at_the_limit(loopback, framing) -> None:
    def answer(server, conn, request):
        conn.sendall(
            f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{framing}\r\n".encode()
        )
        block = b"x" * 65536
        while not server.stopped.is_set():
            conn.sendall(
                b"10000\r\n" + block + b"\r\n" if "chunked" in framing else block
            )

    server = loopback(answer)
    with pytest.raises(ToolLimitError, match="larger than 300000 bytes"):
        on(server, max_bytes=300_000)(f"http://site.example:{server.port}/")
    assert server.closed_by_peer.wait(10)


SLOW = {
    "nothing": lambda server, conn: server.stopped.wait(30),
    "status line": lambda server, conn: server.drip(conn),
    "headers": lambda server, conn: (conn.sendall(b"HTTP/1.1 200 OK\r\nA: "), server.drip(conn)),
    "continue": lambda server, conn: server.drip(conn, b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": lambda server, conn: (conn.sendall(b"HTTP/1.1 200 OK\r\n\r\n"), server.drip(conn)),
    "length": lambda server, conn: (
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"), server.drip(conn)
    ),
    "chunks": lambda server, conn: (
        conn.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        server.drip(conn, b"1\r\nx\r\n"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("slow", SLOW)
def test_a_slow_drip_ends_in_time(loopback, authority, tmp_path, slow, secure) -> None:
    tls, options = None, {}
    if secure:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("site.example").configure_cert(tls)
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        options = {"verify": str(tmp_path / "ca.pem")}
    server = loopback(lambda server, conn, _: SLOW[slow](server, conn), tls=tls)
    start = time.monotonic()
    url = f"http{'s' if secure else ''}://site.example:{server.port}/"
    with pytest.raises(ToolTimeoutError):
        on(server, timeout=0.25, **options)(url)
    assert time.monotonic() - start < 3
    if slow != "nothing":
        assert server.closed_by_peer.wait(10)


def test_a_slow_resolver_ends_in_time() -> None:
    never = threading.Event()
    fetch = http_get(timeout=0.1, resolve=lambda *_: [str(never.wait(30))])
    with pytest.raises(ToolTimeoutError):
        fetch("http://site.example/")
    never.set()


def test_a_slow_connection_ends_in_time_on_every_address() -> None:
    def connect(address, timeout):
        never.wait(timeout)
        raise TimeoutError("timed out")

    never = threading.Event()
    start = time.monotonic()
    fetch = http_get(
        timeout=0.2, resolve=lambda *_: ["8.8.8.8", "8.8.4.4"], connect=connect
    )
    with pytest.raises(ToolTimeoutError):
        fetch("http://site.example/")
    assert time.monotonic() - start < 3


def test_the_next_address_is_tried_when_one_does_not_answer(loopback, answers) -> None:
    server = loopback(answers.page(b"second"))
    asked = []

    def connect(address, timeout):
        asked.append(address[0])
        if len(asked) == 1:
            raise ConnectionRefusedError("refused")
        return socket.create_connection(("127.0.0.1", server.port), timeout)

    fetch = http_get(resolve=lambda *_: ["8.8.8.8", "8.8.4.4"], connect=connect)
    assert fetch("http://site.example/")["text"] == "second"
    assert asked == ["8.8.8.8", "8.8.4.4"]


@pytest.mark.parametrize("found", [[], ["not an address"]], ids=str)
def test_a_name_without_an_address_is_an_error(found) -> None:
    with pytest.raises(ToolError):
        http_get(resolve=lambda *_: found)("http://site.example/")


@pytest.mark.parametrize("kind", ["image/png", "application/octet-stream", "video/mp4"])
def test_what_is_not_text_is_refused(loopback, answers, kind) -> None:
    server = loopback(answers.page(b"x", kind))
    with pytest.raises(ToolError, match="not text"):
        on(server)(f"http://site.example:{server.port}/")


@pytest.mark.parametrize(
    "charset",
    ["punycode", "idna", "zip", "rot13", "nope", "undefined", "\x01", "x" * 5000],
)
def test_an_odd_charset_is_read_as_utf8(loopback, answers, charset) -> None:
    server = loopback(answers.page("é".encode(), f"text/plain; charset={charset}"))
    assert on(server)(f"http://site.example:{server.port}/")["text"] == "é"


@pytest.mark.parametrize(
    "garbage",
    [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70000,
     b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
     b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
     b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
     b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\nContent-Length: 0\r\n\r\n",
     b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"],
)  # fmt: skip
def test_garbage_is_an_error_of_ours(loopback, garbage) -> None:
    server = loopback(garbage)
    with pytest.raises(ToolError):
        on(server)(f"http://site.example:{server.port}/")


async def test_a_cancelled_call_shuts_the_connection(loopback) -> None:
    import asyncio

    asked = threading.Event()

    def answer(server, conn, request):
        asked.set()
        conn.recv(1)  # returns when the other side shuts
        server.closed_by_peer.set()

    server = loopback(answer)
    registry = ToolRegistry([on(server, timeout=60)])
    url = {"url": f"http://site.example:{server.port}/"}
    task = asyncio.create_task(registry.acall("http_get", url))
    await asyncio.to_thread(asked.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(server.closed_by_peer.wait, 10)


def test_ports_and_limits_are_checked_when_it_is_made() -> None:
    with pytest.raises(ValueError, match="timeout"):
        http_get(timeout=0)
    with pytest.raises(TypeError, match="max_bytes"):
        http_get(max_bytes="many")
    with pytest.raises(ToolDenied, match="port 8080"):
        partial(http_get())("http://site.example:8080/")


def test_no_socket_and_no_thread_is_left_behind(
    loopback, answers, no_collector
) -> None:
    def answer(server, conn, request):
        if b"GET /drip" in request:
            server.drip(conn)
        conn.sendall(
            answers.redirect("/") if b"GET /go" in request else answers.page(b"x" * 500)
        )

    server = loopback(answer)
    fetch, small = on(server, timeout=0.2), on(server, max_bytes=10, timeout=0.2)
    registry = ToolRegistry([fetch])
    registry.tool(small, name="small")
    first = f"http://site.example:{server.port}/"
    registry.result({"name": "http_get", "arguments": {"url": first}})
    files, threads = open_files(), threading.active_count()
    for _ in range(3):
        for path in ("", "go", "drip"):
            for name in registry:
                registry.result({"name": name, "arguments": {"url": first + path}})
        with pytest.raises(ToolError):
            on(server, resolve=lambda *_: ["10.0.0.1"])(first)
    end = time.monotonic() + 10
    while (
        open_files() > files or threading.active_count() > threads
    ) and time.monotonic() < end:
        threading.Event().wait(0.01)
    assert open_files() <= files
    assert threading.active_count() <= threads


@pytest.fixture
def no_collector():
    """What is closed must be closed by us."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_timeout_may_be_endless(loopback, answers) -> None:
    server = loopback(answers.page(b"page"))
    assert (
        on(server, timeout=math.inf)(f"http://site.example:{server.port}/")["status"]
        == 200
    )


def test_a_download_leaves_nothing_for_the_collector(loopback, answers) -> None:
    def left() -> int:
        ours = re.compile("waybell_tools|urllib3|requests|http.client|socket")
        found = (str(type(thing)) for thing in gc.get_objects())
        return sum(ours.search(name) is not None for name in found)

    server = loopback(answers.page(b"fine"))
    fetch, url = on(server), f"http://site.example:{server.port}/"
    fetch(url)
    gc.collect()
    gc.disable()
    try:
        before = left()
        for _ in range(20):
            fetch(url)
        assert left() < before + 20
    finally:
        gc.enable()
