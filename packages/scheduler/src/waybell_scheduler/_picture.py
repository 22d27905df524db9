"""A queue as a picture: Mermaid's text, or an SVG that needs no network and no script."""
# pyright: reportPrivateUsage=false
# ruff: noqa: SLF001 - it draws what the queue keeps

import re
from typing import NamedTuple
from unicodedata import east_asian_width

from waybell_scheduler._errors import QueueError, message
from waybell_scheduler._graph import Graph
from waybell_scheduler._layout import BOX, Layout, layers


_HIGH, _STEP, _MARGIN = 48.0, 96.0, 20.0  # of a box, from layer to layer, around all
_INK, _LINE = "#1f2328", "#59636e"
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


class _Look(NamedTuple):
    sign: str
    fill: str
    line: str
    dash: str
    corner: int  # rounding of the box; -1 cuts the corners off
    shape: tuple[str, str]  # Mermaid's brackets


_LOOKS = {
    "waiting": _Look("…", "#ffffff", "#8c959f", "", 0, ('["', '"]')),
    "ready": _Look("○", "#ddf4ff", "#0969da", "", 8, ('("', '")')),
    "running": _Look("▶", "#fff8c5", "#9a6700", "", 24, ('(["', '"])')),
    "done": _Look("✓", "#dafbe1", "#1a7f37", "", 4, ('[["', '"]]')),
    "failed": _Look("✗", "#ffebe9", "#cf222e", "", -1, ('{{"', '"}}')),
    "cancelled": _Look("⊘", "#ffefe7", "#bc4c00", "2 3", -1, ('[\\"', '"\\]')),
    "suspended": _Look("‖", "#fbefff", "#8250df", "8 3", 12, ('[("', '")]')),
    "skipped": _Look("↷", "#f6f8fa", "#8c959f", "5 4", 0, ('[/"', '"/]')),
}


def mermaid(queue: Graph) -> str:
    """The graph as a Mermaid flowchart, each task with its state in words and shape."""
    states = _states(queue)
    lines = ["flowchart TD"]
    for i, (task, state) in enumerate(zip(queue.tasks, states, strict=True)):
        before, after = _LOOKS[state].shape
        label = f"{_quoted(_cut(task.id, 48))}<br/>{state}"
        lines.append(f"  t{i}{before}{label}{after}:::{state}")
    lines += [
        f"  t{i} --> t{j}" for j, found in enumerate(_needs(queue)) for i in found
    ]
    for state in sorted(set(states)):
        look = _LOOKS[state]
        dash = f",stroke-dasharray:{look.dash}" if look.dash else ""
        lines.append(
            f"  classDef {state} fill:{look.fill},stroke:{look.line},color:{_INK}{dash}"
        )
    return "\n".join(lines) + "\n"


def svg(queue: Graph, most: int = 1000) -> str:
    """The graph as one SVG document, each task with its state in words and shape.

    Args:
        queue: What to draw.
        most: Tasks that still make a picture; of arrows, twenty times as many layers
            that they pass.

    Raises:
        QueueError: There are more.
    """
    needs = _needs(queue)
    _check_size(needs, most)
    layout = Layout(needs)
    width = max(layout.width(), BOX) + 2 * _MARGIN
    high = len(layout.rows) * _STEP + 2 * _MARGIN
    states = _states(queue)
    counts = (
        ", ".join(f"{states.count(s)} {s}" for s in _LOOKS if s in states) or "no tasks"
    )
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {high:.0f}" '
        f'width="{width:.0f}" height="{high:.0f}" role="img" aria-label="Tasks: {counts}" '
        'font-family="system-ui, sans-serif" font-size="13">'
        f'<rect width="100%" height="100%" fill="#ffffff"/>'
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" '
        f'markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8z" fill="{_LINE}"/>'
        "</marker></defs>"
    )
    arrows = [_arrow(layout, i, j) for j, found in enumerate(needs) for i in found]
    boxes = [_box(queue, layout, i, state) for i, state in enumerate(states)]
    foot = (
        f'<text x="{_MARGIN:.0f}" y="{high - 12:.0f}" font-size="12" fill="{_LINE}">'
        f"{counts}</text></svg>\n"
    )
    return "\n".join([head, *arrows, *boxes, foot])


