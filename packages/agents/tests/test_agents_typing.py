"""What a type checker knows of an answer's value, and what generics cost: nothing."""

import copy
import pickle
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from waybell_adapters import ScriptedAdapter
from waybell_agents import Agent, AgentConfig, AgentReply


PLACE = Path(__file__).with_name("typing_agents.py")
ROOT = Path(__file__).parents[3]


@dataclass
class Invoice:
    total: int


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_the_type_checkers_know_the_type_of_the_answer(checker):
    if find_spec(checker) is None:
        pytest.skip(f"{checker} is not installed here")
    words = [sys.executable, "-m", checker, str(PLACE)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


async def test_a_type_that_is_said_in_brackets_changes_nothing():
    model = ScriptedAdapter(['{"total": 3}', "4"])
    config = AgentConfig[Invoice]("clerk", adapter=model, output_type=Invoice)
    assert type(config) is AgentConfig
    reply = await Agent[Invoice](config).run("go")
    assert (reply.value, type(reply)) == (Invoice(3), AgentReply)
    assert AgentReply[int]("x", value=3).value == 3
    assert not hasattr(reply, "__dict__")


def test_an_answer_without_a_type_has_the_value_none():
    agent = Agent(AgentConfig("a", adapter=ScriptedAdapter(["text"])))
    assert agent.run_sync("go").value is None


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda r: pickle.loads(pickle.dumps(r))]
)
def test_an_answer_keeps_its_value_when_it_is_copied(again):
    reply = again(AgentReply("3", agent="a", value=Invoice(3)))
    assert (reply, reply.value, reply.agent) == ("3", Invoice(3), "a")
