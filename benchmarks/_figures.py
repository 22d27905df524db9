"""Medians, paired ratios and their spread."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles

from benchmarks._cases import Case, Contestant, Target


@dataclass(frozen=True, slots=True)
class Sample:
    """One round: CPU and wall time of one operation, or a value twice."""

    cpu: float
    wall: float


Samples = Sequence[Sample | None]


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of one contestant, round by round.

    Args:
        contestant: Of whom.
        samples: None for a round it sat out.
        reference: The limit's samples of the same rounds and environment.
    """

    contestant: Contestant
    samples: Samples
    reference: Samples = ()

    @property
    def cpu(self) -> float:
        """The median CPU time, or the median value."""
        return median(sample.cpu for sample in self.samples if sample)

    @property
    def wall(self) -> float:
        """The median wall time."""
        return median(sample.wall for sample in self.samples if sample)

    def ratio(self) -> tuple[float, float, float] | None:
        """How many times the limit: lower quartile, median, upper quartile."""
        return paired(self.samples, self.reference)


@dataclass(slots=True)
class CaseResult:
    """A measured case.

    Args:
        case: Which.
        rows: In the order of the case.
        left_out: Labels and reasons.
        versions: Of the distributions the contestants name.
    """

    case: Case
    rows: list[Row] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    def row(self, key: str) -> Row | None:
        """The row of that key, if it was measured."""
        return next((row for row in self.rows if row.contestant.key == key), None)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target and what was measured.

    Args:
        target: The promise.
        measured: None if it was not measured.
    """

    target: Target
    measured: float | None

    @property
    def words(self) -> str:
        """Met or missed, in plain words."""
        target, measured = self.target, self.measured
        if measured is None:
            return "not measured"
        if target.at_least is not None and measured < target.at_least:
            return "missed"
        if target.at_most is not None and measured > target.at_most:
            return "missed"
        if target.aim is None:
            return "met"
        return "aim reached" if measured <= target.aim else "met, aim missed"


def paired(samples: Samples, reference: Samples) -> tuple[float, float, float] | None:
    """Quartiles of the ratio of two rows, round by round."""
    ratios = [
        mine.cpu / theirs.cpu
        for mine, theirs in zip(samples, reference, strict=False)
        if mine and theirs and theirs.cpu
    ]
    return quartiles(ratios) if ratios else None


def faster(samples: Samples, reference: Samples) -> tuple[float, float, float] | None:
    """Quartiles of how many times as much was done in the same time, round by round."""
    ratios = [
        theirs.wall / mine.wall
        for mine, theirs in zip(samples, reference, strict=False)
        if mine and theirs and mine.wall
    ]
    return quartiles(ratios) if ratios else None


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The lower one, the median and the upper one."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return low, middle, high


def verdict(target: Target, result: CaseResult | None) -> Verdict:
    """Hold a target against what was measured."""
    ours = result.row(target.ours) if result else None
    if ours is None:
        return Verdict(target, None)
    if target.against is None:
        return Verdict(target, ours.cpu)
    other = result.row(target.against)
    if other and target.at_least is not None:
        spread = faster(ours.samples, other.samples)
    else:
        spread = paired(ours.samples, other.samples) if other else None
    return Verdict(target, spread[1] if spread else None)
