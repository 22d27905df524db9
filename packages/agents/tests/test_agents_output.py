"""An answer of a declared type, and what happens until it is one."""

import datetime as dt
import re
from dataclasses import dataclass
from typing import Literal, TypedDict

import pytest

from waybell_adapters import OpenAIAdapter, ScriptedAdapter, ToolCall
from waybell_agents import Agent, AgentConfig, OutputError
from waybell_agents._turns import Turns
from waybell_tools import ToolArgumentsError


@dataclass
class Person:
    name: str
    age: int


class Place(TypedDict):
    city: str


@dataclass
class Node:
    value: int
    more: "list[Node]"


class Even:
    """A class as pydantic's are: it knows its schema, and makes values of its own."""

    def __init__(self, number):
        self.number = number

    @classmethod
    def model_json_schema(cls):
        number = {"$ref": "#/$defs/number"}
        return {
            "type": "object", "properties": {"number": number}, "required": ["number"],
            "$defs": {"number": {"type": "integer"}},
        }  # fmt: skip

    @classmethod
    def model_validate(cls, given):
        if given["number"] % 2:
            raise ValueError("an odd number")
        return cls(**given)


def agent(kind, *replies, **settings):
    model = ScriptedAdapter(replies)
    return Agent(AgentConfig("a", adapter=model, output_type=kind, **settings)), model


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Person, '{"name": "Ann", "age": 3}', Person("Ann", 3)),
        (Person, 'Here:\n```json\n{"name": "A", "age": 1}\n```\nDone.', Person("A", 1)),
        (Person, 'As [1] says {so}: {"name": "A", "age": 1}.', Person("A", 1)),
        (Place, '{"city": "Bern"}', {"city": "Bern"}),
        (list[int], '{"value": [1, 2]}', [1, 2]),
        (Literal["yes", "no"], '{"value": "no"}', "no"),
        (Literal["yes", "no"], '"no"', "no"),
        (int, " 5\n", 5),
        (list[int], "[1, 2]", [1, 2]),
        (list[int], 'As [9] says: {"value": [1]}. See [3].', [1]),
        (list[Person], '[{"name": "A", "age": 1}]', [Person("A", 1)]),
        (Person, '<think>{"name": "B", "age": 2}</think>{"name": "A", "age": 1}', Person("A", 1)),
        (Person, 'Not {"name": "text"} but {"name": "A", "age": 1}, not {"b": 1}', Person("A", 1)),
        (Person | None, '{"name": "A", "age": 1}', Person("A", 1)),
        (Person | None, '{"value": null}', None),
        (str, '{"value": "Bern"}', "Bern"),
        (str, "Bern, as [1] says.", "Bern, as [1] says."),
        (Place, "{" * 2000 + '{"city": "Bern"}', {"city": "Bern"}),
        ({"type": "object", "properties": {"x": {"type": "integer"}}}, '{"x": 1}', {"x": 1}),
        ({"type": "array", "items": {"$ref": "#/$defs/i"}, "$defs": {"i": {"type": "integer"}}}, "see [1]", [1]),
    ],
)  # fmt: skip
def test_the_reply_carries_the_value(kind, text, value):
    one, _ = agent(kind, text)
    reply = one.run_sync("go")
    assert reply.value == value
    assert type(reply.value) is type(value)
    assert reply.text == text


