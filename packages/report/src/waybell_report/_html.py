"""Puts the page together: its policy, its style, its script, its data."""

from base64 import b64encode
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import Any, Final

import orjson

from waybell_report._pack import embedded


_SCRIPTS: Final = (
    "text", "data", "state", "list", "timeline", "waterfall", "panel", "graph",
    "tables", "decisions", "main",
)  # fmt: skip


def page(
    title: str, told: str, head: dict[str, Any], core: bytes, detail: bytes
) -> str:
    """The whole page.

    Args:
        title: What it is called.
        told: The verdict, for who runs no script.
        head: What is shown before the rest is unpacked.
        core: The data of the first view.
        detail: The data of single spans.
    """
    folder = files("waybell_report") / "_page"
    read = {
        name: folder.joinpath(name).read_text("utf-8")
        for name in ("page.html", "page.css", *(f"{part}.js" for part in _SCRIPTS))
    }
    parts = "\n".join(read[f"{part}.js"] for part in _SCRIPTS)
    script = f'"use strict";\n(() => {{\n{parts}\n}})();'
    style = read["page.css"]
    fields = {
        "policy": _policy(script, style),
        "title": escape(_seen(title)),
        "told": escape(_seen(told)),
        "style": style,
        "script": script,
        "head": b64encode(orjson.dumps(head)).decode(),
        "core": embedded(core),
        "detail": embedded(detail),
    }
    # Split once, so that nothing that is put in can be taken for a place to put things.
    first, *rest = read["page.html"].split("{{")
    pieces = (piece.partition("}}") for piece in rest)
    filled = (fields[name] + tail for name, _, tail in pieces)
    return first + "".join(filled)


def _seen(text: str) -> str:
    """`text` with what is not seen, or turns text around, as numbers."""
    return "".join(c if c.isprintable() else f"\u27e6{ord(c):04X}\u27e7" for c in text)


def _policy(script: str, style: str) -> str:
    """Nothing but this very script and style; no request, no markup made of texts."""
    rules = {
        "default-src": "'none'",
        "script-src": _hash(script),
        "style-src": _hash(style),
        "connect-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    return "; ".join(f"{rule} {value}" for rule, value in rules.items())


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
