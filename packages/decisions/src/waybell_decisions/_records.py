"""Reading a log: lazily, in order, whatever else stands in the file."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from operator import eq
from pathlib import Path
from typing import Any

import orjson

from waybell_decisions._encode import MARK, is_a, plain, to_json
from waybell_decisions._writer import BLOCK, backwards, parts


_NOTHING = object()
Record = dict[str, Any]
Value = object | Callable[[Any], object]  # which tells type checkers of lambdas
Where = Mapping[str, Value] | Callable[[Record], object] | None
By = str | Callable[[Record], object]
_Outcomes = dict[str, list[Record]] | None


class Records:
    """The records of the log at `path`, read anew from its files by every `for`.

    Where no log is, that is a FileNotFoundError, at once and again by every `for`.
    `torn` and `foreign` say how many lines the last pass met that were cut short, or
    are not ours; a query does not look into lines that cannot match.
    """

    __slots__ = ("_join", "_needles", "_tests", "foreign", "path", "torn")

    def __init__(self, path: Path) -> None:
        self.path = path / "decisions.jsonl" if path.is_dir() else path
        self._parts()
        self._tests: list[Callable[[Record], object]] = []
        self._needles: list[bytes] = []
        self._join = False

    def __repr__(self) -> str:
        return f"<Records {self.path}>"

    def __iter__(self) -> Iterator[Record]:
        """Read from the beginning."""
        outcomes = self._outcomes()
        for path in self._parts():
            with path.open("rb", buffering=BLOCK) as file:
                yield from self._matching(file, outcomes)

    def query(
        self, decision: Any = None, *, where: Where = None, outcomes: bool = False
    ) -> "Records":
        """Narrow to the records that match.

        Args:
            decision: Only those of this decision.
            where: A test, or values by field; `"given.topic"` looks into a mapping,
                and a value may be a test of its own. Values are compared as recorded.
            outcomes: Give each record the list `outcomes` of what was recorded of it
                later, and leave those records out. They are held in memory.
        """
        narrow = Records(self.path)
        narrow._join = self._join | outcomes
        narrow._tests, narrow._needles = [*self._tests], [*self._needles]
        wanted = {} if decision is None else {"decision": decision}
        if callable(where):
            narrow._tests.append(where)
        elif is_a(where, (Mapping, type(None))):
            wanted |= where or {}
        else:
            raise TypeError(f"where= takes values by field, or a test, not {where!r}")
        for path, value in wanted.items():
            narrow._tests.append(_test(path, value))
            if isinstance(value, str) and not path.startswith("outcomes"):
                narrow._needles.append(_needle(path, value))
        return narrow

    def count(self, by: By = "decision") -> dict[Any, int]:
        """Count the records by a field or a function, most frequent first.

        Records without the field count under None; lists and mappings as JSON.
        """
        found: dict[Any, int] = {}
        for record in self:
            key: Any = by(record) if callable(by) else _find(record, by, None)
            if is_a(key, (list, dict)):
                key = to_json(key).decode()
            found[key] = found.get(key, 0) + 1
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    def tail(self, n: int = 10) -> list[Record]:
        """Return the last `n` records that match, in order, read from the end."""
        lines = chain.from_iterable(map(backwards, reversed(self._parts())))
        matches = self._matching(lines, self._outcomes(), reversed)
        return list(islice(matches, n))[::-1]

    def _parts(self) -> list[Path]:
        self.torn = self.foreign = 0
        found = [p for _, p in parts(self.path)] if self.path.parent.is_dir() else []
        if not found:
            raise FileNotFoundError(2, "no decision log here", str(self.path))
        return found

    def _outcomes(self) -> _Outcomes:
        if not self._join:
            return None
        found: dict[str, list[Record]] = {}
        every = Records(self.path)
        every._needles = [b'"of":"']
        for record in every:
            if "of" in record:
                found.setdefault(str(record["of"]), []).append(record)
        return found

    def _matching(
        self, lines: Iterable[bytes], outcomes: _Outcomes, order: Any = iter
    ) -> Iterator[Record]:
        for line in filter(self._may_match, lines):
            for record in order(self._parsed(line)):
                if outcomes is not None:
                    if "of" in record:
                        continue
                    record["outcomes"] = outcomes.get(record["id"], [])
                if not self._tests or all(test(record) for test in self._tests):
                    yield record

    def _may_match(self, line: bytes) -> bool:
        for text in self._needles:
            if text not in line:
                return not line.startswith(MARK)
        return True

    def _parsed(self, line: bytes) -> Sequence[Record]:
        """Return the record in a line; several if torn ones stand before them."""
        if line.startswith(MARK):
            try:
                return (orjson.loads(line),)
            except orjson.JSONDecodeError:
                return self._salvaged(line)
        text = line.strip(b"\0 \t\r\n")
        if MARK in text:
            return self._salvaged(text)
        if text:
            return self._rewritten(text)
        self.torn += b"\0" in line  # what a power cut may leave
        return ()

    def _rewritten(self, text: bytes) -> Sequence[Record]:
        try:
            found: Any = orjson.loads(text)
        except orjson.JSONDecodeError:
            found = None
        # The same record written again by another tool, spaced otherwise, is ours.
        ours = is_a(found, dict) and found.get("v") == 1 and is_a(found.get("id"), str)
        if ours and is_a(found.get("of", ""), str):
            return (found,)
        self._not_ours(text if found is None else b"")
        return ()

    def _salvaged(self, line: bytes) -> Sequence[Record]:
        before, *pieces = line.split(MARK)
        if before:
            self._not_ours(before)
        found: list[Record] = []
        for piece in pieces:
            try:
                found.append(orjson.loads(MARK + piece.rstrip(b"\0\n")))
            except orjson.JSONDecodeError:
                self.torn += 1
        return found

    def _not_ours(self, text: bytes) -> None:
        short = bool(text) and (text[:6] == MARK[:6] or MARK.startswith(text))
        self.torn += short
        self.foreign += not short


def _find(value: Any, path: str, default: Any = _NOTHING) -> Any:
    """Look a field up by its name, or by names and indices joined by dots."""
    if is_a(value, dict) and path in value:
        return value[path]
    name, _, rest = path.partition(".")
    try:
        inner = value[int(name)] if is_a(value, list) else value[name]
    except (LookupError, TypeError, ValueError):
        return default
    return _find(inner, rest, default) if rest else inner


def _test(path: str, value: Any) -> Callable[[Record], object]:
    test: Any = value if callable(value) else partial(eq, plain(value))
    return lambda r: (found := _find(r, path)) is not _NOTHING and test(found)


def _needle(path: str, value: str) -> bytes:
    """Return bytes that a line of ours holds if it has the value at the path."""
    name = path.rpartition(".")[2]
    if name.lstrip("-").isdecimal():
        return to_json(value)  # an index has no key
    return to_json(name)[1:] + b":" + to_json(value)
