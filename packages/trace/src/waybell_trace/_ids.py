"""Span and trace ids that neither `random.seed` nor `os.fork` can repeat."""

import os
import random

from opentelemetry.sdk.trace.id_generator import IdGenerator


# Seeded by the operating system, apart from the generator users may seed.
_source = random.Random()
# How many forks lie between the first process and this one.
forks = [0]


class FreshIds(IdGenerator):
    """Ids from a private generator that is seeded anew in each process."""

    __slots__ = ()

    def generate_span_id(self) -> int:
        """A 64-bit id, never 0."""
        return _source.getrandbits(64) or 1

    def generate_trace_id(self) -> int:
        """A 128-bit id, never 0."""
        return _source.getrandbits(128) or 1


def _forked() -> None:
    _source.seed()
    forks[0] += 1


os.register_at_fork(after_in_child=_forked)
