"""Fakes that the tests share: a deadline and a budget that note what they are asked."""

import pytest


class SpyDeadline:
    """Passes after so many checks."""

    def __init__(self, checks: int = 10**9) -> None:
        self.left = checks

    def check(self) -> None:
        if self.left <= 0:
            raise TimeoutError("the deadline has passed")
        self.left -= 1

    def timeout(self, cap=None):
        return cap if self.left > 0 else 0.0


class Overspent(Exception):
    """What a budget raises."""


class SpyBudget:
    """Books all, and complains past a number of tokens."""

    def __init__(self, tokens: float = float("inf")) -> None:
        self.tokens = tokens
        self.checked = []
        self.charged = []

    def check(self, **amounts) -> None:
        self.checked.append(amounts)
        if amounts["tokens"] > self.tokens:
            raise Overspent("before")

    def charge(self, **amounts) -> None:
        self.charged.append(amounts)
        if sum(amounts["usage"].values()) > self.tokens:
            raise Overspent("after")


@pytest.fixture
def spies():
    """The fakes, as a namespace."""

    class Spies:
        Deadline = SpyDeadline
        Budget = SpyBudget
        Overspent = Overspent

    return Spies
