"""The questions that the desk was developed on, other than those it ships with."""

import json
from pathlib import Path

import pytest

from waybell._desk._check import Label, labels
from waybell._desk._corpus import default_corpus
from waybell._desk._desk import Desk
from waybell_adapters import OfflineAdapter
from waybell_budget import BudgetPool
from waybell_deadline import Deadline
from waybell_decisions import DecisionLog
from waybell_trace import Tracer


ROOT = Path(__file__).parents[3]
PRACTICE = [
    Label(**each)
    for each in json.loads((Path(__file__).parent / "practice.json").read_text())
]


@pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="not in a checkout")
async def test_at_least_48_of_60_other_answers_cite_the_right_passage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    missed: list[str] = []
    with (
        Tracer(tmp_path / "traces.jsonl") as tracer,
        DecisionLog(tmp_path / "decisions.jsonl") as log,
    ):
        desk = Desk(
            default_corpus().passages, model=OfflineAdapter(), pool=BudgetPool(),
            tracer=tracer, log=log,
        )  # fmt: skip
        for label in PRACTICE:
            answer = await desk.ask(label.question, Deadline(seconds=60))
            if not any(map(label.right, answer.sources.values())):
                missed.append(label.question)
    assert len(PRACTICE) - len(missed) >= 48, missed


def test_the_shipped_questions_are_other_ones() -> None:
    asked = {label.question for label in labels()}
    assert (len(asked), len(PRACTICE)) == (30, 60)
    assert asked.isdisjoint(label.question for label in PRACTICE)
