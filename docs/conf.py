"""Sphinx settings."""

import sys
from pathlib import Path

from sphinx.application import Sphinx


project = "Waybell"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
html_theme = "furo"
html_title = "Waybell"
pygments_dark_style = "github-dark"
html_show_copyright = False
html_show_sphinx = False
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
default_role = "code"  # docstrings mark code with one backtick
autodoc_typehints = "signature"
maximum_signature_line_length = 76
autodoc_member_order = "bysource"
# Methods that a class has from a private part of it are its own; those of Python are not.
autodoc_default_options = {
    "inherited-members": "BaseException, str, tuple, Mapping, Protocol, ABC, Generic"
}
napoleon_use_ivar = True
suppress_warnings = ["myst.xref_missing"]
# Names of the standard library and private types have no page here, and no inventory
# is fetched from anywhere; doc, ref and toctree references stay checked.
nitpick_ignore_regex = [("py:.*", ".*")]
html_static_path = ["_static"]
html_css_files = ["waybell.css"]

sys.path.insert(0, str(Path(__file__).parent))
from _llms import written  # noqa: E402 - beside this file
from _plots import drawn  # noqa: E402 - beside this file
from _reference import shorten, unmade  # noqa: E402 - beside this file


def setup(app: Sphinx) -> None:
    """Draw the figures of the performance page, tidy the reference, write llms.txt."""

    def read(_app: Sphinx, name: str, source: list[str]) -> None:
        if name.startswith("performance"):
            source[0] = drawn(source[0])

    def finish(app: Sphinx, error: Exception | None) -> None:
        if error is None and app.builder.format == "html":
            written(Path(app.srcdir), Path(app.outdir))

    app.connect("source-read", read)
    app.connect("autodoc-process-docstring", shorten, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", unmade)
    app.connect("build-finished", finish)
