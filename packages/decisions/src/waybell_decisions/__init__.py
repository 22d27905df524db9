"""A decision log that loses nothing at kill -9, and can be queried.

>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as folder, DecisionLog(f"{folder}/log.jsonl") as log:
...     choice = log.record(decision="route", agent="triage", to="billing")
...     _ = log.outcome(choice, correct=False)
...     (wrong,) = log.query("route", outcomes=True)
...     print(wrong["to"], wrong["outcomes"][0]["correct"], log.count(by="decision"))
billing False {'route': 1, 'outcome': 1}
"""

from waybell_decisions._log import DecisionLog
from waybell_decisions._records import Records
from waybell_decisions._writer import LogWriteError, Sealed


__all__ = ["DecisionLog", "LogWriteError", "Records", "Sealed"]
