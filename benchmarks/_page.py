"""The tables: for the terminal, and for docs/performance.md."""

import datetime as dt
import os
import platform
import subprocess
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from benchmarks._cases import Suite
from benchmarks._driver import Effort
from benchmarks._environments import NEWER, environment
from benchmarks._figures import CaseResult, Row, Verdict, quartiles, verdict


@dataclass(slots=True)
class Report:
    """Everything one run measured.

    Args:
        effort: How long it measured.
        results: By suite, in order.
        command: What was called.
        load: Of the machine when it began.
    """

    effort: Effort
    command: str = "make bench"
    results: list[tuple[Suite, list[CaseResult]]] = field(default_factory=list)
    load: float = field(default_factory=lambda: os.getloadavg()[0])

    def verdicts(self) -> list[Verdict]:
        """Every target of the suites that were run."""
        return [
            verdict(target, next((r for r in results if r.case is target.case), None))
            for suite, results in self.results
            for target in suite.targets
        ]

    def versions(self) -> dict[str, str]:
        """Of the peers, by distribution."""
        found: dict[str, str] = {}
        for _, results in self.results:
            for result in results:
                found |= result.versions
        return dict(sorted(found.items()))

    def left_out(self) -> dict[str, str]:
        """What was not measured, and why."""
        found: dict[str, str] = {}
        for suite, results in self.results:
            found |= dict(suite.left_out)
            for result in results:
                for label, reason in result.left_out:
                    found[f"{label} ({suite.title.lower()}, {result.case.name})"] = (
                        reason
                    )
        return found


def page(report: Report, *, whole: bool = True) -> str:
    """The page, in Markdown."""
    titles = ", ".join(suite.title.lower() for suite, _ in report.results)
    head = "# Performance" if whole else f"# Performance: {titles}"
    parts = [head, _preamble(report), "## Targets", targets(report)]
    for suite, results in report.results:
        parts.append(f"## {suite.title}")
        parts += [section(result) for result in results if result.rows]
    parts += ["## Versions of the peers", _versions(report)]
    left_out = report.left_out()
    if left_out:
        parts += ["## Left out", _table(["what", "why"], left_out.items())]
    return "\n\n".join(parts) + "\n"


def targets(report: Report) -> str:
    """What we promised, what was measured."""
    rows = []
    for found in report.verdicts():
        target = found.target
        unit = " ms" if target.against is None else " x"
        measured = found.measured
        rows.append(
            (
                target.what,
                number(target.at_most) + unit if target.at_most else "",
                number(target.at_least) + unit if target.at_least else "",
                number(target.aim) + unit if target.aim else "",
                number(measured) + unit if measured is not None else "",
                found.words,
            )
        )
    return _table(["what", "at most", "at least", "aim", "measured", ""], rows)


def section(result: CaseResult) -> str:
    """One case: heading, note, table."""
    case = result.case
    shape = {"growth": _growth, "import": _imports, "rate": _rates, "value": _values}
    body = shape.get(case.kind, _times)(result)
    return "\n\n".join(filter(None, [f"### {case.title}", case.note, body]))


def number(value: float) -> str:
    """Three significant digits, without exponents."""
    if value >= 100:
        return f"{value:,.0f}"
    digits = 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{digits}f}"


def _times(result: CaseResult) -> str:
    compared = result.case.reference() is not None
    heads = ["", "CPU µs", "x limit", "middle half", "wall µs"]
    rows = []
    for row in _ordered(result.rows):
        cells = [_label(row), number(row.cpu), *_ratio(row), number(row.wall)]
        rows.append(cells if compared else [*cells[:2], cells[4]])
    return _table(heads if compared else [*heads[:2], heads[4]], rows)


def _ratio(row: Row) -> tuple[str, str]:
    if row.contestant.role == "limit":
        return "1", ""
    spread = row.ratio()
    if spread is None:
        return "", ""
    return number(spread[1]), f"{number(spread[0])} to {number(spread[2])}"