def _check_size(needs: list[list[int]], most: int) -> None:
    if len(needs) > most:
        raise QueueError(f"{len(needs)} tasks make no legible picture (most={most})")
    layer = layers(needs)
    passed = sum(layer[j] - layer[i] for j, found in enumerate(needs) for i in found)
    if passed > 20 * most:
        raise QueueError(
            f"arrows that pass {passed} layers make no legible picture (20 * most={most})"
        )


def _states(queue: Graph) -> list[str]:
    return [queue.standing(i) for i in range(len(queue.tasks))]


def _needs(queue: Graph) -> list[list[int]]:
    return [
        [queue._index[name] for name in dict.fromkeys(task.depends_on)]
        for task in queue.tasks
    ]


def _arrow(layout: Layout, i: int, j: int) -> str:
    """A curve from the foot of one box to the head of another, down its lanes."""
    x, y = layout.x[i] + _MARGIN, _top(layout, i) + _HIGH
    path = f"M{x:.1f} {y:.1f}"
    for v in (*layout.lanes[i, j], j):
        x2, y2 = layout.x[v] + _MARGIN, _top(layout, v)
        middle = (y + y2) / 2
        path += f"C{x:.1f} {middle:.1f} {x2:.1f} {middle:.1f} {x2:.1f} {y2:.1f}"
        x, y = x2, y2
        if v != j:
            y += _HIGH
            path += f"V{y:.1f}"
    return f'<path d="{path}" fill="none" stroke="{_LINE}" marker-end="url(#arrow)"/>'


def _top(layout: Layout, v: int) -> float:
    return _MARGIN + layout.layer[v] * _STEP


def _box(queue: Graph, layout: Layout, i: int, state: str) -> str:
    task, look = queue.tasks[i], _LOOKS[state]
    x, y = layout.x[i] + _MARGIN - BOX / 2, _top(layout, i)
    root = queue._stems.get(i, -1)
    stem = queue.tasks[root].id if root >= 0 else ""
    after = f", after {_cut(stem, 8)}" if stem else ""
    error = queue._errors.get(i)
    told = (
        task.id,
        f"{state}, after {stem}" if stem else state,
        task.agent,
        task.description,
        error is not None and f"{type(error).__name__}: {message(error)}",
    )
    title = "\n".join(_cut(str(part), 400) for part in told if part)
    dash = f' stroke-dasharray="{look.dash}"' if look.dash else ""
    paint = f'fill="{look.fill}" stroke="{look.line}" stroke-width="1.5"{dash}'
    middle = x + BOX / 2
    return (
        f"<g><title>{_escaped(title)}</title>{_shape(x, y, look.corner)}{paint}/>"
        f'<text x="{middle:.1f}" y="{y + 20:.1f}" text-anchor="middle" '
        f'font-weight="600" fill="{_INK}">{_escaped(_cut(task.id, 22))}</text>'
        f'<text x="{middle:.1f}" y="{y + 37:.1f}" text-anchor="middle" font-size="12" '
        f'fill="{_INK}">{look.sign} {_escaped(state + after)}</text></g>'
    )


def _shape(x: float, y: float, corner: int) -> str:
    """The beginning of a box's element, without its paint."""
    if corner >= 0:
        return (
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{BOX:.0f}" height="{_HIGH:.0f}" '
            f'rx="{corner}" '
        )
    right, low, cut = x + BOX, y + _HIGH, 12
    return (
        f'<path d="M{x + cut:.1f} {y:.1f}H{right - cut:.1f}L{right:.1f} {y + cut:.1f}'
        f"V{low - cut:.1f}L{right - cut:.1f} {low:.1f}H{x + cut:.1f}"
        f'L{x:.1f} {low - cut:.1f}V{y + cut:.1f}z" '
    )


def _cut(text: str, room: int) -> str:
    """As much of a text as fits, in letters of usual width; wide ones count twice."""
    used = 0
    for k, letter in enumerate(text):
        used += 2 if east_asian_width(letter) in "WF" else 1
        if used > room:
            return text[: max(1, k - 1)].rstrip() + "…"
    return text


def _escaped(text: str) -> str:
    text = _ILLEGAL.sub("\ufffd", text)
    for letter, name in (("&", "amp"), ("<", "lt"), (">", "gt"), ('"', "quot")):
        text = text.replace(letter, f"&{name};")
    return text


def _quoted(text: str) -> str:
    """Text inside Mermaid's quotes: all that could mean something there by number."""
    text = _ILLEGAL.sub("\ufffd", text)
    return re.sub(r"[^\w .,:/()\-\ufffd…]", lambda found: f"#{ord(found[0])};", text)
