"""All packages move together: one version, exact pins, one licence, no addresses."""

import importlib
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest


ROOT = Path(__file__).parent.parent
PROJECTS = {
    path.parent.name: tomllib.loads(path.read_text())["project"]
    for path in sorted(ROOT.glob("packages/*/pyproject.toml"))
}
VERSION = PROJECTS["waybell"]["version"]
UV = Path(sys.executable).parent / "uv"
ENVIRONMENT = {**os.environ, "UV_CACHE_DIR": str(ROOT / ".cache/uv")}


def tracked(*patterns: str) -> list[Path]:
    out = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [ROOT / name for name in out.stdout.splitlines() if (ROOT / name).is_file()]


@pytest.mark.parametrize("name", PROJECTS)
def test_versions_move_together(name: str) -> None:
    project = PROJECTS[name]
    assert project["version"] == VERSION
    for need in project["dependencies"]:
        if need.startswith("waybell"):
            assert need.endswith(f"=={VERSION}")


@pytest.mark.parametrize("name", PROJECTS)
def test_python_has_a_floor_and_no_ceiling(name: str) -> None:
    assert PROJECTS[name]["requires-python"] == ">=3.11"


@pytest.mark.parametrize("name", PROJECTS)
def test_public_names_are_sorted_and_exist(name: str) -> None:
    module = importlib.import_module(PROJECTS[name]["name"].replace("-", "_"))
    assert list(module.__all__) == sorted(module.__all__)
    assert all(hasattr(module, public) for public in module.__all__)


@pytest.mark.parametrize("name", PROJECTS)
def test_every_package_carries_the_licence(name: str) -> None:
    licence = (ROOT / "LICENSE").read_text()
    assert (ROOT / "packages" / name / "LICENSE").read_text() == licence


def test_no_lock_file_and_no_registry_address_is_kept() -> None:
    forbidden = re.compile(
        r"//[\w.-]+/simple\b|python[h]osted|index-url\s*=|/packages/[0-9a-f]{2}/"
    )
    assert [path.name for path in tracked("*uv.lock", "*package-lock.json")] == []
    for path in tracked("*.txt", "*.toml", "Makefile", "*.sh", "*.md", "*.json"):
        assert not forbidden.search(path.read_text()), path


def test_every_pin_has_a_hash() -> None:
    for path in sorted((ROOT / "requirements").glob("*.txt")):
        entries = re.split(r"\n(?=\S)", path.read_text().strip())
        assert all("==" in entry and "--hash=sha256:" in entry for entry in entries)


@pytest.mark.timeout(180)
def test_a_wheel_works_in_an_empty_environment(tmp_path: Path) -> None:
    if not UV.exists():
        pytest.skip("no uv beside this interpreter: run through make test")
    run = lambda *command: subprocess.run(  # noqa: E731 - one use, three times
        [str(part) for part in command],
        cwd=tmp_path, env=ENVIRONMENT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    run(UV, "build", "--quiet", "--wheel", "-o", tmp_path, ROOT / "packages/bus")
    (wheel,) = tmp_path.glob("*.whl")
    assert "waybell_bus/py.typed" in zipfile.ZipFile(wheel).namelist()
    run(UV, "venv", "--quiet", "--python", sys.executable, tmp_path / "env")
    python = tmp_path / "env/bin/python"
    pins = ROOT / "requirements/run.txt"
    run(UV, "pip", "install", "--quiet", "--python", python, "-c", pins, wheel)
    out = run(
        python, "-c",
        "import asyncio, waybell_bus\n"
        "bus = waybell_bus.EventBus()\n"
        "bus.on('greet', lambda event: 'hello ' + event['who'])\n"
        "print(asyncio.run(bus.emit('greet', who='world')))",
    )  # fmt: skip
    assert out.stdout.strip() == "hello world"
