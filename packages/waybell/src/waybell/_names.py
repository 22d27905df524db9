"""Which package defines each public name."""

HOMES: dict[str, str] = {}
