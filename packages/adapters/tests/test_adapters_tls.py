"""TLS: cut anywhere, through proxies, and refused for the right reasons."""

import asyncio
import socket
import ssl

import pytest
import requests

from waybell_adapters import ModelUnavailable


SOON = 5.0


@pytest.fixture(params=["sync", "async"])
def call(request):
    """Asks a model through either door."""

    def ask(model, prompt="hi"):
        if request.param == "sync":
            return model.generate(prompt)
        return asyncio.run(model.agenerate(prompt))

    return ask


@pytest.fixture
def secure(serve, connect, tls, trusting):
    """Starts a server that speaks TLS, and gives a model of it."""

    def start(*answers, wrap=tls, session=trusting):
        server = serve(*answers, wrap=wrap)
        return server, connect(server, session=session, attempts=2)

    return start


@pytest.fixture
def context(authority):
    """A server's side of TLS."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(made)
    return made


def through(session, scheme, port, target="https"):
    session.trust_env = False
    session.proxies = {target: f"{scheme}://ann:secret-word@127.0.0.1:{port}"}
    return session


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_is_passed_with_its_password_which_the_server_never_sees(
    request, secure, wire, call, scheme
):
    seen, (tunnel, tls) = [], map(request.getfixturevalue, ("tunnel", "tls"))
    with tunnel(seen, tls if scheme == "https" else lambda conn: conn) as port:
        server, model = secure(wire.whole("openai"))
        through(request.getfixturevalue("trusting"), scheme, port)
        assert [call(model) for _ in range(3)] == ["Hello there"] * 3
        model.close()
    assert server.connections == 1
    assert [said.partition(" HTTP")[0] for said in seen] == [
        f"CONNECT 127.0.0.1:{server.port}"
    ]
    assert "Proxy-Authorization: Basic" in seen[0]
    assert "Authorization: Bearer" not in seen[0]
    assert not any("proxy-authorization" in r.headers for r in server.requests)


@pytest.mark.parametrize("how", ["leave", "cancel", "timeout", "close"])
async def test_a_call_through_tls_inside_tls_can_be_ended(request, wire, trusting, how):
    names = ("serve", "connect", "tls", "tunnel")
    serve, connect, tls, tunnel = map(request.getfixturevalue, names)
    first = wire.head() + wire.chunk(wire.part("openai", "Once"))
    server = serve(wire.stall(first), wrap=tls)
    with tunnel([], tls) as port:
        model = connect(server, session=through(trusting, "https", port))
        stream = await model.astream("hi")
        assert await anext(stream) == "Once"
        waiting = asyncio.create_task(anext(stream))
        await asyncio.sleep(0.05)
        if how == "leave":
            await stream.aclose()
        elif how == "cancel":
            waiting.cancel()
        elif how == "timeout":
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await waiting
        else:
            await asyncio.to_thread(model.close)
        await asyncio.wait({waiting}, timeout=SOON)
        assert waiting.done()
        assert waiting.cancelled() or waiting.exception()
        assert await asyncio.to_thread(server.ended.wait, SOON)
        threads = model._wire().engine.threads
        await asyncio.to_thread(model.close)
        await asyncio.to_thread(threads.close, SOON)
        assert threads._threads == set()


@pytest.mark.parametrize("most", [1, 7])
def test_records_that_come_in_bits_are_read(request, secure, wire, call, most):
    with request.getfixturevalue("tunnel")([], most=most) as port:
        through(request.getfixturevalue("trusting"), "http", port)
        _, model = secure(wire.whole("openai", "ü" * 50))
        assert call(model) == "ü" * 50
        model.close()


def test_a_large_request_and_a_large_answer_go_through_tls(secure, wire, call):
    server, model = secure(wire.whole("openai", "b" * 3_000_000))
    assert call(model, "a" * 10_000_000) == "b" * 3_000_000
    assert len(server.requests[0].body) > 10_000_000


def test_an_end_without_a_farewell_is_an_end(secure, wire, call):
    body = wire.chat("Hi")

    def abrupt(conn, request):
        conn.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + body)
        raw = socket.socket(fileno=conn.detach())
        raw.close()
        raise OSError("cut")

    assert call(secure(abrupt)[1]) == "Hi"


def test_a_certificate_of_another_name_is_said_and_not_tried_again(
    secure, wire, authority, call
):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.example").configure_cert(context)
    server, model = secure(wire.whole("openai"), wrap=wrapping(context))
    with pytest.raises(ModelUnavailable, match="mismatch") as caught:
        call(model)
    assert len(caught.value.attempts) == 1
    assert server.connections == 1


def wrapping(context):
    return lambda conn: context.wrap_socket(conn, server_side=True)


def test_a_certificate_is_not_looked_at_where_that_was_asked_for(secure, wire, call):
    session = requests.Session()
    session.verify = False
    _, model = secure(wire.whole("openai"), session=session)
    with pytest.warns(Warning, match="Unverified HTTPS request"):
        assert call(model) == "Hello there"


@pytest.fixture
def strict(context, authority):
    """A server's side of TLS that wants the client's certificate."""
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return wrapping(context)


def test_a_server_that_wants_a_certificate_gets_it(request, secure, wire, strict, call):
    authority, trusting = map(request.getfixturevalue, ("authority", "trusting"))
    own = authority.issue_cert("me@example.org").private_key_and_cert_chain_pem
    with own.tempfile() as path:
        trusting.cert = path
        _, model = secure(wire.whole("openai"), wrap=strict)
        assert call(model) == "Hello there"


def test_a_server_that_wants_a_certificate_and_gets_none_is_an_error(
    secure, wire, strict, call
):
    _, model = secure(wire.whole("openai"), wrap=strict)
    with pytest.raises(ModelUnavailable, match="the connection failed"):
        call(model)


def test_a_server_that_speaks_no_tls_is_said(secure, call):
    def plain(conn):
        conn.recv(1000)
        conn.sendall(b"HTTP/1.1 400 Bad\r\n\r\n")
        raise OSError("no TLS here")

    with pytest.raises(ModelUnavailable, match="SSL"):
        call(secure(b"", wrap=plain)[1])
