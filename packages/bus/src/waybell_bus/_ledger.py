"""What went wrong, counted and kept, and never in the way."""

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable

from waybell_bus._event import Event, Outcome


_log = logging.getLogger("waybell_bus")
_KEPT = 100  # Errors and dead letters.
_NAMED = 1000  # Topics and watchers warned about, to be quiet about next time.

OnError = Callable[[Event, Outcome], object]


class Ledger:
    """The counters and rings of one bus."""

    __slots__ = ("_lock", "_on_error", "_warned", "counts", "dead", "errors")

    def __init__(self, on_error: OnError | None) -> None:
        self._lock = threading.Lock()
        self._on_error = on_error
        self._warned: dict[tuple[str, str], None] = {}
        self.counts: Counter[str] = Counter()
        self.dead: deque[Event] = deque(maxlen=_KEPT)
        self.errors: deque[tuple[Event, Outcome]] = deque(maxlen=_KEPT)

    def count(self, what: str) -> None:
        """Add one, whatever the thread."""
        with self._lock:
            self.counts[what] += 1

    def fail(self, event: Event, outcome: Outcome) -> None:
        """Keep an error that nobody waits for, and pass it on, to the log at least."""
        self.errors.append((event, outcome))
        text, error = f"{outcome.handler} failed on {event.topic}", outcome.error
        if self._on_error is not None:
            try:
                self._on_error(event, outcome)
            except Exception as worse:
                self.count("on_error_errors")
                text, error = f"on_error failed on {event.topic}", worse
            else:
                return
        _log.error(text, exc_info=error)

    def warn(self, text: str, name: str) -> None:
        """Log something once for each name."""
        with self._lock:
            known = (text, name) in self._warned
            self._warned[text, name] = None
            if len(self._warned) > _NAMED:
                del self._warned[next(iter(self._warned))]
        if not known:
            _log.warning(text, name)
