"""Draw the tables of the performance page as bars, from the table's own figures."""

import math
import re
from html import escape
from itertools import groupby


_WIDTH, _ROW, _LABEL, _FIGURE = 720, 22, 300, 70
_BARS = _WIDTH - _LABEL - _FIGURE
# A table whose rows are compared: what its second column says, beyond these, is no bar.
_UNITS = ("CPU µs", "CPU ms", "a second")


def drawn(text: str) -> str:
    """The page, with a plot before each table that compares at least three rows."""
    parts: list[str] = []
    for table, lines in groupby(text.split("\n"), lambda line: line[:1] == "|"):
        block = list(lines)
        if table and (plot := _plot(block)):
            parts += ["```{raw} html", plot, "```", ""]
        parts += block
    return "\n".join(parts)


def _plot(table: list[str]) -> str | None:
    head, _, *rows = [[cell.strip() for cell in row[1:-1].split("|")] for row in table]
    if head[0] or not head[1].endswith(_UNITS) or len(rows) < 3:
        return None
    bars = [(label, float(figure.replace(",", ""))) for label, figure, *_ in rows]
    low = min(value for _, value in bars if value > 0) / 1.6
    high = max(value for _, value in bars)
    span = math.log(high / low)
    drawn = [
        _bar(place, label, value, max(0.0, math.log(max(value, low) / low) / span))
        for place, (label, value) in enumerate(bars)
    ]
    better = "longer is better" if "second" in head[1] else "shorter is better"
    told = f"{head[1]}, on a logarithmic scale; {better}"
    height = _ROW * len(bars) + 24
    return (
        f'<figure class="bars"><svg viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{escape(told)}; the figures are in the table below">'
        + "".join(drawn)
        + f'<text x="{_LABEL}" y="{height - 4}" class="unit">{escape(told)}</text>'
        + "</svg></figure>"
    )


def _bar(place: int, label: str, value: float, share: float) -> str:
    kind = (
        "ours" if label.startswith("**") else "limit" if "(limit)" in label else "peer"
    )
    name = re.sub(r"[*`]", "", label)
    name = name if len(name) <= 46 else f"{name[:45]}…"
    y = place * _ROW
    width = max(2.0, share * _BARS)
    figure = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return (
        f'<text x="{_LABEL - 8}" y="{y + 15}" class="name {kind}">{escape(name)}</text>'
        f'<rect x="{_LABEL}" y="{y + 4}" width="{width:.1f}" height="14" rx="2" '
        f'class="{kind}"/>'
        f'<text x="{_LABEL + width + 6:.1f}" y="{y + 15}" class="figure">{figure}</text>'
    )
