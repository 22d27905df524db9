"""Router, pipeline, broadcast, supervisor, retry, fallback and degrade.

Each puts agents together, and an agent is a topic, a callable of the prompt, or an
object with `run(prompt)`:

>>> from waybell_patterns import Pipeline, Stage
>>> pipeline = Pipeline([
...     Stage("draft", lambda prompt: "a draft about " + prompt),
...     Stage("shout", lambda prompt, results: results["draft"].upper()),
... ])
>>> result = pipeline.run_sync("bells")
>>> result.value
'A DRAFT ABOUT BELLS'
>>> dict(result.results), result.failed, result.missing
({'draft': 'a draft about bells', 'shout': 'A DRAFT ABOUT BELLS'}, None, ())
"""

from waybell_patterns._broadcast import Broadcast
from waybell_patterns._errors import IncompleteError, PatternError, UnknownIntentError
from waybell_patterns._pipeline import Pipeline
from waybell_patterns._results import (
    BroadcastResult,
    PipelineResult,
    Routed,
    Supervised,
    Verdict,
)
from waybell_patterns._retry import Degrade, Fallback, Retry
from waybell_patterns._router import Router
from waybell_patterns._run import Stage
from waybell_patterns._supervisor import Supervisor


__all__ = [
    "Broadcast",
    "BroadcastResult",
    "Degrade",
    "Fallback",
    "IncompleteError",
    "PatternError",
    "Pipeline",
    "PipelineResult",
    "Retry",
    "Routed",
    "Router",
    "Stage",
    "Supervised",
    "Supervisor",
    "UnknownIntentError",
    "Verdict",
]
