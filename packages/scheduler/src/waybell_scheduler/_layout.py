"""Where to draw each task of a graph: in layers, arrows around the boxes between them."""
# After Sugiyama, Tagawa and Toda 1981, with the simplest known part for each step.

from collections.abc import Mapping, Sequence

from waybell_scheduler._order import in_order


BOX, LANE, GAP = 184.0, 12.0, 20.0  # widths: of a box, of an arrow that passes, between
_SWEEPS = 4


class Layout:
    """Positions for boxes, and the lanes in which arrows pass by other boxes.

    Args:
        needs: For each task, the numbers of those it depends on.
    """

    __slots__ = ("_above", "_below", "_boxes", "lanes", "layer", "rows", "x")

    def __init__(self, needs: Sequence[Sequence[int]]) -> None:
        self._boxes = len(needs)
        self._above: list[list[int]] = [[] for _ in needs]
        self._below: list[list[int]] = [[] for _ in needs]
        self.layer = layers(needs)  # of each box, then of each lane
        self.rows: list[list[int]] = [
            [] for _ in range(max(self.layer, default=-1) + 1)
        ]
        for i, layer in enumerate(self.layer):
            self.rows[layer].append(i)
        self.lanes: dict[tuple[int, int], list[int]] = {}  # of arrows past a layer
        for j, found in enumerate(needs):
            for i in found:
                self._link(i, j)
        for sweep in range(_SWEEPS):
            self._sort(down=sweep % 2 == 0)
        self.x: list[float] = [0.0] * len(self.layer)  # centres
        self._spread()

    def _spread(self) -> None:
        """Find the centres, the first box at the left edge."""
        for row in self.rows:
            self._place(row, [0.0] * len(row))
        for sweep in range(_SWEEPS):
            self._straighten(down=sweep % 2 == 1)
        left = min(
            (self.x[v] - self._width(v) / 2 for v in range(len(self.x))), default=0.0
        )
        self.x = [x - left for x in self.x]

    def width(self) -> float:
        """From the left edge of all to the right edge."""
        return max((x + self._width(v) / 2 for v, x in enumerate(self.x)), default=0.0)

    def _width(self, v: int) -> float:
        return BOX if v < self._boxes else LANE

    def _link(self, i: int, j: int) -> None:
        """Draw an arrow from one box to one further down, through lanes between."""
        lanes: list[int] = []
        last = i
        for layer in range(self.layer[i] + 1, self.layer[j]):
            lane = len(self.layer)
            self.layer.append(layer)
            self.rows[layer].append(lane)
            self._above.append([])
            self._below.append([])
            lanes.append(lane)
            self._join(last, lane)
            last = lane
        self._join(last, j)
        self.lanes[i, j] = lanes

    def _join(self, upper: int, lower: int) -> None:
        self._below[upper].append(lower)
        self._above[lower].append(upper)

    def _sort(self, down: bool) -> None:
        """Order each row by the middle of its neighbours, so that few arrows cross."""
        place = {v: k for row in self.rows for k, v in enumerate(row)}
        near = self._above if down else self._below
        for row in self.rows if down else reversed(self.rows):
            middle = {v: _mean(v, near, place) for v in row}
            row.sort(key=middle.__getitem__)
            place.update({v: k for k, v in enumerate(row)})

    def _straighten(self, down: bool) -> None:
        """Move each box below (or above) the middle of its neighbours."""
        near = self._above if down else self._below
        for row in self.rows if down else reversed(self.rows):
            self._place(row, [_mean(v, near, self.x) for v in row])

    def _place(self, row: list[int], wish: list[float]) -> None:
        """Set a row as near as may be to where it would be, without overlaps."""
        at: list[float] = []
        for k, v in enumerate(row):
            x = wish[k]
            if at:
                x = max(
                    x, at[-1] + (self._width(row[k - 1]) + self._width(v)) / 2 + GAP
                )
            at.append(x)
        shift = sum(w - x for w, x in zip(wish, at, strict=True)) / max(1, len(row))
        for v, x in zip(row, at, strict=True):
            self.x[v] = x + shift


def _mean(
    v: int, near: list[list[int]], at: Mapping[int, int] | Sequence[float]
) -> float:
    some = near[v] or [v]
    return sum(at[u] for u in some) / len(some)


def layers(needs: Sequence[Sequence[int]]) -> list[int]:
    """Of each task, the longest way from a task that needs nothing."""
    after: list[list[int]] = [[] for _ in needs]
    for j, found in enumerate(needs):
        for i in found:
            after[i].append(j)
    layer = [0] * len(needs)
    for i in in_order(after):
        layer[i] = max((layer[k] + 1 for k in needs[i]), default=0)
    return layer
