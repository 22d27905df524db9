"""What a docstring in Google's style says about a function and its arguments."""

import re
from inspect import cleandoc


_SECTION = re.compile(
    r"(?m)^(Arg|Argument|Parameter|Attribute|Return|Yield|Raise|Example|Note|Warning)s?:\s*$"
)
_ITEM = re.compile(r"\*{0,2}(\w+)(?: ?\([^)]*\))?:[ \t]*(.*)$")


def described(doc: str | None) -> tuple[str, dict[str, str]]:
    """The text before the first section, and the descriptions by argument."""
    summary, *sections = _SECTION.split(cleandoc(doc or ""))
    about: dict[str, str] = {}
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        if title in ("Arg", "Argument", "Parameter", "Attribute"):
            about.update(_items(cleandoc(f"\n{body}")))
    return summary.strip(), about


def _items(body: str) -> dict[str, str]:
    items: dict[str, list[str]] = {}
    words: list[str] = []
    for line in body.splitlines():
        item = _ITEM.match(line)  # which is not indented, unlike what goes on
        if item:
            words = items.setdefault(item[1], [])
        words.append(item[2] if item else line.strip())
    return {name: " ".join(filter(None, text)) for name, text in items.items()}
