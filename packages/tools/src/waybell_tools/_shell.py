"""The built-in tool that runs programs: named ones, in a sandbox, never through a shell."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from waybell_tools._beneath import Root
from waybell_tools._errors import ToolDenied
from waybell_tools._limits import DeadlineLike, positive, seconds_left
from waybell_tools._process import run


_PATH = "/usr/local/bin:/usr/bin:/bin"
_SYSTEM = (
    "/usr /bin /sbin /lib /lib32 /lib64 /etc/alternatives /etc/ld.so.cache".split()
)

# What is not shared with the rest of the system. Where bwrap has privileges of its own,
# it does not take the first; capabilities are dropped in either case.
_SPACES = (
    ["--unshare-all", "--unshare-user", "--disable-userns"],
    ["--unshare-all"],
)


def shell(
    allow: Iterable[str],
    *,
    root: str | os.PathLike[str],
    unsandboxed: bool = False,
    bwrap: str | None = "bwrap",
    writable: bool = True,
    readable: Iterable[str] = (),
    env: Mapping[str, str] | None = None,
    timeout: float = 30.0,
    max_output: int = 50_000,
) -> Callable[..., dict[str, Any]]:
    """Make a tool that runs some programs, without a shell, in a folder.

    In the sandbox (bubblewrap) a program sees the system's programs and libraries and
    `root`, no network and no other process, and all that it started dies with it. An
    allowlist alone is weak: many programs start others, or read any file.

    Args:
        allow: Names of programs, found in the system's folders; a path names another.
        root: The folder it runs in, an existing one.
        unsandboxed: Whether to run without a sandbox where there is none.
        bwrap: The bubblewrap program; None if it is not to be used.
        writable: Whether programs in the sandbox may write to `root`.
        readable: What else they may read.
        env: Their environment, beside PATH, HOME and LANG.
        timeout: Seconds until the program and all that it started are killed.
        max_output: Bytes kept of each stream; the rest is read and thrown away.

    Raises:
        ToolDenied: There is no sandbox that works, and `unsandboxed` is not said.
        FileNotFoundError: A program does not exist.
    """
    folder = Root(root).path
    programs = {Path(name).name: _found(name, folder) for name in allow}
    clean = {"PATH": _PATH, "HOME": folder, "LANG": "C.UTF-8", **(env or {})}
    wrap = _sandbox(bwrap, folder, [*_SYSTEM, *readable], writable)
    if not wrap and not unsandboxed:
        why = "no sandbox: bubblewrap (bwrap) is missing or does not work here"
        raise ToolDenied(f"{why}; unsandboxed=True runs programs without one")
    cap, named = positive(timeout, "timeout"), ", ".join(sorted(programs))

    def shell(
        argv: list[str], stdin: str = "", *, deadline: DeadlineLike | None = None
    ) -> dict[str, Any]:
        """Run a program; there is no shell, so no pipes, globs or variables.

        Args:
            argv: The program's name and its arguments.
            stdin: What it reads.
            deadline: When to stop.
        """
        if not argv or argv[0] not in programs:
            raise ToolDenied(f"{argv[:1]} is not one of the programs: {named}")
        if any("\0" in part for part in argv):
            raise ToolDenied("an argument has a NUL in it")
        return run(
            [*wrap, programs[argv[0]], *argv[1:]],
            stdin.encode(errors="replace"),
            folder=folder,
            env=clean,
            seconds=seconds_left(cap, deadline),
            keep=max_output,
            name=argv[0],
        )

    doc = f"{shell.__doc__}"  # for the model
    shell.__doc__ = doc.replace("variables.", f"variables. Programs: {named}.")
    return shell


def _found(name: str, folder: str) -> str:
    """The program's path; one that lies where the model can write is refused."""
    path = shutil.which(name, path=_PATH)
    if path is None:
        raise FileNotFoundError(f"there is no program {name!r} in {_PATH}")
    places = Path(path).absolute(), Path(path).resolve()
    if folder != "/" and any(place.is_relative_to(folder) for place in places):
        raise ValueError(f"{name!r} lies under the root, where it can be replaced")
    return path


def _sandbox(
    bwrap: str | None, folder: str, readable: list[str], writable: bool
) -> list[str]:
    """The words that start a sandbox, none if there is none that works."""
    path = bwrap and shutil.which(bwrap)
    if not path:
        return []
    words = "--die-with-parent --new-session --cap-drop ALL".split()
    words += "--proc /proc --remount-ro /proc --dev /dev --tmpfs /tmp".split()
    for place in readable:
        words += ["--ro-bind-try", place, place]
    words += ["--bind" if writable else "--ro-bind", folder, folder]
    words += ["--chdir", folder, "--"]
    for spaces in _SPACES:
        wrap = [str(Path(path).absolute()), *spaces, *words]
        with suppress(OSError, subprocess.SubprocessError):
            subprocess.run(  # noqa: S603 - our own words
                [*wrap, "true"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=True,
                timeout=10,
                env={"PATH": _PATH},
            )
            return wrap
    return []
