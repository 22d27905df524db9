"""Install each package by itself, with only what it declares, and run its tests.

Run through `make alone`; names as arguments choose packages.
"""

import os
import subprocess
import sys
from pathlib import Path


ROOT = Path(__file__).parent.parent
UV = ROOT / ".venv/bin/uv"


def _run(*command: str | Path) -> int:
    return subprocess.run(
        [str(part) for part in command], cwd=ROOT, check=False
    ).returncode


def prove(name: str) -> bool:
    """Whether the package installs as a wheel and passes its own tests."""
    home = ROOT / ".venv/alone" / name
    python = home / "bin/python"
    package = ROOT / "packages" / name
    return (
        _run(UV, "venv", "--quiet", "--clear", "--python", sys.executable, home) == 0
        and _run(
            UV, "pip", "install", "--quiet", "--python", python,
            "--constraint", "requirements/dev.txt", f"./packages/{name}",
            "--group", f"{package}/pyproject.toml:test",
        ) == 0
        and _run(python, "-m", "pytest", "-q", "-o", f"cache_dir={home}/.pytest", package) == 0
    )  # fmt: skip


def main() -> int:
    """Prove the named packages, or all; the exit code counts the failures."""
    os.environ.setdefault("UV_CACHE_DIR", str(ROOT / ".cache/uv"))
    names = sys.argv[1:] or sorted(path.name for path in (ROOT / "packages").iterdir())
    failed = []
    for name in names:
        print(f"== {name}", flush=True)
        if not prove(name):
            failed.append(name)
    print(
        "alone:", f"failed: {', '.join(failed)}" if failed else f"all {len(names)} pass"
    )
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
