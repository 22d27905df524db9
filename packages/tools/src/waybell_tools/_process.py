"""A program that ends in time, with all that it started, and whose output is bounded."""

import atexit
import os
import selectors
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from secrets import token_hex
from time import monotonic, sleep
from typing import IO, Any, cast

from waybell_tools._errors import ToolTimeoutError
from waybell_tools._threads import HALT


_MARK = "WAYBELL_SHELL"  # in the environment of all that belongs to one call
_TICK = 0.05
_LIVE: set[tuple[int, int, str]] = set()  # whose programs run, and as for `_kill_all`


def run(
    argv: list[str],
    stdin: bytes,
    *,
    folder: str,
    env: Mapping[str, str],
    seconds: float,
    keep: int,
    name: str,
) -> dict[str, Any]:
    """Run a program to its end, keeping so many bytes of each stream; errors call it `name`.

    Raises:
        ToolTimeoutError: It was killed, with all that it started.
    """
    end, mark = monotonic() + seconds, token_hex(16)
    with tempfile.TemporaryFile() as source:
        source.write(stdin)
        source.seek(0)
        process = subprocess.Popen(  # noqa: S603 - a list, its program checked
            argv,
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env={**env, _MARK: mark},
            start_new_session=True,
        )
    with process, closing(_Drain(process, keep)) as drain:
        _LIVE.add(live := (os.getpid(), process.pid, mark))
        try:
            in_time = _waited(process.pid, drain, end)
        finally:
            _kill_all(process.pid, mark)
            _LIVE.discard(live)
        drain.rest()
    if not in_time:
        raise ToolTimeoutError(f"{name}: took longer than {seconds:g} s")
    out, err = drain.texts()
    return {"exit": process.returncode, "stdout": out, "stderr": err}


def _waited(pid: int, drain: "_Drain", end: float) -> bool:
    """Whether it ended in time; it is not reaped, so that its group's id stays its."""
    halt, tick = HALT.get(), 0.001
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        if monotonic() >= end or (halt is not None and halt.asked):
            return False
        tick = min(tick * 2, _TICK)
        drain.wait(max(0.0, min(tick, end - monotonic())))
    return True


def _kill_all(pid: int, mark: str) -> None:
    """Kill its group, then what left the group but still has the mark."""
    with suppress(ProcessLookupError, PermissionError):  # macOS: the latter of zombies
        os.killpg(pid, signal.SIGKILL)
    for _ in range(20):  # what is killed may just have started another
        others = Path("/proc").glob("[0-9]*")  # none where there is no /proc
        if not sum(_kill_marked(path, mark) for path in others):
            return


@atexit.register
def _kill_rest() -> None:
    """At the exit, which waits for no thread of ours."""
    for owner, pid, mark in tuple(_LIVE):
        if owner == os.getpid():
            _kill_all(pid, mark)


def _kill_marked(path: Path, mark: str) -> bool:
    with suppress(OSError):  # it has ended, or is somebody else's
        handle = os.pidfd_open(int(path.name))
        try:  # the handle is of the process that is looked at, whatever its id is now
            if f"{_MARK}={mark}\0".encode() in (path / "environ").read_bytes():
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                return True
        finally:
            os.close(handle)
    return False


class _Drain:
    """Reads both streams to their ends, keeps their heads and counts the rest."""

    __slots__ = ("_keep", "_kept", "_selector", "_sizes")

    def __init__(self, process: "subprocess.Popen[bytes]", keep: int) -> None:
        self._keep = keep
        self._selector = selectors.DefaultSelector()
        streams = cast("list[IO[bytes]]", [process.stdout, process.stderr])
        self._kept = {stream.fileno(): bytearray() for stream in streams}
        self._sizes = dict.fromkeys(self._kept, 0)
        for stream in self._kept:
            self._selector.register(stream, selectors.EVENT_READ)

    def close(self) -> None:
        """Stop reading."""
        self._selector.close()

    def wait(self, seconds: float) -> bool:
        """Read what comes within this time; whether there was any."""
        if not self._selector.get_map():
            sleep(seconds)
            return False
        ready = self._selector.select(seconds)
        for key, _ in ready:
            self._read(key.fd)
        return bool(ready)

    def rest(self) -> None:
        """Read what is left in the pipes, which nobody should write to any more."""
        rounds = 1000
        while rounds and self._selector.get_map() and self.wait(0):
            rounds -= 1

    def _read(self, stream: int) -> None:
        data = os.read(stream, 65536)
        if not data:
            self._selector.unregister(stream)
        kept = self._kept[stream]
        kept += data[: max(0, self._keep - len(kept))]
        self._sizes[stream] += len(data)

    def texts(self) -> Iterator[str]:
        """What was kept, with a mark where more came."""
        for stream, kept in self._kept.items():
            size, text = self._sizes[stream], kept.decode(errors="replace")
            mark = f"\n[cut: {size} bytes, {self._keep} are shown]"
            yield text + mark if size > self._keep else text
