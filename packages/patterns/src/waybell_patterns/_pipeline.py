"""Pipeline: stages one after another, each paid for before the first one starts."""

import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, closing, nullcontext
from dataclasses import dataclass
from typing import Any

from waybell_patterns._call import Agent
from waybell_patterns._journal import Journal
from waybell_patterns._pattern import Pattern, Run, Worker
from waybell_patterns._results import PipelineResult, text_of


def compose(prompt: str, results: Mapping[str, Any]) -> str:
    """A stage's prompt: what was asked, then every earlier answer under its name."""
    parts = [prompt]
    parts += [f"## {name}\n{text_of(value)}" for name, value in results.items()]
    return "\n\n".join(parts)


@dataclass(slots=True)
class _Walk:
    """How far a run has come: the answers so far, and the stage under way."""

    results: dict[str, Any]
    at: str | None = None


class Pipeline(Pattern[PipelineResult]):
    """Walk stages in order, each with the answers of all before it.

    The holds of all stages that name `usd` or `tokens` are taken before the first one
    starts, all or none, so a stage that overruns cannot eat the next one's.

    Args:
        stages: Stages, or agents, in order; names must differ.
        journal: A file to keep finished stages in. Run again with the same stages and
            prompt after a crash, the finished ones are not repeated (their answers
            come back as text or JSON values).
        bus, budget, deadline, log, tracer: As in every pattern.

    Raises:
        ValueError: No stages, or two of one name.
    """

    __slots__ = ("_journal", "_workers")

    def __init__(
        self,
        stages: Sequence[Agent],
        *,
        journal: str | os.PathLike[str] | None = None,
        **setting: Any,
    ) -> None:
        super().__init__(**setting)
        self._workers = [
            Worker(agent, self._bus, f"stage{number}")
            for number, agent in enumerate(stages, start=1)
        ]
        names = [worker.stage.name for worker in self._workers]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"a pipeline needs stages of different names, not {names}")
        self._journal = journal

    async def _run(self, run: Run, prompt: str) -> PipelineResult:
        names = [worker.stage.name for worker in self._workers]
        error: Exception | None = None
        with self._opened(names, prompt) as journal:
            done: dict[str, Any] = {} if journal is None else journal.finished
            walk = _Walk({name: done[name] for name in names if name in done})
            resumed = tuple(walk.results)
            try:
                async with run.wall():
                    await self._walk(run, prompt, walk, journal)
            except Exception as raised:
                if walk.at is None:  # nothing has run: there is no result to lose
                    raise
                error = raised
        failed = None if error is None else walk.at
        missing = [n for n in names if n not in walk.results and n != failed]
        run.record(
            "pipeline", prompt=prompt, finished=list(walk.results), failed=failed,
            missing=missing, resumed=list(resumed), error=error and repr(error),
        )  # fmt: skip
        return PipelineResult(
            walk.results, failed, error, tuple(missing), resumed, run.usd, run.seconds
        )

    def _opened(self, names: list[str], prompt: str) -> Any:
        if self._journal is None:
            return nullcontext()
        return closing(Journal(self._journal, stages=names, prompt=prompt))

    async def _walk(
        self, run: Run, prompt: str, walk: _Walk, journal: Journal | None
    ) -> None:
        ahead = [w for w in self._workers if w.stage.name not in walk.results]
        async with AsyncExitStack() as stack:
            holds = await run.hold(ahead, stack)
            for worker in ahead:
                walk.at = name = worker.stage.name
                results = dict(walk.results)
                asked = prompt if worker.stage.prompt else compose(prompt, results)
                walk.results[name] = value = await run.ask(
                    worker, asked, holds.get(name), stage=name, results=results
                )
                if journal is not None:
                    journal.record(name, value)
