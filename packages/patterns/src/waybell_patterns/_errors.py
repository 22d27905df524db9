"""The error tree: PatternError is the root, and every leaf says what is missing."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches


class PatternError(Exception):
    """Something in a pattern failed; the root of this package's errors."""


class IncompleteError(PatternError):
    """A value was asked for, but something is missing.

    Args:
        message: What is missing.
        result: The typed result, with everything that was finished; None where every
            agent of a fallback failed.
        errors: What the agents raised, by name.
    """

    def __init__(
        self,
        message: str,
        result: object = None,
        errors: Mapping[str, Exception] | None = None,
    ) -> None:
        super().__init__(message, result, errors)
        self.result = result
        self.errors = dict(errors or {})

    def __str__(self) -> str:
        return str(self.args[0])


class UnknownIntentError(PatternError, LookupError):
    """The classifier named no route, or none it was sure enough of.

    Args:
        intent: What the classifier said.
        known: The intents that have a route.
        confidence: The classifier's confidence, 0 to 1, or None if it gave none.
        threshold: The confidence that was asked for.
    """

    def __init__(
        self,
        intent: str,
        known: Iterable[str],
        confidence: float | None = None,
        threshold: float = 0.0,
    ) -> None:
        super().__init__(intent, tuple(known), confidence, threshold)
        self.intent, self.known, self.confidence, self.threshold = self.args

    def __str__(self) -> str:
        if self.intent in self.known:
            return (
                f"the classifier is {self.confidence:.2f} sure of {self.intent!r}, "
                f"below threshold={self.threshold:.2f}, and there is no default= route"
            )
        if not self.intent and self.confidence == 0.0:
            return "no example resembles it; give default="
        routes = ", ".join(map(repr, self.known))
        return f"no route for intent {self.intent!r}; there are {routes}"


def meant(name: str, known: Iterable[str]) -> str:
    """Which of the known names may be meant by one that is not."""
    near = get_close_matches(name, names := [*known], 1)
    return f"did you mean {near[0]!r}?" if near else f"there are {str(names)[1:-1]}"
