"""Sphinx settings."""

project = "Waybell"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
html_theme = "furo"
html_title = "Waybell"
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
autodoc_typehints = "description"
autodoc_member_order = "bysource"
suppress_warnings = ["myst.xref_missing"]
# Names of the standard library and private types have no page here, and no inventory
# is fetched from anywhere; doc, ref and toctree references stay checked.
nitpick_ignore_regex = [("py:.*", ".*")]
