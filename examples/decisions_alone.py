"""The decision log alone: write, crash or not, query.

Prints:
    2 of 3 went to the large model
    they cost ['0.03', '0.05']
    counts by decision: {'route': 3, 'outcome': 1}
"""

import tempfile
from pathlib import Path

from waybell_decisions import DecisionLog


with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "decisions.jsonl"
    with DecisionLog(path) as log:
        log.record(decision="route", model="small", usd="0.01")
        first = log.record(decision="route", model="large", usd="0.03")
        log.record(decision="route", model="large", usd="0.05")
        log.outcome(first, helpful=True)
        large = list(log.query(decision="route", where={"model": "large"}))
        print(f"{len(large)} of 3 went to the large model")
        print("they cost", [record["usd"] for record in large])
        print("counts by decision:", dict(log.count(by="decision")))
