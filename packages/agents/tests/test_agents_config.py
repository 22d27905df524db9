"""What is wrong with a config is said when it is made."""

import dataclasses

import pytest

from waybell_adapters import OfflineAdapter, ScriptedAdapter
from waybell_agents import Agent, AgentConfig, NoModelError, Team
from waybell_tools import ToolRegistry, UnknownToolError


def ping() -> str:
    """Answer."""
    return "pong"


@pytest.mark.parametrize("name", ["", "a:b", "a.b", "a*", "a b", "a\n", " a"])
def test_a_name_that_is_no_part_of_a_topic_is_refused(name):
    with pytest.raises(ValueError, match="cannot be part of a topic") as caught:
        AgentConfig(name)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"name": 3}, "name is text, not 3"),
        ({"system_prompt": 3}, "system_prompt is text, not 3"),
        ({"max_steps": 0}, "max_steps is a whole number from 1 up, not 0"),
        ({"max_steps": True}, "not True"),
        ({"repairs": -1}, "repairs is a whole number from 0 up"),
        ({"max_tokens": 0}, "max_tokens is a whole number from 1 up"),
        ({"approve": "yes"}, "approve is a function, not 'yes'"),
        ({"adapter": "opnai:gpt"}, "did you mean 'openai'"),
        ({"adapter": object()}, "adapter is a model with generate"),
        ({"tools": "ping"}, "tools is a list, or a ToolRegistry, not 'ping'"),
        ({"tools": 3}, "tools is a list, or a ToolRegistry, not 3"),
        ({"tools": {"ping": ping}}, "tools is a list, or a ToolRegistry, not {"),
        ({"temperature": "hot"}, "temperature is a number, not 'hot'"),
        ({"options": 3}, "options is a table, not 3"),
        ({"options": {"budget": 3}}, "options: 'budget' is not for the model"),
        ({"tools": [3]}, "tools are functions"),
        ({"registry": [ping]}, "registry is a ToolRegistry, not"),
        ({"tools": [ping, ping]}, "there are two tools 'ping'"),
        ({"output_type": object()}, "no JSON schema is known"),
        ({"output_type": {"type": "strin"}}, "is wrong"),
    ],
)
def test_a_value_that_makes_no_sense_is_named(wrong, says):
    with pytest.raises((TypeError, ValueError), match=says):
        AgentConfig(**{"name": "a", **wrong})


def test_an_error_says_whose_config_it_is_in():
    with pytest.raises(ValueError, match="repairs") as caught:
        AgentConfig("writer", repairs=-1)
    assert caught.value.__notes__ == ["in the AgentConfig of 'writer'"]


def test_tools_come_from_functions_registries_and_names():
    registry = ToolRegistry([ping])
    for tools in ([ping], registry, [registry]):
        assert list(Agent(AgentConfig("a", tools=tools))._box) == ["ping"]
    named = AgentConfig("a", tools=["ping"])
    assert list(Agent(named, registry=registry)._box) == ["ping"]
    with pytest.raises(ValueError, match="'ping' is a name: give registry="):
        Agent(named)
    with pytest.raises(UnknownToolError, match="did you mean ping"):
        AgentConfig("a", tools=["pin"], registry=registry)


def test_a_registrys_tool_shares_its_uses_with_the_registry():
    registry = ToolRegistry()
    registry.tool(ping, max_uses=1)
    one = Agent(AgentConfig("a", tools=registry))
    registry.call("ping")
    assert one._box["ping"].quota.left == 0


def test_the_model_is_the_configs_or_the_default_or_the_variables(monkeypatch):
    own, default = ScriptedAdapter([]), ScriptedAdapter([])
    assert Agent(AgentConfig("a", adapter=own), adapter=default).model is own
    assert Agent(AgentConfig("a"), adapter=default).model is default
    assert isinstance(Agent(AgentConfig("a", adapter="offline")).model, OfflineAdapter)
    with pytest.raises(NoModelError, match="set the variable WAYBELL_MODEL to"):
        _ = Agent(AgentConfig("a")).model
    monkeypatch.setenv("WAYBELL_MODEL", "offline")
    assert isinstance(Agent(AgentConfig("a")).model, OfflineAdapter)
    monkeypatch.setenv("WAYBELL_MODEL", "ofline")
    with pytest.raises(NoModelError, match="WAYBELL_MODEL=ofline: no provider"):
        _ = Agent(AgentConfig("a")).model


def test_a_config_can_be_changed_into_another():
    config = AgentConfig("a", tools=[ping], output_type=list[int])
    other = dataclasses.replace(config, name="b")
    assert (other.name, other.tools) == ("b", (ping,))


def test_settings_reach_the_model():
    model = ScriptedAdapter(["x"])
    config = AgentConfig(
        "a", adapter=model, temperature=0, max_tokens=5, options={"seed": 1}
    )
    assert Agent(config).run_sync("go") == "x"
    assert model.calls[0].options == {"temperature": 0, "max_tokens": 5, "seed": 1}


def test_a_team_is_its_agents_by_name():
    team = Team("t", (AgentConfig("a"), AgentConfig("b")))
    assert (list(team), len(team), team["b"].name, "c" in team) == (
        ["a", "b"],
        2,
        "b",
        False,
    )
    with pytest.raises(KeyError, match="no agent 'bb'; did you mean 'b'"):
        team["bb"]
    with pytest.raises(ValueError, match="two agents 'a': rename one"):
        Team("t", (AgentConfig("a"), AgentConfig("a")))
    with pytest.raises(ValueError, match="has no agent"):
        Team("t", ())
    with pytest.raises(ValueError, match="name is some text"):
        Team("", (AgentConfig("a"),))
    assert repr(Agent(AgentConfig("a"))) == "<Agent a>"