@pytest.mark.parametrize(
    ("kind", "text", "told"),
    [
        (
            int,
            '{"value": 1, "value": 2}',
            "answer: is not JSON: the key 'value' is given twice",
        ),
        (int, "five", "answer: is not JSON"),
        (int, "{" + "".join(f'"{n}":0,' for n in range(90_000)) + '"0":0}', "answer: "),
        (int, '"5"', 'answer: "5" is not of type "integer"'),
        (list[int], '{"value": ["x"]} but see [1]', r"value\[0\]"),
        (list[int], "I will not, see [1]", "answer: is not JSON"),
        (Place, '{"city": 3}', "city: 3 is not"),
        (Place, '{"city": "Bern", "x": 1}', "answer: Additional properties"),
        (Place, "[" * 100_000, "answer: is not JSON"),
        (Place, '{"a":' * 100_000, "answer: is not JSON"),
        (Place, "{x" * 100_000 + '{"city": "Bern"}', "answer: is not JSON"),
        (int, "9" * 5000, "answer: is not JSON"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(kind, text, told):
    with pytest.raises(ToolArgumentsError, match=f"^{told}"):
        AgentConfig("a", output_type=kind).output.read(text)


def test_a_class_that_makes_its_values_by_itself_is_asked_to():
    one, model = agent(Even, '{"number": "x"}', '{"number": 3}', '{"number": 4}')
    value = one.run_sync("go").value
    assert (type(value), value.number) == (Even, 4)
    told = [call.prompt[-1]["content"] for call in model.calls[1:]]
    assert 'number: "x" is not of type "integer"' in told[0]
    assert "answer: an odd number" in told[1]


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (dt.date, "output_type: no JSON schema is known for <class 'datetime.date'>"),
        (dict[str, dt.date], "output_type: no JSON schema is known"),
        ([Person, Place], "output_type: "),
        ("Person", "output_type: "),
        (5, "output_type: no JSON schema is known for 5; give a JSON schema instead"),
    ],
)  # fmt: skip
def test_a_type_that_has_no_schema_is_refused_at_once(kind, told):
    with pytest.raises(TypeError, match=re.escape(told)):
        AgentConfig("a", output_type=kind)


def test_a_type_that_contains_itself_is_read():
    one, _ = agent(Node, '{"value": {"value": 1, "more": [{"value": 2, "more": []}]}}')
    assert one.run_sync("go").value == Node(1, [Node(2, [])])


def test_what_is_wrong_is_told_to_the_model_and_bounded():
    one, model = agent(Person, "Ann", '{"name": "Ann"}', '{"name": "Ann", "age": 3}')
    assert one.run_sync("go").value == Person("Ann", 3)
    assert "answer: is not JSON" in model.calls[1].prompt[-1]["content"]
    assert "age: is required" in model.calls[2].prompt[-1]["content"]
    one, model = agent(Person, "a", '{"name": NaN}', "[1]", repairs=2)
    with pytest.raises(OutputError) as caught:
        one.run_sync("go")
    assert (len(model.calls), caught.value.reply) == (3, "[1]")
    assert caught.value.problems == (("answer", '[1] is not of type "object"'),)


def test_a_reply_without_any_json_fails_at_once_without_repairs():
    one, model = agent(list[int], '{"value": ["x"]}', repairs=0)
    with pytest.raises(OutputError, match=r'value\[0\]: "x" is not of type "integer"'):
        one.run_sync("go")
    assert len(model.calls) == 1


def test_the_model_is_told_the_schema():
    one, model = agent(Place, '{"city": "Bern"}', system_prompt="Be brief.")
    one.run_sync("go")
    system = model.calls[0].options["system"]
    assert system.startswith("Be brief.\n\nAnswer with JSON only")
    assert '"city"' in system


def test_the_schema_goes_to_models_that_take_one_but_not_beside_tools():
    def ping() -> str:
        return "pong"

    def options(tools):
        config = AgentConfig("a", tools=tools, output_type=Place)
        with OpenAIAdapter("m", api_key="k") as model:
            one = Agent(config, adapter=model)
            return Turns(config, one.model, one._box)._request()[1]

    assert options([])["output_schema"]["required"] == ["city"]
    assert "output_schema" not in options([ping])


def test_tools_may_be_called_before_the_value_is_given():
    def ping() -> str:
        return "Bern"

    one, _ = agent(Place, [ToolCall("1", "ping", {})], '{"city": "Bern"}', tools=[ping])
    assert one.run_sync("go").value == {"city": "Bern"}
