"""The seam for what records and replays model calls: it wraps any adapter.

>>> from waybell_adapters import ScriptedAdapter
>>> from waybell_adapters.testing import RecordingAdapter
>>> seen = []
>>> model = RecordingAdapter(
...     ScriptedAdapter(["Hello."]),
...     record=lambda request, outcome: seen.append((request, outcome)),
... )
>>> model.generate("Greet me.", system="Be brief.", top_k=3)
Reply('Hello.', tokens=8, model='scripted')
>>> seen[0][0].to_dict()["options"], seen[0][1].text
({'top_k': 3}, 'Hello.')
"""

from waybell_adapters._recording import ModelRequest, RecordingAdapter


__all__ = ["ModelRequest", "RecordingAdapter"]
