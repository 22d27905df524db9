"""Pipeline: stages one after another, each paid for before the first one starts."""

import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, closing, nullcontext
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Unpack

from waybell_patterns._agent import Agent
from waybell_patterns._journal import Journal
from waybell_patterns._pattern import Pattern, Setting
from waybell_patterns._results import PipelineResult, text_of
from waybell_patterns._run import Run


def compose(prompt: str, results: Mapping[str, Any]) -> str:
    """A stage's prompt: what was asked, then every earlier answer under its name."""
    parts = [f"## {name}\n{text_of(value)}" for name, value in results.items()]
    return "\n\n".join([prompt, *parts])


@dataclass(slots=True)
class _Walk:
    """How far a run has come: the answers so far, and the stage under way."""

    results: dict[str, Any]
    at: str | None = None


class Pipeline(Pattern[PipelineResult]):
    """Walk stages in order, each with the answers of all before it.

    The holds of all stages that name `usd` or `tokens` are taken before the first one
    starts, all or none, so a stage that overruns cannot eat the next one's. What a
    stage has left over is free again when it ends.

    A pool that refuses, a journal of another run and a deadline that has passed raise;
    after that all that happens is in the result.

    Args:
        stages: Stages, or agents, in order; names must differ.
        journal: A file to keep finished stages in. Run again with the same stages and
            prompt after a crash, the finished ones are not repeated (their answers
            come back as text or JSON values).
        **setting: As in every pattern.

    Raises:
        ValueError: No stages, or two of one name.
    """

    __slots__ = ("_journal", "_stages")

    def __init__(
        self,
        stages: Sequence[Agent],
        *,
        journal: str | os.PathLike[str] | None = None,
        **setting: Unpack[Setting],
    ) -> None:
        super().__init__(**setting)
        self._stages = self._crew(stages, "stage")
        self._journal = journal

    async def _run(self, run: Run, prompt: str) -> PipelineResult:
        names, error = list(self._stages), None
        opened: Any = nullcontext()
        if self._journal is not None:
            opened = closing(Journal(self._journal, stages=names, prompt=prompt))
        with opened as journal:
            kept: dict[str, Any] = getattr(journal, "finished", {})
            resumed = tuple(takewhile(kept.__contains__, names))
            walk = _Walk({name: kept[name] for name in resumed})
            try:
                async with run.wall():
                    await self._walk(run, prompt, walk, journal)
            except Exception as raised:
                if walk.at is None:  # nothing has run: there is no result to lose
                    raise
                error = raised
        failed = walk.at if error else None
        through = {*walk.results, failed}
        return PipelineResult(
            results=walk.results, failed=failed, error=error, resumed=resumed,
            missing=tuple(name for name in names if name not in through), **run.spent(),
        )  # fmt: skip

    async def _walk(
        self, run: Run, prompt: str, walk: _Walk, journal: Journal | None
    ) -> None:
        ahead = {n: w for n, w in self._stages.items() if n not in walk.results}
        async with AsyncExitStack() as stack:
            holds = await run.hold(ahead.values(), stack)
            for name, worker in ahead.items():
                walk.at, results = name, dict(walk.results)
                asked = prompt if worker.stage.prompt else compose(prompt, results)
                walk.results[name] = value = await run.ask(
                    worker, asked, holds.get(name), stage=name, results=results
                )
                if journal is not None:
                    journal.record(name, value)
