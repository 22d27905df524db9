"""Real model servers on loopback; whoever is not installed is skipped with a reason."""

import json
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from waybell_adapters import AnthropicAdapter, OllamaAdapter, OpenAIAdapter


HERE = Path(__file__).parent
HOME = HERE.parents[1] / ".cache/peers"
KINDS = {
    "openai": (OpenAIAdapter, "/v1"),
    "anthropic": (AnthropicAdapter, ""),
    "ollama": (OllamaAdapter, ""),
}
PEERS = ("llamacpp-openai", "llamacpp-anthropic", "aimock-openai", "aimock-anthropic",
         "aimock-ollama")  # fmt: skip


@dataclass
class Peer:
    """One server as one adapter sees it."""

    server: str
    vendor: str
    url: str

    @property
    def real(self) -> bool:
        """Whether it computes what it says."""
        return self.server == "llamacpp"

    def adapter(self, **options: Any) -> Any:
        """An adapter for it."""
        kind, path = KINDS[self.vendor]
        return kind("tiny", **{"base_url": self.url + path, "backoff": 0.01, **options})

    def metric(self, name: str) -> int:
        """One of llama.cpp's own counters, or the kernel's of its connections."""
        if name == "connections":
            return self._connections()
        with urlopen(f"{self.url}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        found = (line.split() for line in lines if line.startswith(f"llamacpp:{name} "))
        return int(float(next(found)[1]))

    def _connections(self) -> int:
        port = f"{int(self.url.rpartition(':')[2]):04X}"
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
        rows = (line.split() for line in lines)
        return sum(row[2].endswith(f":{port}") and row[3] == "01" for row in rows)

    def wait_for(self, name: str, value: int) -> bool:
        """Whether a counter comes to a value within seconds."""
        ends = time.monotonic() + 5
        while self.metric(name) != value:
            if time.monotonic() > ends:
                return False
            time.sleep(0.005)  # another process gives no event to wait for
        return True


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def llamacpp(port: int) -> list[str]:
    python, model = HOME / "llamacpp/bin/python", HOME / "tiny.gguf"
    if not model.exists():
        pytest.skip("llama.cpp's server is not installed: run tests/peers/install")
    return [str(python), str(HERE / "llama_server.py"), str(model), str(port)]


def aimock(port: int) -> list[str]:
    cli, node = (
        HOME / "node/node_modules/@copilotkit/aimock/dist/cli.js",
        shutil.which("node"),
    )
    if not cli.exists() or node is None:
        pytest.skip("aimock is not installed: run tests/peers/install, with npm")
    fixtures = str(HERE / "aimock.json")
    return [node, str(cli), "-p", str(port), "-h", "127.0.0.1", "-f", fixtures,
            "--log-level", "silent"]  # fmt: skip


def ready(url: str) -> bool:
    """Whether it takes requests; one that loads its model says 503."""
    try:
        with urlopen(f"{url}/health", timeout=5) as answer:
            return answer.status == 200
    except HTTPError as error:
        error.close()
        return error.code != 503
    except OSError:
        return False


@pytest.fixture(scope="session")
def servers():
    """Starts each server once, when it is first wanted."""
    running: dict[str, tuple[subprocess.Popen[bytes], str]] = {}

    def start(name: str) -> str:
        if name not in running:
            port = free_port()
            words = {"llamacpp": llamacpp, "aimock": aimock}[name](port)
            quiet = subprocess.DEVNULL
            process = subprocess.Popen(words, stdout=quiet, stderr=quiet)
            running[name] = process, f"http://127.0.0.1:{port}"
            ends = time.monotonic() + 30
            while not ready(running[name][1]):
                if process.poll() is not None or time.monotonic() > ends:
                    pytest.fail(f"{name} did not start")
                time.sleep(0.05)  # another process gives no event to wait for
        return running[name][1]

    yield start
    for process, _ in running.values():
        process.terminate()
        process.wait(10)


@pytest.fixture(params=PEERS)
def peer(request, servers):
    """Each server through each adapter that it speaks to."""
    server, vendor = request.param.split("-")
    return Peer(server, vendor, servers(server))


@pytest.fixture
def model(peer):
    """The adapter for it."""
    with peer.adapter(price={"input": 1, "output": 2}) as built:
        yield built


@pytest.fixture
def journal(peer):
    """The requests that aimock has had."""

    def read() -> list[dict]:
        with urlopen(f"{peer.url}/__aimock/journal", timeout=5) as answer:
            found = json.load(answer)
        return found if isinstance(found, list) else found.get("entries", [])

    return read
