"""`waybell doctor`: whether everything that Waybell leans on is as it should be."""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import Final, Literal

from rich.text import Text

from waybell._console import safe_console
from waybell._guard import OUT, guarded
from waybell._names import HOMES


_MORE = """\
examples:
  waybell doctor
  waybell doctor --out runs --json | jq '.[] | select(.state == "bad")'

Nothing is sent anywhere, and no value of a variable is shown.

exit codes: 0 all is well (notes are no faults), 1 something is not, 2 the words were off.
"""
_MARKS: Final = {"good": ("✓", "green"), "note": ("-", "yellow"), "bad": ("✗", "red")}
_VARIABLES: Final = (
    "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL",
    "OLLAMA_HOST",
)  # fmt: skip
_REMOTE: Final = {"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs"}
_ROOM: Final = 100_000_000  # bytes that should be free


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Args:
        what: It.
        state: "good", "note" (worth knowing), or "bad".
        told: What was found, and the remedy.
    """

    what: str
    state: Literal["good", "note", "bad"]
    told: str


def parser() -> argparse.ArgumentParser:
    """The words of this command."""
    words = argparse.ArgumentParser(
        prog="waybell doctor", epilog=_MORE,
        description="Look at the interpreter, the packages, the model and the disk.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    words.add_argument("--json", action="store_true", help="machine-readable")
    words.add_argument("--out", metavar="DIR", type=Path, default=OUT,
                       help="the folder that runs are written to [waybell-out]")  # fmt: skip
    return words


def command(argv: Sequence[str], *, environ: Mapping[str, str] = os.environ) -> int:
    """Look whether everything that Waybell leans on is as it should be."""

    def run(options: argparse.Namespace) -> int:
        return _doctor(options, environ)

    return guarded(parser(), argv, run)


def _doctor(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    found = [*interpreter(), *packages(), *commands(), *model(environ)]
    found += [*disk(options.out), *sandbox()]
    if options.json:
        print(json.dumps([asdict(finding) for finding in found], indent=1))
    else:
        _print(found)
    return int(any(finding.state == "bad" for finding in found))


def _print(found: Sequence[Finding]) -> None:
    out = safe_console()
    width = max(len(finding.what) for finding in found)
    for finding in found:
        mark, colour = _MARKS[finding.state]
        line = Text(f"{mark} ", style=colour)
        line.append(f"{finding.what:<{width}}  ", style="bold")
        line.append(finding.told)
        out.print(line, soft_wrap=True)


def interpreter() -> Iterator[Finding]:
    """The Python that runs this."""
    told = f"{platform.python_implementation()} {platform.python_version()}, {sys.executable}"
    good = sys.version_info >= (3, 11)
    yield Finding("python", "good" if good else "bad", told)


def packages() -> Iterator[Finding]:
    """Whether every package imports, and all are of one version."""
    wanted = version("waybell")
    for module in sorted({*HOMES.values(), "waybell_snap"}):
        name = module.replace("_", "-")
        try:
            found = version(name)
            import_module(module)
        except (PackageNotFoundError, ModuleNotFoundError) as error:
            yield Finding(name, "note", f"not there ({error}): pip install {name}")
        except Exception as error:
            told = f"does not import: {type(error).__name__}: {error}"
            yield Finding(name, "bad", told)
        else:
            good = found == wanted
            told = found if good else f"{found}: pip install {name}=={wanted}"
            yield Finding(name, "good" if good else "bad", told)


def commands() -> Iterator[Finding]:
    """Whether every command can be loaded."""
    good: list[str] = []
    for point in sorted(entry_points(group="waybell.commands")):
        try:
            point.load()
        except Exception as error:
            told = f"cannot be loaded: {type(error).__name__}: {error}"
            yield Finding(f"waybell {point.name}", "bad", told)
        else:
            good.append(point.name)
    yield Finding("commands", "good", ", ".join(good))


def model(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Which model would be asked, and which of the vendors' variables are set."""
    spec = environ.get("WAYBELL_MODEL", "")
    if not spec:
        yield Finding("WAYBELL_MODEL", "note",
            "not set; a team without an adapter needs it: offline, anthropic:..., openai:...")  # fmt: skip
    else:
        yield _spec(spec)
    for name in _VARIABLES:
        yield Finding(name, "note", "set" if environ.get(name) else "not set")


def _spec(spec: str) -> Finding:
    try:
        from waybell import adapter  # noqa: PLC0415 - may not be installed

        adapter(spec)
    except Exception as error:
        return Finding("WAYBELL_MODEL", "bad", str(error))
    return Finding("WAYBELL_MODEL", "good", spec)


def disk(folder: Path) -> Iterator[Finding]:
    """Whether runs can be written, on a local disk with room."""
    above = (folder.absolute(), *folder.absolute().parents)
    here = next(path for path in above if path.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=here, prefix=".waybell-doctor") as file:
            file.write(b"x")
    except OSError as error:
        yield Finding("files", "bad", f"cannot write in {here}: {error.strerror}")
        return
    yield Finding("files", "good", f"{here} can be written")
    free = shutil.disk_usage(here).free
    room = f"{free / 1e9:.1f} GB are free"
    yield Finding("room", "good" if free >= _ROOM else "bad", room)
    kind = _filesystem(here)
    if kind in _REMOTE:
        told = f"{kind}: appending is promised on local disks only; name another --out"
        yield Finding("disk", "note", told)


def _filesystem(folder: Path) -> str:
    """The kind of disk a folder is on, where Linux tells; else nothing."""
    mounts = Path("/proc/self/mounts")
    if not mounts.exists():
        return ""
    rows = [line.split() for line in mounts.read_text("utf-8", "replace").splitlines()]
    above = {str(path) for path in (folder, *folder.parents)}
    on = [(len(row[1]), row[2]) for row in rows if row[1] in above]
    return max(on, default=(0, ""))[1]


def sandbox(find: Callable[[str], str | None] = shutil.which) -> Iterator[Finding]:
    """Whether the shell tool can shut programs in."""
    program = find("bwrap")
    if program is None:
        told = "bwrap is not installed: the shell tool refuses unless told otherwise"
        yield Finding("sandbox", "note", told)
        return
    words = [program, "--ro-bind", "/", "/", "--unshare-all", "true"]
    try:
        done = subprocess.run(  # noqa: S603 - the sandbox itself, tried on `true`
            words, capture_output=True, timeout=10, check=False
        )
        works, said = done.returncode == 0, done.stderr.decode("utf-8", "replace")
    except (OSError, subprocess.TimeoutExpired) as error:
        works, said = False, str(error)
    told = "works" if works else f"does not work here: {said.strip()}"
    told = f"bubblewrap {told}"
    yield Finding("sandbox", "good" if works else "note", told)
