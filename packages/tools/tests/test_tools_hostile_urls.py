"""What a hostile prompt may ask `http_get` for: nothing of it reaches a connection."""

import socket

import pytest

from waybell_tools import ToolError, http_get


PRIVATE = [
    "127.0.0.1", "127.1", "127.0.1", "0", "0.0.0.0", "2130706433", "017700000001",
    "0177.0.0.1", "0177.0.0.01", "0x7f000001", "0x7f.1", "0x7f.0.0.1", "0X7F.0.0.1",
    "127.0.0.1.", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255",
    "192.168.0.1", "169.254.169.254", "2852039166", "0xa9fea9fe", "100.100.100.200",
    "168.63.129.16", "192.0.0.192", "100.64.0.1", "198.18.0.1", "224.0.0.1",
    "240.0.0.1", "255.255.255.255", "[::1]", "[::]", "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:169.254.169.254]",
    "[::ffff:0:127.0.0.1]", "[::127.0.0.1]", "[64:ff9b::127.0.0.1]",
    "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]",
    "[2002:a9fe:a9fe::1]", "[2001:0:7f00:1::]", "[2001:db8::1]", "[3fff::1]",
    "[fe80::1]", "[fe80::1%25lo]", "[fe80::1%25eth0]", "169.254.170.2", "198.51.100.1",
    "203.0.113.1", "192.0.2.1", "192.88.99.1", "198.19.255.255", "[100::1]", "[5f00::1]",
    "[64:ff9b:1:7f00:1::]", "[64:ff9b::10.0.0.1]", "[2001:2::1]", "[2001:10::1]",
    "[2606:4700::200:5efe:a00:1]", "[ff0e::1]", "[::ffff:100.100.100.200]", "[::2]",
    "0x7f.0x0.0x0.0x1", "00000177.0.0.1", "127.0.1.", "1.1.1", "\uff14\uff12",
    "metadata.localhost", "[::ffff:0x7f.0.0.1]", "[fec0::1]", "[fc00::1]", "[fd00:ec2::254]",
    "[ff02::1]", "[2606:4700::5efe:7f00:1]", "localhost", "LOCALHOST", "localhost.",
    "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "①②⑦.⓪.⓪.①", "\uff11\uff12\uff17.0.0.1",
    "127\u30020\u30020\u30021",
]  # fmt: skip
ODD = [
    "http://user@127.0.0.1/", "http://user:secret@example.com/", "http://@example.com/",
    "http://example.com@127.0.0.1/", "http://127.0.0.1\\@example.com/",
    "http://example.com\\@127.0.0.1/", "http://example.com%40127.0.0.1/",
    "http://127.0.0.1#@example.com/", "http://127.0.0.1?@example.com/",
    "http://127.0.0.1%2f@example.com/", "http:///127.0.0.1/", "http:127.0.0.1",
    "http://127.0.0.1 example.com/", "http://example.com\r\nHost: x/",
    "http://ex\tample.com@127.0.0.1/", "http://[::1", "http://[127.0.0.1]/", "http://",
    "http://127.0.0.1:22/", "http://example.com:6379/",
    "http://example.com:65536/", "http://example.com:80:443/", "//127.0.0.1/", "",
    "/etc/passwd", "file:///etc/passwd", "file://localhost/etc/passwd",
    "ftp://example.com/", "gopher://127.0.0.1:6379/_INFO", "dict://127.0.0.1:11211/stat",
    "ldap://127.0.0.1/", "data:text/plain,hello", "jar:http://127.0.0.1!/", "ws://x/",
    "unix:///var/run/docker.sock", "http+unix://%2Fvar%2Frun%2Fdocker.sock/info",
    "javascript:alert(1)", "HTTP://127.0.0.1/", "https://127.0.0.1/", "http://%31%32%37.0.0.1/",
    "http://" + "a" * 300 + ".com/", "http://..", "http://\ud800.com/", "http://\0/",
]  # fmt: skip


