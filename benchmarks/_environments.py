"""The interpreters: ours, and one environment for each group of peers."""

import functools
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path


ROOT = Path(__file__).parent.parent
SCRATCH = ROOT / ".cache" / "bench"
PEERS = ROOT / ".venv" / "peers"
PINS = Path(__file__).parent / "peers"
#: Peers that need a newer Python than the others.
NEWER = {"newer": (3, 12)}


@dataclass(frozen=True, slots=True)
class Environment:
    """An interpreter to run contestants in.

    Args:
        name: As the contestants call it.
        python: The interpreter, or None.
        reason: Why there is none.
        missing: Pins that could not be installed.
    """

    name: str
    python: Path | None
    reason: str = ""
    missing: tuple[str, ...] = field(default=())


def clean_variables() -> dict[str, str]:
    """Nothing of the user's: no keys, no settings, no home to write into."""
    sources = sorted(str(path) for path in ROOT.glob("packages/*/src"))
    return {
        "HOME": str(SCRATCH),
        "LANG": "C.UTF-8",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it fetches one when imported
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sources]),
        "TMPDIR": str(SCRATCH),
    }


@functools.cache
def environment(name: str) -> Environment:
    """Find or make an environment; what goes wrong is its reason, not an error."""
    if name == "own":
        return Environment("own", Path(sys.executable))
    pins, folder = PINS / f"{name}.txt", PEERS / name
    stamp = folder / ".pins"
    python = folder / "bin" / "python"
    if stamp.exists() and stamp.read_text().startswith(_wanted(name, pins)):
        missing = stamp.read_text().removeprefix(_wanted(name, pins)).split()
        return Environment(name, python, missing=tuple(missing))
    try:
        return _make(name, pins, folder)
    except (OSError, subprocess.SubprocessError) as error:
        detail = getattr(error, "stderr", None) or str(error)
        return Environment(name, None, f"not installed: {_first_line(detail)}")


def _make(name: str, pins: Path, folder: Path) -> Environment:
    base = _interpreter(NEWER.get(name, (0,)))
    if base is None:
        wanted = ".".join(map(str, NEWER[name]))
        return Environment(name, None, f"no Python {wanted} on this machine")
    print(f"installing the peers of {name}", file=sys.stderr)
    _uv("venv", "--clear", "--python", base, str(folder))
    python = folder / "bin" / "python"
    missing = _install(python, pins)
    (folder / ".pins").write_text(_wanted(name, pins) + "\n".join(missing))
    return Environment(name, python, missing=tuple(missing))


def _install(python: Path, pins: Path) -> list[str]:
    """Install all at once, else one by one: some may have no wheel for this machine."""
    install = ("pip", "install", "--no-deps", "--python", str(python))
    try:
        _uv(*install, "--requirements", str(pins))
    except subprocess.SubprocessError:
        missing: list[str] = []
        lines = [line for line in pins.read_text().splitlines() if line[0] != "#"]
        for tried, line in enumerate(lines, 1):
            try:
                _uv(*install, line)
            except subprocess.SubprocessError:
                missing.append(line.partition(" ")[0])
                if len(missing) == tried > 1:  # None at all: there is no network.
                    raise
        return missing
    return []


def _uv(*arguments: str) -> None:
    cache = os.environ.get("UV_CACHE_DIR", str(ROOT / ".cache" / "uv"))
    subprocess.run(
        [str(ROOT / ".venv" / "bin" / "uv"), "--quiet", *arguments],
        check=True,
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "UV_CACHE_DIR": cache, "UV_PYTHON_DOWNLOADS": "never"},
    )


def _wanted(name: str, pins: Path) -> str:
    return f"{sys.version_info[:2]} {pins.read_text()}\n"


def _interpreter(wanted: tuple[int, ...]) -> str | None:
    if sys.version_info[: len(wanted)] >= wanted:
        return sys.executable
    name = "python" + ".".join(map(str, wanted))
    beside = Path(sys.base_prefix).parent.glob(f"{name[6:]}*/bin/{name}")
    on_path = shutil.which(name)
    candidates = [*([on_path] if on_path else []), *map(str, sorted(beside))]
    for candidate in candidates:
        probe = subprocess.run([candidate, "-c", ""], capture_output=True, check=False)
        if probe.returncode == 0:
            return candidate
    return None


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (
        without_places(lines[0].removeprefix("error: "))[:120]
        if lines
        else "unknown error"
    )


def without_places(text: str) -> str:
    """Leave out addresses and folders: the page is published."""
    return re.sub(r"`?(\w+://|/)[^\s`'\"]+`?", "...", text)
