"""Router, pipeline, broadcast, supervisor, retry, fallback and degrade.

Each puts agents together, and an agent is a topic, a callable of the prompt, or an
object with `run(prompt)`:

>>> pipeline = Pipeline([
...     Stage("draft", lambda prompt: "a draft about " + prompt),
...     Stage("shout", lambda prompt, results: results["draft"].upper()),
... ])
>>> result = pipeline.run_sync("bells")
>>> dict(result.results), result.failed, result.missing
({'draft': 'a draft about bells', 'shout': 'A DRAFT ABOUT BELLS'}, None, ())
"""

from waybell_patterns._broadcast import Broadcast, BroadcastResult
from waybell_patterns._errors import IncompleteError, PatternError, UnknownIntentError
from waybell_patterns._fallback import Degrade, Fallback
from waybell_patterns._pipeline import Pipeline, PipelineResult
from waybell_patterns._retry import Retry
from waybell_patterns._router import Routed, Router
from waybell_patterns._run import Stage
from waybell_patterns._supervisor import Supervised, Supervisor, Verdict


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
