"""Text as the offline model reads it: terms to compare, and units to quote."""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain
from typing import NamedTuple


_IRREGULAR = dict(
    re.findall(
        r"(\w+)=(\w+)",
        "used=use using=use held=hold kept=keep sent=send paid=pay ran=run wrote=write "
        "running=run written=write built=build chose=choose chosen=choose found=find "
        "told=tell spent=spend lost=lose made=make gave=give given=give raising=raise",
    )
)
_ENDINGS = (
    ("ations", ""), ("ation", ""), ("ities", "ity"), ("ies", "y"), ("ied", "y"),
    ("ings", ""), ("ing", ""), ("ers", ""), ("er", ""), ("edly", ""), ("ed", ""),
    ("sses", "ss"), ("es", ""), ("ly", ""), ("s", ""),
)  # fmt: skip
_TAIL = re.compile(r"(?<=..)(?:(.)\1|(?<=.)()e)$")
_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")
_END = re.compile(r"(?<![.!?])[.!?]++[\"')\]`*_]*+(?=\s)|[\u3002\uff01\uff1f]")
_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|etc|vs|cf|al|Dr|Mr|Ms|St|No|[A-Z]))\.$")
_LEAD_IN = re.compile(
    r"(?:[^*]{1,60}: )?(\*{1,2})[^*]+\1$"
)  # says what the next sentence is about
# Headings without which what stands under them would say the opposite.
_AGAINST = re.compile(r"\b(?:not|never|rejected|declined|left out)\b", re.IGNORECASE)
_HEADING = re.compile(r"#{1,6}\s+(.+)")
_ITEM = re.compile(r"(?:[-*+]|\d+[.)])\s+|>\s?")
_CODE_CELLS = re.compile(
    r"(?:\|\s*(?:`[^`|]+`[,\s]*)+)+\|?\s*$"
)  # the last ones of a row
_SECTION = re.compile(r"(?:Args|Attributes|Raises|Returns|Yields):$")
_ENTRY = re.compile(r"\*{0,2}\w+: ")
_COMMENT = re.compile(
    r"(?:#!?|//+|/\*+|\*/?|--)(?:\s+(?!\w+: ?(?:noqa|ignore|skip|\w+=))|$)"
)
SCOPE = re.compile(
    r"(?:export |pub |static |async )*(?:def|class|function|fn|func|struct|interface|"
    r"enum|trait|type) (\w+)"
)
_CODE_FILE = re.compile(r"\.(?:py|pyi|js|ts|tsx|go|rs|java|c|h|cc|cpp|cs|rb|sh)\b")


@lru_cache(4096)
def stem(word: str) -> str:
    """A lower-case word without its common English endings."""
    word = _IRREGULAR.get(word, word)
    if not word.endswith(("ss", "us", "is")):
        cuts = (
            word[: -len(ending)] + put
            for ending, put in _ENDINGS
            if word.endswith(ending) and len(word) - len(ending) >= 3
        )
        word = next(cuts, word)
    return _TAIL.sub(r"\1", word)


STOP = frozenset(
    map(
        stem,
        re.findall(
            r"\w+",
            "a about all also an and any are as at be been but by can could did do does for "
            "from get had has have how i if in into is it its may me my no not of on one or "
            "happen kind many mean much our should so some such than that the their them then there these they this to up us was "
            "we were what when where which while who whose why will with would you your",
        ),
    )
)


def terms(text: str) -> list[str]:
    """The stems of a text in order; an identifier gives its parts, then itself."""
    found: list[str] = []
    for word in _WORD.findall(text):
        parts = _PART.findall(word)
        found.extend(stem(part.lower()) for part in parts)
        if len(parts) > 1:
            found.append(word.lower())
    return found


def content(text: str) -> list[str]:
    """The terms that carry meaning, each once, in order; all if there is no other."""
    every = dict.fromkeys(terms(text))
    return [term for term in every if term not in STOP] or list(every)


