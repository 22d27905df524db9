"""The one error."""

from typing import TYPE_CHECKING


if TYPE_CHECKING:  # the two name each other
    from ._deadline import Deadline


class DeadlineExceeded(TimeoutError):
    """A deadline has passed.

    Args:
        deadline: The one that passed; pickled, it arrives as an expired one.
        seconds: How many seconds it gave.
        elapsed: How many seconds after its start this was noticed.
    """

    def __init__(self, deadline: "Deadline", seconds: float, elapsed: float) -> None:
        given, took = (f"{float(f'{n:.3g}'):.15g}" for n in (seconds, elapsed))
        super().__init__(f"deadline of {given} s passed ({took} s elapsed)")
        self.deadline = deadline
        self.seconds = seconds
        self.elapsed = elapsed

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.deadline, self.seconds, self.elapsed)