class Recorder:
    """Connects nowhere, and keeps where it was asked to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def __call__(self, address: tuple[str, int], timeout: float) -> socket.socket:
        self.asked.append(address)
        raise OSError("nothing listens in a test")


def numeric(host: str, port: int) -> list[str]:
    """The system's own reading of addresses and of localhost; other names are public."""
    try:
        found = socket.getaddrinfo(host, port, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        return ["127.0.0.1"] if "localhost" in host.lower() else ["93.184.216.34"]
    return [address[0] for *_, address in found]


@pytest.mark.parametrize("host", PRIVATE)
def test_no_private_host_is_connected_to(host: str) -> None:
    connect = Recorder()
    fetch = http_get(resolve=numeric, connect=connect, timeout=5)
    with pytest.raises(ToolError) as caught:
        fetch(f"http://{host}/")
    assert connect.asked == []
    assert str(caught.value)


@pytest.mark.parametrize("url", ODD)
def test_no_odd_url_is_connected_to(url: str) -> None:
    connect = Recorder()
    fetch = http_get(resolve=numeric, connect=connect, timeout=5)
    with pytest.raises(ToolError):
        fetch(url)
    assert connect.asked == []


def test_what_only_looks_hostile_goes_to_the_public_host() -> None:
    for url in (
        "http://example.com/@127.0.0.1",
        "http://example.com/?u=http://localhost",
    ):
        connect = Recorder()
        with pytest.raises(ToolError, match="nothing listens"):
            http_get(resolve=numeric, connect=connect)(url)
        assert connect.asked == [("93.184.216.34", 80)]


def test_the_battery_proves_something() -> None:
    """With any address allowed, most hosts of it do reach the connector."""
    reached = []
    for host in PRIVATE:
        connect = Recorder()
        fetch = http_get(resolve=numeric, connect=connect, allow=lambda address: True)
        with pytest.raises(ToolError):
            fetch(f"http://{host}/")
        reached += connect.asked
    assert len(reached) > len(PRIVATE) / 2


@pytest.mark.parametrize("listening", ["127.0.0.1", "::1", "::"])
def test_the_system_resolver_leads_no_hostile_url_to_a_listening_server(
    loopback, listening
) -> None:
    try:
        server = loopback(b"HTTP/1.1 200 OK\r\n\r\nsecret", host=listening)
    except OSError:
        pytest.skip("no IPv6 here")
    fetch = http_get(ports=[server.port], timeout=5)
    for host in PRIVATE:
        with pytest.raises(ToolError):
            fetch(f"http://{host}:{server.port}/")
    assert server.connections == 0


def test_an_answer_that_changes_between_check_and_use_changes_nothing() -> None:
    """The name is resolved once, and the connection goes to what was checked."""
    connect, asked = Recorder(), []

    def rebind(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["93.184.216.34"] if len(asked) == 1 else ["127.0.0.1"]

    with pytest.raises(ToolError):
        http_get(resolve=rebind, connect=connect)("http://rebind.example/")
    assert (asked, connect.asked) == (["rebind.example"], [("93.184.216.34", 80)])


@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_private_address_among_public_ones_refuses_the_host(place: int) -> None:
    addresses = ["93.184.216.34", "2606:4700::1111"]
    addresses.insert(place, "10.0.0.7")
    connect = Recorder()
    with pytest.raises(ToolError, match=r"10\.0\.0\.7"):
        http_get(resolve=lambda *_: addresses, connect=connect)("http://mixed.example/")
    assert connect.asked == []


@pytest.mark.parametrize(
    "location",
    ["http://127.0.0.1/", "http://169.254.169.254/latest/", "//localhost/",
     "http://[::ffff:127.0.0.1]/", "http://2130706433/", "file:///etc/passwd",
     "http://u:p@start.example/", "gopher://start.example/", "http://start.example:22/"],
)  # fmt: skip
def test_a_redirect_to_what_is_not_public_is_not_followed(
    loopback, answers, location: str
) -> None:
    server = loopback(answers.redirect(location))
    asked = []

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        asked.append(address)  # the only public address there is, played by the server
        return socket.create_connection(("127.0.0.1", server.port), timeout)

    fetch = http_get(resolve=numeric, connect=connect)
    with pytest.raises(ToolError):
        fetch("http://start.example/")
    assert asked == [("93.184.216.34", 80)]
    assert server.connections == 1


def test_a_name_that_turns_private_at_the_redirect_is_refused(
    loopback, answers
) -> None:
    server = loopback(answers.redirect("/again"))
    seen = iter([["93.184.216.34"], ["127.0.0.1"]])
    fetch = http_get(
        resolve=lambda *_: next(seen),
        connect=lambda address, timeout: socket.create_connection(
            ("127.0.0.1", server.port), timeout
        ),
    )
    with pytest.raises(ToolError, match="not a public address"):
        fetch("http://start.example/")
    assert server.connections == 1