@lru_cache(1024)
def words(text: str) -> str:
    """The bare words of a text between spaces: what a quotation is compared by."""
    found = " ".join(re.findall(r"[^\W_]+", text.lower()))
    return f" {found} "


def sentences(text: str) -> list[str]:
    """Cut running text at the ends of its sentences."""
    cut: list[str] = []
    start = 0
    for end in _END.finditer(text):
        stop = end.end()
        after = text[stop : stop + 20].lstrip()[:1]
        # Only its end: all of it, again and again, would take hours for a long text.
        if after.islower() or _ABBREVIATION.search(text, max(start, stop - 9), stop):
            continue
        if _LEAD_IN.match(text[start:stop].strip()) and after:
            continue
        cut.append(text[start:stop].strip())
        start = stop
    return [part for part in (*cut, text[start:].strip()) if re.search(r"\w", part)]


class Unit(NamedTuple):
    """What can be quoted, its kind, the terms of its heading, its passage's mark."""

    text: str
    kind: str
    context: frozenset[str]
    mark: str


def units(text: str, mark: str = "", source: str = "") -> list[Unit]:
    """Everything in a passage that can be quoted, in order."""
    found: list[Unit] = []
    around = context = frozenset(content(source))
    against = _warning(source.rpartition(" > ")[2] if " > " in source else "")
    for kind, piece in _pieces(text, code=bool(_CODE_FILE.search(source))):
        if kind in ("heading", "scope"):
            context = around | frozenset(content(piece))
            against = _warning(piece)
        if kind != "scope":
            parts = sentences(piece) if kind == "prose" else [piece]
            before = against if kind in ("prose", "row") else ""
            found.extend(Unit(before + part, kind, context, mark) for part in parts)
    return found


def _warning(heading: str) -> str:
    """The heading as it is put before what would say the opposite without it."""
    return f"{heading}: " if _AGAINST.search(heading) else ""


def _pieces(text: str, *, code: bool) -> Iterator[tuple[str, str]]:
    """Kinds and pieces of a text; the lines of a paragraph are one piece."""
    paragraph: list[str] = []
    lines = map(str.strip, text.splitlines())
    for kind, line in chain((_markdown, _source)[code](lines), [("", "")]):
        if paragraph and (kind != "prose" or not line):
            yield "prose", " ".join(paragraph)
            paragraph = []
        if kind in ("prose", "item"):
            paragraph.append(line)
        elif re.search(r"\w", line):
            yield kind, line


def _markdown(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    fenced = False
    for line in lines:
        if line.startswith(("```", "~~~")):
            fenced = not fenced
            yield "", ""
        elif fenced:
            yield "fence", line
        elif heading := _HEADING.match(line):
            yield "heading", heading[1].strip("# ")
        elif line.startswith("|"):
            yield "row", _CODE_CELLS.sub("", line).strip("| ")
        else:
            item = _ITEM.match(line)
            yield ("item", line[item.end() :]) if item else ("prose", line)


def _begins_quoted(lines: Iterable[str]) -> bool:
    """Whether a passage begins within a docstring: its first lone mark closes it."""
    return next((line for line in lines if line.count('"""') % 2), "").endswith('"""')


def _source(text: Iterable[str]) -> Iterator[tuple[str, str]]:
    lines = list(text)
    quoted = _begins_quoted(lines)
    for line in lines:
        turns = line.count('"""') % 2 == 1
        if quoted or turns or line.startswith('"""'):
            yield _documented(line.replace('"""', "").strip())
            quoted ^= turns
            if not quoted:
                yield "", ""
        elif comment := _COMMENT.match(line):
            yield "prose", line[comment.end() :]
        else:
            if scope := SCOPE.match(line):
                yield "scope", scope[1]
            yield "code", line


def _documented(line: str) -> tuple[str, str]:
    """A line of a docstring: an argument begins anew, an example is code."""
    if line.startswith((">>>", "...")):
        return "code", line
    kind = "item" if _ENTRY.match(line) else "prose"
    return kind, "" if _SECTION.match(line) else line
