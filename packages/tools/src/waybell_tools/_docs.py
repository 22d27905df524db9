"""What a docstring in Google's style says about a function and its arguments."""

import re
from inspect import cleandoc


_SECTION = re.compile(
    r"^(?:Arg|Argument|Parameter|Attribute|Return|Yield|Raise|Example|Note|Warning)s?:\s*$",
    re.MULTILINE,
)
_ITEM = re.compile(r"^ {1,8}\*{0,2}(\w+)(?: ?\([^)]*\))?:[ \t]*(.*)$")
_ARGUMENTS = ("Args", "Arguments", "Parameters", "Attributes")


def described(doc: str | None) -> tuple[str, dict[str, str]]:
    """The text before the first section, and the descriptions by argument.

    Args:
        doc: A docstring, None if there is none.
    """
    text = cleandoc(doc or "")
    heads = [*_SECTION.finditer(text)]
    ends = [*(head.start() for head in heads[1:]), len(text)]
    about: dict[str, str] = {}
    for head, end in zip(heads, ends, strict=False):
        if head[0].strip().rstrip(":") in _ARGUMENTS:
            about.update(_items(text[head.end() : end]))
    summary = text[: heads[0].start()] if heads else text
    return summary.strip(), about


def _items(body: str) -> dict[str, str]:
    lines = [line for line in body.splitlines() if line.strip()]
    indent = min((len(ln) - len(ln.lstrip()) for ln in lines), default=0)
    items: dict[str, list[str]] = {}
    words: list[str] = []
    for line in lines:
        item = _ITEM.match(line)
        if item and len(line) - len(line.lstrip()) == indent:
            words = items.setdefault(item[1], [])
            line = item[2]  # noqa: PLW2901 - what is left of it
        words.append(line.strip())
    return {name: " ".join(filter(None, text)) for name, text in items.items()}
