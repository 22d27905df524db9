"""A decision log that loses nothing at kill -9, and can be queried.

>>> import tempfile, pathlib
>>> path = pathlib.Path(tempfile.mkdtemp()) / "run" / "decisions.jsonl"
>>> with DecisionLog(path) as log:
...     choice = log.record(decision="route", agent="triage", to="billing")
...     _ = log.outcome(choice, correct=False)
...     _ = log.record(decision="route", agent="triage", to="sales")
>>> [record["to"] for record in DecisionLog.read(path).query("route")]
['billing', 'sales']
>>> DecisionLog.read(path).count(by="decision")
{'route': 2, 'outcome': 1}
"""

from waybell_decisions._log import DecisionLog
from waybell_decisions._records import Records
from waybell_decisions._writer import LogWriteError, Sealed


__all__ = ["DecisionLog", "LogWriteError", "Records", "Sealed"]
