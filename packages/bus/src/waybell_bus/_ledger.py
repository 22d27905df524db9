"""What went wrong, counted and kept, and never in the way."""

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable

from waybell_bus._event import Event, Outcome


_log = logging.getLogger("waybell_bus")
OnError = Callable[[Event, Outcome], object]


class Ledger:
    """The counters and rings of one bus."""

    __slots__ = ("_lock", "_on_error", "_warned", "counts", "dead", "errors")

    def __init__(self, on_error: OnError | None) -> None:
        self._lock = threading.Lock()
        self._on_error = on_error
        self._warned: dict[str, None] = {}  # Bounded: a topic may be warned of again.
        self.counts: Counter[str] = Counter()
        self.dead: deque[Event] = deque(maxlen=100)
        self.errors: deque[tuple[Event, Outcome]] = deque(maxlen=100)

    def count(self, what: str) -> None:
        """Add one, whatever the thread."""
        with self._lock:
            self.counts[what] += 1

    def fail(self, event: Event, outcome: Outcome) -> None:
        """Keep an error that nobody waits for, and pass it on, to the log at least."""
        self.errors.append((event, outcome))
        error, text = outcome.error, f"{outcome.handler} failed on {event.topic}"
        try:
            if self._on_error is not None:
                self._on_error(event, outcome)
                return
        except Exception as worse:
            self.count("on_error_errors")
            error, text = worse, f"on_error failed on {event.topic}"
        _log.error(text, exc_info=error)

    def warn(self, text: str) -> None:
        """Log something once."""
        with self._lock:
            known = text in self._warned
            self._warned[text] = None
            if len(self._warned) > 1000:
                del self._warned[next(iter(self._warned))]
        if not known:
            _log.warning(text)
