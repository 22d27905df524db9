# pyright: strict
"""Never run: the type checkers must accept what the docs show, as it stands."""

from typing import assert_type

from waybell_decisions import DecisionLog, Records


log = DecisionLog("decisions.jsonl")
records = DecisionLog.read("decisions.jsonl")
assert_type(records, Records)
log.query("route", where={"confidence": lambda c: c < 0.6, "to": "sales", "n": None})
records.query("route", where={"confidence": lambda c: c < 0.6})
records.query(where=lambda record: record["confidence"] < 0.6)
records.query(where={"outcome": "error"}).query(where={"error.type": "TimeoutError"})
assert_type(
    records.count(by=lambda record: record["to"] == "sales").get(True), int | None
)
log.query(where=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
