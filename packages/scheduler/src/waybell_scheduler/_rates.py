"""Requests and tokens per minute, as token buckets that are drawn on in turn."""

from threading import Lock


class Bucket:
    """So much per minute, all of a minute's worth at once if it was saved up.

    It keeps one number, the time at which everything promised is paid for (GCRA): who
    comes is told how long to wait, and who comes later is told a later time. Not
    thread-safe.

    Args:
        per_minute: What flows in, in a minute.
    """

    __slots__ = ("_paid_at", "_second", "_seen")

    def __init__(self, per_minute: float) -> None:
        self._second = 60.0 / per_minute  # of one
        self._paid_at = self._seen = float("-inf")

    def take(self, amount: float, now: float) -> float:
        """Draw an amount; the seconds to wait before using it."""
        if now < self._seen - 1:  # the clock went back, or is another loop's
            self._paid_at += now - self._seen
        self._seen = now
        cost = amount * self._second
        self._paid_at = max(self._paid_at, now) + cost
        return max(0.0, self._paid_at - 60.0 - now)

    def give(self, amount: float) -> None:
        """Put back what was not used, or draw more, negative, than there may be."""
        self._paid_at -= amount * self._second


class Rates:
    """What calls may draw per minute; tokens are guessed before and settled after.

    The guess is what calls took of late, so that many at once do not overdraw far.

    Args:
        requests: Calls per minute, or None.
        tokens: Tokens per minute, or None.
    """

    __slots__ = ("_lock", "_requests", "_tokens", "_typical")

    def __init__(self, requests: float | None, tokens: float | None) -> None:
        self._requests = None if requests is None else Bucket(requests)
        self._tokens = None if tokens is None else Bucket(tokens)
        self._typical = 0.0
        self._lock = Lock()

    def take(self, now: float) -> tuple[float, float]:
        """Draw for one call: the seconds to wait first, and the tokens guessed."""
        with self._lock:
            guess = self._typical if self._tokens is not None else 0.0
            waits = [0.0]
            if self._requests is not None:
                waits.append(self._requests.take(1, now))
            if self._tokens is not None:
                waits.append(self._tokens.take(guess, now))
            return max(waits), guess

    def give(self, guess: float) -> None:
        """Take back what was drawn for a call that was not made."""
        with self._lock:
            if self._requests is not None:
                self._requests.give(1)
            if self._tokens is not None:
                self._tokens.give(guess)

    def settle(self, guess: float, tokens: float) -> None:
        """Say what a call really took."""
        with self._lock:
            if self._tokens is not None:
                self._tokens.give(guess - tokens)
                self._typical += (tokens - self._typical) * 0.2
