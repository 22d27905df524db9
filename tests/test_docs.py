"""The pages' claims: named tests exist, every error has its row, every link a target."""

import importlib
import re
from pathlib import Path

import pytest


ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PACKAGES = sorted(path.name for path in (ROOT / "packages").iterdir())
PAGES = sorted(
    path for path in DOCS.rglob("*.md") if "_build" not in path.relative_to(DOCS).parts
)


def test_every_guarantee_names_a_test_that_exists() -> None:
    text = (DOCS / "guarantees.md").read_text()
    named = re.findall(r"`((?:packages|tests)/\S+?\.py)::(\w+)`", text)
    assert len(named) >= 20
    for path, test in named:
        assert f"def {test}(" in (ROOT / path).read_text(), f"{path}::{test}"


@pytest.mark.parametrize("package", [p for p in PACKAGES if p != "waybell"])
def test_every_error_has_a_row(package: str) -> None:
    module = importlib.import_module(f"waybell_{package}")
    values = {name: getattr(module, name) for name in module.__all__}
    rows = "\n".join(
        line.split("|")[1]
        for line in (DOCS / "errors.md").read_text().splitlines()
        if line.startswith("| `")
    )
    for name, value in values.items():
        if isinstance(value, type) and issubclass(value, BaseException):
            assert f"`{name}`" in rows, f"docs/errors.md says nothing of {name}"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_has_a_page_of_its_names(package: str) -> None:
    if package != "waybell":
        page = (DOCS / "reference" / f"{package}.md").read_text()
        assert f"automodule:: waybell_{package}" in page


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_a_link_to_a_page_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_example_that_is_named_exists() -> None:
    named = {
        name
        for page in PAGES
        for name in re.findall(r"`(examples/[\w/.]+)`", page.read_text())
    }
    assert len(named) >= 10
    for name in named:
        assert (ROOT / name).exists(), name
