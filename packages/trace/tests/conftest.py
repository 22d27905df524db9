"""What several test files need: tracers that close, and lines read back."""

import json
from pathlib import Path

import pytest

from waybell_trace import Tracer


@pytest.fixture
def path(tmp_path):
    """Where the spans of a test go."""
    return tmp_path / "runs" / "traces.jsonl"


@pytest.fixture
def tracer(path):
    """A tracer that is closed when its test is over."""
    with Tracer(path) as made:
        yield made


@pytest.fixture
def written():
    """Reads the spans of a file with nothing but json."""

    def read(path: Path):
        spans = []
        for line in Path(path).read_bytes().splitlines():
            if line:
                for resource in json.loads(line)["resourceSpans"]:
                    for scope in resource["scopeSpans"]:
                        spans += scope["spans"]
        return spans

    return read


@pytest.fixture
def plainly():
    """A list of OTLP attributes as a dict."""

    def read(item):
        return {
            entry["key"]: next(iter(entry["value"].values()), None)
            for entry in item.get("attributes", [])
        }

    return read
