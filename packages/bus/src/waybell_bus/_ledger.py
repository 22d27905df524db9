"""What went wrong, counted and kept, and never in the way."""

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable

from waybell_bus._event import Event, Outcome


_log = logging.getLogger("waybell_bus")
_KEPT = 100  # Errors and dead letters.
_TOPICS = 1000  # Of the topics warned about, to be quiet the next time.

OnError = Callable[[Event, Outcome], object]


class Ledger:
    """The counters and rings of one bus.

    Args:
        on_error: Told of errors that nobody waits for; they are logged without it.
    """

    __slots__ = ("_lock", "_on_error", "_warned", "counts", "dead", "errors")

    def __init__(self, on_error: OnError | None) -> None:
        self._on_error = on_error
        self._lock = threading.Lock()
        self._warned: dict[tuple[str, str], None] = {}
        self.counts: Counter[str] = Counter()
        self.dead: deque[Event] = deque(maxlen=_KEPT)
        self.errors: deque[tuple[Event, Outcome]] = deque(maxlen=_KEPT)

    def count(self, what: str) -> None:
        """Add one, whatever the thread."""
        with self._lock:
            self.counts[what] += 1

    def fail(self, event: Event, outcome: Outcome) -> None:
        """Keep an error that nobody waits for, and pass it on."""
        self.errors.append((event, outcome))
        if self._on_error is None:
            _log.error(
                "%s failed on %s", outcome.handler, event.topic, exc_info=outcome.error
            )
            return
        try:
            self._on_error(event, outcome)
        except Exception:
            self.count("on_error_errors")
            _log.exception("on_error failed on %s", event.topic)

    def unheard(self, event: Event) -> None:
        """Keep an event that reached nobody."""
        self.count("dead_letters")
        self.dead.append(event)
        self.warn("nobody answers %s", event.topic)

    def warn(self, text: str, name: str) -> None:
        """Log something once for each name."""
        with self._lock:
            known = (text, name) in self._warned
            if not known:
                self._warned[text, name] = None
                if len(self._warned) > _TOPICS:
                    del self._warned[next(iter(self._warned))]
        if not known:
            _log.warning(text, name)
