"""`waybell decisions`: what was decided, filtered and counted."""

import argparse
import operator
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from typing import Any, Final, cast

import orjson
from rich.text import Text

from waybell_decisions import DecisionLog
from waybell_report import _terminal as tty
from waybell_report._inputs import ReportError


_MORE = """\
examples:
  waybell decisions                                    the last 50
  waybell decisions --where decision=route --since 10m
  waybell decisions --where 'confidence<0.6' --where given.prompt~refund --all
  waybell decisions --count decision
  waybell decisions runs/7 --json | jq .to

conditions: FIELD=VALUE, !=, <, <=, >, >=, and ~ (contains). A dot looks inside:
given.prompt, outcomes.0.correct. A value is read as JSON where it is JSON.
times: 90s, 10m, 2h, 3d before now, or 2026-11-20T12:00 in UTC.

exit codes: 0 shown, 1 nothing matches, 2 the words were off, or nothing to read.
"""
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_TESTS: Final[dict[str, Callable[[Any, Any], object]]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le,
    ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_COLOURS: Final = {"error": "red", "failed": "red", "incomplete": "yellow"}
_CONDITION: Final = re.compile(r"\s*([^=!<>~]+?)\s*(!=|<=|>=|==?|<|>|~)(.*)", re.DOTALL)
_OWN: Final = frozenset(
    {"v", "id", "time", "pid", "seq", "trace_id", "span_id", "decision"}
)


def parser() -> argparse.ArgumentParser:
    """The words of this command."""
    words = tty.Words("decisions", "What was decided, and why: a run's records.", _MORE)
    add = words.add_argument
    add("--where", metavar="TEST", action="append", default=[], type=condition,
        help="only records that pass; may be given again")  # fmt: skip
    add("--since", metavar="TIME", type=moment, help="only those from then on")
    add("--until", metavar="TIME", type=moment, help="only those before")
    add("--count", metavar="FIELD", help="count by a field instead of listing")
    add("--limit", metavar="N", type=tty.count, default=50, help="the last N [50]")
    add("--all", action="store_true", help="every record, from the first one on")
    return words


def command(argv: Sequence[str]) -> int:
    """List, filter and count the decisions of a run."""
    return tty.run(parser(), argv, _decisions)


def condition(text: str) -> Callable[[dict[str, Any]], bool]:
    """A test of a record, from words like `confidence<0.6`."""
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no condition: FIELD=VALUE, or with != < <= > >= ~"
        )
    field, sign, written = found.groups()
    sign = "=" if sign == "==" else sign
    wanted: list[Any] = [written]
    with suppress(orjson.JSONDecodeError):
        wanted.append(orjson.loads(written))
    return partial(_passes, field, sign, wanted)


def _passes(field: str, sign: str, wanted: list[Any], record: dict[str, Any]) -> bool:
    value = looked_up(record, field)
    if sign == "~":
        said = value if isinstance(value, str) else orjson.dumps(value).decode()
        return value is not None and wanted[0].lower() in said.lower()
    if sign in ("=", "!="):
        equal = any(value == each and _kind(value) == _kind(each) for each in wanted)
        return equal == (sign == "=")
    test = _TESTS[sign]
    return any(_ordered(test, value, each) for each in wanted)


def _ordered(test: Callable[[Any, Any], object], value: Any, bound: Any) -> bool:
    kind = _kind(value)
    return kind in (float, str) and kind is _kind(bound) and bool(test(value, bound))


def _kind(value: object) -> type[object]:
    """The type that JSON knows: one for all numbers, of which true is none."""
    return float if type(value) is int else type(value)


def looked_up(record: object, field: str) -> Any:
    """A field by its name, or names and indices joined by dots; None if it is not there."""
    found: Any = record
    rest = field
    while True:
        fields = _fields(found)
        if rest in fields:
            return fields[rest]
        name, dot, rest = rest.partition(".")
        indexed = isinstance(found, list)
        if indexed:
            place = int(name) if re.fullmatch(r"-?\d{1,9}", name) else None
            found = _at(found, place)
        else:
            found = fields.get(name)
        if not dot or found is None:
            return found


def _fields(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _at(items: list[Any], place: int | None) -> Any:
    there = place is not None and -len(items) <= place < len(items)
    return items[place] if there and place is not None else None


def moment(text: str, now: Callable[[], float] = time.time) -> float:
    """Seconds since 1970, from `10m` before now or a time in UTC."""
    if (ago := re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)) is not None:
        return now() - float(ago[1]) * _UNITS[ago[2]]
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time: 90s, 10m, 2h, 3d, or 2026-11-20T12:00"
        ) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _decisions(options: argparse.Namespace) -> int:
    inputs = tty.opened(options.path)
    if not inputs.decisions:
        only = ", ".join(map(str, inputs.traces))
        raise ReportError(f"no decisions.jsonl there, only {only}")
    options.seen, test = 0, _test(options)
    log = [DecisionLog.read(path).query(where=test) for path in inputs.decisions]
    if options.count:
        counts = _counted(log, options.count)
        _print_counts(counts, options)
        found = len(counts)
    elif options.all:
        found = _listed(tty.watched(chain(*log), "records read:"), options)
    else:
        last = [each for records in log for each in records.tail(options.limit)]
        last = sorted(last, key=_time)[-options.limit :]
        found = _listed(last, options)
    tty.warn("waybell decisions", inputs, log)
    if not found:
        tty.say(f"waybell decisions: 0 of {options.seen:,} records match")
        return 1
    return 0


def _listed(records: Iterable[dict[str, Any]], options: argparse.Namespace) -> int:
    number = 0
    for number, record in enumerate(records, 1):  # noqa: B007 - how many there were
        if options.json:
            tty.emit(record)
        else:
            tty.put(listed(record))
    return number


def _test(options: argparse.Namespace) -> Callable[[dict[str, Any]], bool]:
    def wanted(record: dict[str, Any]) -> bool:
        options.seen += 1
        when = _time(record)
        return (
            (options.since is None or when >= options.since)
            and (options.until is None or when < options.until)
            and all(test(record) for test in options.where)
        )

    return wanted


def _time(record: dict[str, Any]) -> float:
    when = record.get("time")
    return float(when) if isinstance(when, int | float) else 0.0


def _counted(log: list[Any], field: str) -> dict[str, int]:
    found = Counter[str]()
    records: Iterator[dict[str, Any]] = chain(*log)
    for record in tty.watched(records, "records read:"):
        value = looked_up(record, field)
        found[value if isinstance(value, str) else orjson.dumps(value).decode()] += 1
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _print_counts(found: dict[str, int], options: argparse.Namespace) -> None:
    if options.json:
        tty.emit(found)
        return
    width = max((len(f"{times:,}") for times in found.values()), default=0)
    for name, times in found.items():
        tty.put(Text(f"{times:>{width},}  {tty.visible(name)}"))


def listed(record: dict[str, Any]) -> Text:
    """A record on one line."""
    line = Text(tty.clock(_time(record)), style="dim")
    colour = _COLOURS.get(str(record.get("outcome")), "")
    name = tty.visible(record.get("decision", ""), 40)
    line.append(f"{name:<12}", f"bold {colour}".strip())
    for key, found in record.items():
        if key not in _OWN and found is not None:
            line.append(f"  {tty.visible(key, 40)}=", style="dim")
            value = round(found, 6) if isinstance(found, float) else found
            said = value if isinstance(value, str) else orjson.dumps(value).decode()
            line.append(tty.visible(said, 120))
    return line
