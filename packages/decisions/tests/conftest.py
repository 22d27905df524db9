import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from waybell_decisions import DecisionLog


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "decisions.jsonl"


@pytest.fixture
def log(path: Path) -> Iterator[DecisionLog]:
    with DecisionLog(path) as log:
        yield log


def no_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


@pytest.fixture
def strict() -> Callable[[Path], list[dict[str, Any]]]:
    """Read every line by the standard library's parser, refusing NaN."""

    def read(path: Path) -> list[dict[str, Any]]:
        lines = path.read_bytes().split(b"\n")
        assert lines.pop() == b""
        return [json.loads(line, parse_constant=no_constant) for line in lines]

    return read
