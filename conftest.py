"""Run every snippet we publish: READMEs, docs and docstrings."""

import os
import signal
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE
from pathlib import Path

import pytest
from hypothesis import settings
from sybil import Sybil
from sybil.parsers.myst import DocTestDirectiveParser, PythonCodeBlockParser, SkipParser
from sybil.parsers.rest import DocTestParser


# Started in the background of a shell, a process ignores SIGINT, and so would every
# program that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("soak", max_examples=5_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

_OPTIONS = ELLIPSIS | NORMALIZE_WHITESPACE
_prose = Sybil(
    parsers=[
        PythonCodeBlockParser(doctest_optionflags=_OPTIONS),
        DocTestDirectiveParser(optionflags=_OPTIONS),
        SkipParser(),
    ],
    patterns=["README.md", "packages/*/README.md", "docs/*.md", "docs/**/*.md"],
    excludes=["docs/_build/**"],
)
_docstrings = Sybil(
    parsers=[DocTestParser(_OPTIONS)], patterns=["packages/*/src/**/*.py"]
)
pytest_collect_file = (_prose + _docstrings).pytest()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the examples of one file in their order, whatever shuffled the tests.

    They share a namespace: a later example uses the names of an earlier one.
    """
    places: dict[Path, list[int]] = {}
    for place, item in enumerate(items):
        if type(item).__name__ == "SybilItem":
            places.setdefault(item.path, []).append(place)
    for found in places.values():
        ordered = sorted((items[n] for n in found), key=lambda item: item.location[1])
        for place, item in zip(found, ordered, strict=True):
            items[place] = item
