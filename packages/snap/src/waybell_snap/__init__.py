"""Record a run of agents, replay it without a network, and see what has changed.

>>> import tempfile
>>> from waybell_adapters import ScriptedAdapter
>>> from waybell_snap import Recording, Replay
>>> path = f"{tempfile.mkdtemp()}/run.json"
>>> with Recording(path) as run:
...     model = run.adapter(ScriptedAdapter(["Bronze."]), name="founder")
...     reply = model.generate("What are bells made of?")
>>> with Replay(path) as run:
...     model = run.adapter(ScriptedAdapter([]), name="founder")
...     again = model.generate("What are bells made of?")
>>> reply == again
True
>>> print(run.snapshot)
run
  founder.generate()
"""

from waybell_snap._changes import Change, Comparison
from waybell_snap._compare import compare
from waybell_snap._errors import RecordingMissing, SnapMismatch
from waybell_snap._match import Anything, IgnoreKeys, Number, Regex
from waybell_snap._recording import Recording, Replay
from waybell_snap._tree import Snapshot


__all__ = [
    "Anything", "Change", "Comparison", "IgnoreKeys", "Number", "Recording",
    "RecordingMissing", "Regex", "Replay", "SnapMismatch", "Snapshot", "compare",
]  # fmt: skip