def _values(result: CaseResult) -> str:
    rows = [(_label(row), f"{row.cpu:,.0f}") for row in _ordered(result.rows)]
    return _table(["", result.case.unit], rows)


def _rates(result: CaseResult) -> str:
    rows = [
        (_label(row), number(1_000_000 / row.wall), number(row.cpu))
        for row in _ordered(result.rows)
    ]
    return _table(["", f"{result.case.unit} a second", "CPU µs"], rows)


def _imports(result: CaseResult) -> str:
    rows = []
    for row in _ordered(result.rows):
        low, middle, high = quartiles([s.cpu for s in row.samples if s])
        rows.append((_label(row), number(middle), f"{number(low)} to {number(high)}"))
    return _table(["", "CPU ms", "middle half"], rows)


def _growth(result: CaseResult) -> str:
    series = list(dict.fromkeys(row.contestant.label for row in result.rows))
    sizes = sorted({row.contestant.size for row in result.rows})
    cells = {(row.contestant.label, row.contestant.size): row for row in result.rows}
    rows = []
    for size in sizes:
        found = [cells.get((label, size)) for label in series]
        figures = [number(row.cpu) if row else "" for row in found]
        rows.append([f"{size:,}", *figures])
    return _table(["there already", *[f"{label}, CPU µs" for label in series]], rows)


def _ordered(rows: list[Row]) -> list[Row]:
    """The limit, ours as they were named, the peers from fast to slow."""
    places = {"limit": 0, "ours": 1, "peer": 2}

    def place(row: Row) -> tuple[int, float]:
        role = row.contestant.role
        return places[role], row.cpu if role == "peer" else 0.0

    return sorted(rows, key=place)


def _label(row: Row) -> str:
    contestant = row.contestant
    dagger = contestant.env in NEWER and "†" not in contestant.label
    label = contestant.label + (" †" if dagger else "")
    if contestant.role == "limit":
        return f"{label} (limit)"
    return f"**{label}**" if contestant.role == "ours" else label


def _preamble(report: Report) -> str:
    today = dt.datetime.now(tz=dt.UTC).date()
    cores = os.cpu_count() or 1
    load = "The machine was otherwise idle when it began."
    if report.load > 0.3:
        load = (
            f"Others used the machine: its load was {report.load:.1f} when this began. "
            "Trust the ratios, not the absolute figures."
        )
    system = f"{platform.system()} on {platform.machine()}"
    version = f"{platform.python_implementation()} {platform.python_version()}"
    effort = report.effort
    paragraphs = (
        f"Made by `{report.command}` on {today}: {system}, {cores} cores, {version}. "
        + load,
        (
            "All of one table was measured in one run, in rounds. Each round runs every "
            "row once, in a new random order, each in a process of its own, for about "
            f"{effort.run_ns // 1_000_000} ms or at least one operation. A figure is the "
            f"median of {effort.rounds} rounds, after one that is dropped; of fewer where "
            "a round takes long. CPU is user and system time of all threads of the "
            "process. The collector of cycles is off "
            "while time is taken. A ratio is the median of the ratios to the limit in the "
            "same round; the middle half of those ratios stands beside it. The loop that "
            "repeats the work is part of every figure."
        ),
        (
            "The limit is the least code that could do the job at all; it lacks what makes "
            "a library worth having. Ours are in bold. Peers run in environments of their "
            f"own, of the versions named at the end.{_dagger(report)}"
        ),
    )
    return "\n\n".join(textwrap.fill(paragraph, 88) for paragraph in paragraphs)


def _dagger(report: Report) -> str:
    used = any(
        row.contestant.env in NEWER
        for _, results in report.results
        for result in results
        for row in result.rows
    )
    python = environment("newer").python if used else None
    if python is None:
        return ""
    told = subprocess.run([python, "-V"], capture_output=True, text=True, check=False)
    return (
        f" A row with † ran on {told.stdout.strip()}, which its peers need, and is "
        "compared with the limit on that Python."
    )


def _versions(report: Report) -> str:
    versions = report.versions()
    if not versions:
        return "None was measured."
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    return textwrap.fill(f"{told}.", 88)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)
