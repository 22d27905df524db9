"""Pipeline: stages one after another, each paid for before the first one starts."""

import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Unpack

from waybell_patterns._agent import Agent
from waybell_patterns._journal import Journal
from waybell_patterns._pattern import Pattern, Setting
from waybell_patterns._results import Result, text_of
from waybell_patterns._run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineResult(Result):
    """What each stage returned, and where the walk ended.

    Args:
        results: Answers by stage, in order.
        failed: The stage that ended the walk, or None. Its answer is in `results` if
            it came, but too late, or could not be kept in the journal.
        missing: The stages that never ran.
        resumed: The stages whose answers came from the journal.
    """

    results: Mapping[str, Any]
    failed: str | None = None
    missing: tuple[str, ...] = ()
    resumed: tuple[str, ...] = ()

    @property
    def value(self) -> Any:
        """The answer of the last stage that finished, or None."""
        return list(self.results.values())[-1] if self.results else None

    @property
    def lack(self) -> str | None:
        """Which stage failed, and which never ran."""
        if self.failed is None:
            return None
        rest = f"; never ran: {', '.join(self.missing)}" if self.missing else ""
        return f"failed at {self.failed!r}: {self.error!r}{rest}"


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
        names = list(self._stages)
        path = self._journal
        with nullcontext() if path is None else Journal(path, names, prompt) as journal:
            results = dict(journal.finished) if journal else {}
            resumed, begun, error = tuple(results), list[str](), None
            try:
                async with run.wall():
                    await self._walk(run, prompt, results, begun, journal)
            except Exception as raised:
                if not begun:  # there is no result to lose
                    raise
                error = raised
        failed = begun[-1] if error else None
        return PipelineResult(
            results=results, failed=failed, error=error, resumed=resumed,
            missing=tuple(name for name in names if name not in {*results, failed}),
            **run.spent(),
        )  # fmt: skip

    async def _walk(
        self,
        run: Run,
        prompt: str,
        results: dict[str, Any],
        begun: list[str],
        journal: Journal | None,
    ) -> None:
        ahead = {n: w for n, w in self._stages.items() if n not in results}
        async with run.hold(ahead.values()) as holds:
            for name, worker in ahead.items():
                begun.append(name)
                asked = prompt if worker.stage.prompt else _composed(prompt, results)
                results[name] = await run.ask(
                    worker, asked, holds.get(name), stage=name, results=dict(results)
                )
                if journal is not None:
                    journal.record(name, results[name])


def _composed(prompt: str, results: Mapping[str, Any]) -> str:
    """A stage's prompt: what was asked, then every earlier answer under its name."""
    parts = [f"## {name}\n{text_of(value)}" for name, value in results.items()]
    return "\n\n".join([prompt, *parts])
