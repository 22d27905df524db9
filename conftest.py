"""Run every snippet we publish: READMEs, docs and docstrings."""

from doctest import ELLIPSIS, NORMALIZE_WHITESPACE

from sybil import Sybil
from sybil.parsers.myst import DocTestDirectiveParser, PythonCodeBlockParser, SkipParser
from sybil.parsers.rest import DocTestParser


_OPTIONS = ELLIPSIS | NORMALIZE_WHITESPACE
_prose = Sybil(
    parsers=[
        PythonCodeBlockParser(doctest_optionflags=_OPTIONS),
        DocTestDirectiveParser(optionflags=_OPTIONS),
        SkipParser(),
    ],
    patterns=["README.md", "packages/*/README.md", "docs/**/*.md"],
)
_docstrings = Sybil(
    parsers=[DocTestParser(_OPTIONS)], patterns=["packages/*/src/**/*.py"]
)
pytest_collect_file = (_prose + _docstrings).pytest()
