"""A team and its tasks from a file, and every problem of it at once."""

import json
import re
import tempfile
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waybell_adapters import OfflineAdapter
from waybell_agents import Agent, OpenMultiAgent, Team, TeamFileError


GOOD = """
team = "desk"
model = "offline"

[limits]
usd = "0.50"
tokens = 9000
seconds = 60
max_concurrent = 2
stop_on_failure = true

[[agents]]
name = "reader"
system_prompt = "Read what you are asked to."
tools = [{ use = "read_file", root = "notes", name = "read", approve = true }, "http_get"]
max_steps = 4

[[agents]]
name = "writer"
model = "scripted:written"
temperature = 0
output_schema = { type = "string" }

[[tasks]]
id = "read"
description = "Summarise: Bells ring."
agent = "reader"
retries = 1
timeout = 5
usd = 0.1

[[tasks]]
id = "write"
agent = "writer"
depends_on = ["read"]
priority = -1
run_if = "always"
partial = true
safe_to_repeat = false
tokens = 100
"""


@pytest.fixture
def load(tmp_path):
    (tmp_path / "notes").mkdir()

    def load(text, name="tasks.toml", **options):
        (tmp_path / name).write_text(text)
        return Team.load(tmp_path / name, **options)

    return load


def problems(load, text, **options):
    with pytest.raises(TeamFileError) as caught:
        load(text, **options)
    assert all(
        f"{path}: {what}" in str(caught.value) for path, what in caught.value.problems
    )
    return dict(caught.value.problems)


def test_a_file_gives_the_team_its_tasks_and_its_limits(load, tmp_path):
    team = load(GOOD)
    assert (team.name, list(team)) == ("desk", ["reader", "writer"])
    assert team.limits == {
        "usd": "0.50", "tokens": 9000, "seconds": 60, "max_concurrent": 2,
        "stop_on_failure": True,
    }  # fmt: skip
    reader = Agent(team["reader"])
    assert isinstance(reader.model, OfflineAdapter)
    assert [spec["name"] for spec in reader._box.specs()] == ["read", "http_get"]
    assert reader._box["read"].safe_to_repeat
    (tmp_path / "notes/a.txt").write_text("hi")  # roots are sought beside the file
    first, second = team.tasks
    assert (first.agent, first.retries, first.timeout, first.usd) == (
        "reader",
        1,
        5,
        0.1,
    )
    assert (second.depends_on, second.run_if, second.partial) == (
        ("read",),
        "always",
        True,
    )
    assert (second.priority, second.safe_to_repeat, second.tokens) == (-1, False, 100)


def test_json_says_the_same_and_the_name_is_the_files_if_there_is_none(load):
    data = {"agents": [{"name": "a", "model": "offline"}], "tasks": [{"id": "t"}]}
    data["tasks"][0]["description"] = "Summarise: Bells ring."
    for name in ("plan.json", "plan.txt"):
        team = load(json.dumps(data), name)
        assert (team.name, team.tasks[0].id) == ("plan", "t")
    assert OpenMultiAgent().run_tasks(team=team).ok


def test_a_model_given_by_the_caller_goes_before_the_files_but_not_the_agents(load):
    team = load(GOOD, model="scripted:x")
    assert team["reader"].adapter == "scripted:x"
    assert team["writer"].adapter == "scripted:written"


def test_a_loaded_team_runs(load):
    result = OpenMultiAgent().run_tasks(team=load(GOOD.replace("output_schema", "# ")))
    assert result["write"].value == "written"
    assert result["read"].usd == Decimal(0)


def test_every_problem_is_told_by_its_key_path(load):
    text = """
    team = 3
    modl = "offline"
    model = "ofline"
    [limits]
    usd = -1
    tokens = 1.5
    seconds = true
    max_concurrent = 0
    stop_on_failure = "no"
    [[agents]]
    name = "a:b"
    [[agents]]
    name = "writer"
    max_step = 3
    model = "nobody"
    tools = ["read_file", "shel", 3, { use = "read_file", root = "missing" }, { use = "http_get", timeout = "x", rot = 1 }]
    [[agents]]
    name = "editor"
    output_schema = { type = "strin" }
    [[agents]]
    system_prompt = 1
    [[agents]]
    name = "writer"
    [[tasks]]
    id = "draft"
    agent = "writr"
    [[tasks]]
    id = "draft"
    agent = "writer"
    depends_on = ["draft", "draf"]
    retries = -1
    usd = "much"
    run_if = "never"
    [[tasks]]
    priority = 0.5
    depends_on = "draft"
    timeout = 0
    partial = 1
    """
    assert problems(load, text) == {
        "team": "is text on one line, not 3",
        "modl": "is no key here; did you mean 'model'?",
        "model": "no provider 'ofline': a spec is provider:model, of anthropic, offline, "
        "ollama, openai, scripted; did you mean 'offline'?",
        "limits.usd": "is dollars from 0 up, not -1",
        "limits.tokens": "is a whole number from 0 up, not 1.5",
        "limits.seconds": "is seconds above 0, not True",
        "limits.max_concurrent": "is a whole number from 1 up, not 0",
        "limits.stop_on_failure": "is true or false, not 'no'",
        "agents[0].name": "'a:b' cannot be part of a topic: use letters, digits, '-' and "
        "'_', without ':', '.', '*' or blanks",
        "agents[1].max_step": "is no key here; did you mean 'max_steps'?",
        "agents[1].model": "no provider 'nobody': a spec is provider:model, of anthropic, "
        "offline, ollama, openai, scripted",
        "agents[1].tools[0].root": "is missing",
        "agents[1].tools[1]": "no built-in tool 'shel'; did you mean 'shell'?",
        "agents[1].tools[2]": 'is a name, or a table with use = "..."',
        "agents[1].tools[3]": str(missing(load)),
        "agents[1].tools[4].timeout": "is seconds above 0, not 'x'",
        "agents[1].tools[4].rot": "is no key here; did you mean 'rate'?",
        "agents[2].output_schema": problems(
            load,
            'agents = [{name = "e", output_schema = {type = "strin"}}]\ntasks = []',
        )["agents[0].output_schema"],
        "agents[3].name": "is missing",
        "agents[3].system_prompt": "is text, not 1",
        "agents[4].name": "'writer' is that of agents[1]",
        "tasks[0].agent": "no agent 'writr'; did you mean 'writer'?",
        "tasks[1].id": "'draft' is that of tasks[0]",
        "tasks[1].depends_on[1]": "no task 'draf'; did you mean 'draft'?",
        "tasks[1].retries": "is a whole number from 0 up, not -1",
        "tasks[1].usd": "is dollars from 0 up, not 'much'",
        "tasks[1].run_if": "is 'success' or 'always', not 'never'",
        "tasks[2].id": "is missing",
        "tasks[2].priority": "is a whole number, not 0.5",
        "tasks[2].depends_on": "is a list of texts, not 'draft'",
        "tasks[2].timeout": "is seconds above 0, not 0",
        "tasks[2].partial": "is true or false, not 1",
        "tasks[2].agent": "is missing, and there are several agents",
        "tasks[0].description": "is missing: it is the prompt",
        "tasks[2].description": "is missing: it is the prompt",
    }


def missing(load):
    text = 'agents = [{name = "a", tools = [{use = "read_file", root = "missing"}]}]\ntasks = []'
    found = problems(load, text)["agents[0].tools[0]"]
    assert "missing" in found
    return found


AS_IN_PYTHON = {
    "team": "name",
    "model": "adapter",
    "output_schema": "output_type",
    "usd": "budget",
    "seconds": "deadline",
}


def renamed(text):
    for own, pythons in AS_IN_PYTHON.items():
        text = re.sub(rf"^{own} =", f"{pythons} =", text, flags=re.MULTILINE)
    return text


def test_a_file_may_use_the_names_of_python_and_of_the_shell(load):
    text = renamed(GOOD)
    assert not any(f"\n{own} = " in text for own in AS_IN_PYTHON)
    one, same = load(GOOD), load(text)
    assert (one.name, repr(one.tasks)) == (same.name, repr(same.tasks))
    assert one.limits == same.limits
    for name in one:
        assert repr(one[name].adapter) == repr(same[name].adapter)
        assert one[name].output_type == same[name].output_type


def test_what_is_wrong_is_told_by_the_name_that_the_file_has_for_it(load):
    text = """
    adapter = "ofline"
    limits = { budget = "much", deadline = 0 }
    tasks = [{ id = "t", description = "Go." }]
    [[agents]]
    name = "a"
    adapter = "nobody"
    [[agents]]
    name = "b"
    output_type = { type = "strin" }
    """
    told = problems(load, text)
    assert told.keys() == {
        "adapter", "limits.budget", "limits.deadline", "agents[0].adapter",
        "agents[1].output_type", "tasks[0].agent",
    }  # fmt: skip
    assert told["limits.budget"] == "is dollars from 0 up, not 'much'"


def test_one_thing_said_under_two_names_is_refused(load):
    text = """
    model = "offline"
    adapter = "offline"
    limits = { usd = 1, budget = 2, deadline = 3 }
    tasks = [{ id = "t", description = "Go." }]
    [[agents]]
    name = "a"
    output_type = { type = "string" }
    output_schema = { type = "string" }
    """
    assert problems(load, text) == {
        "adapter": "says the same as 'model': give one of them",
        "limits.budget": "says the same as 'usd': give one of them",
        "agents[0].output_type": "says the same as 'output_schema': give one of them",
    }


def test_a_cycle_is_told_as_a_path(load):
    text = """
    [[agents]]
    name = "a"
    [[tasks]]
    id = "x"
    depends_on = ["y"]
    [[tasks]]
    id = "y"
    depends_on = ["x"]
    """
    ((path, what),) = problems(load, text).items()
    assert path.endswith("].depends_on")
    assert "'x'" in what
    assert "'y'" in what


@pytest.mark.parametrize(
    ("text", "path", "what"),
    [
        ("", "agents", "is missing"),
        ("agents = 3\ntasks = []", "agents", "is a list of tables, not 3"),
        ("agents = [3]\ntasks = []", "agents[0]", "is a table, not 3"),
        ("a = ", "file", "is neither TOML nor JSON"),
        ("[1]", "file", "is a table"),
        ("agents = []\ntasks = []", "agents", "is empty"),
        (
            'agents = [{name = "a"}]\ntasks = []\n[limits]\nusd = "1e"',
            "limits.usd",
            "is dollars",
        ),
    ],
)
def test_what_is_no_team_at_all_is_said(load, text, path, what):
    name = "t.json" if text == "[1]" else "t.toml"
    found = problems(load, text, name=name)
    assert what in found[path]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a=" + b"[" * 100_000, "recursion"),
        (b'{"a":' * 100_000, "recursion"),
        (b"\xff\xfe", "decode"),
        (b'{"agents": [{"name": "a", "name": "b"}]}', "the key 'name' is given twice"),
        (b'{"limits": {"tokens": ' + b"9" * 5000 + b"}}", "digits"),
        (b"team = 1\nteam = 2", "Cannot overwrite"),
    ],
)
def test_what_no_parser_takes_is_a_problem_of_the_file(tmp_path, content, told):
    (tmp_path / "tasks.toml").write_bytes(content)
    with pytest.raises(TeamFileError, match=told):
        Team.load(tmp_path / "tasks.toml")


def test_a_file_may_begin_as_windows_writes_it(load):
    assert load("\ufeff" + GOOD).name == "desk"


@pytest.mark.parametrize("odd", ["a\nb", "\x1b[2J", "a\u2028b", "\x00"])
def test_names_that_would_tear_a_line_are_refused(load, odd):
    tasks = [{"id": odd, "description": "x"}]
    data = {"team": odd, "agents": [{"name": "a"}], "tasks": tasks}
    found = problems(load, json.dumps(data))
    assert found == dict.fromkeys(
        ["team", "tasks[0].id"], f"is text on one line, not {odd!r}"
    )


def test_options_that_are_not_the_models_are_told_by_their_path(load):
    agents = [{"name": "a", "options": {"tools": []}}]
    found = problems(load, json.dumps({"agents": agents, "tasks": []}))
    told = found.pop("agents[0].options")
    assert told.startswith(
        "'tools' is not for the model to be told: system_prompt= and"
    )
    assert not found


def test_a_task_that_asks_for_nothing_is_a_problem(load):
    tasks = [{"id": "t", "depends_on": []}, {"id": "u", "depends_on": ["t"]}]
    found = problems(load, json.dumps({"agents": [{"name": "a"}], "tasks": tasks}))
    assert found == {"tasks[0].description": "is missing: it is the prompt"}


def test_thousands_of_problems_are_told_without_guessing_at_each(load):
    tasks = [{"id": f"{n}", "depends_on": [f"x{n}"]} for n in range(5000)]
    found = problems(load, json.dumps({"agents": [{"name": "a"}], "tasks": tasks}))
    assert len(found) == 5000
    assert (
        sum("did you mean" in what or "there are" in what for what in found.values())
        < 100
    )


def test_a_file_that_cannot_be_read_raises_what_the_system_says(tmp_path):
    with pytest.raises(FileNotFoundError):
        Team.load(tmp_path / "none.toml")


KEYS = st.sampled_from(
    "team model limits agents tasks name system_prompt tools max_steps output_schema "
    "options id description agent depends_on priority retries timeout usd tokens run_if "
    "partial use root allow approve rate x".split()
)
LEAVES = st.sampled_from(
    [None, True, 0, 1, -1, 0.5, 1e400, "", "a", "b", "a:b", "offline", "read_file", "http_get",
     "shell", "always", "10/minute", "1e", "object", "."]
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner),
    max_leaves=8,
)
TABLES = st.dictionaries(KEYS, VALUES, max_size=4)
FILES = st.fixed_dictionaries(
    {
        "agents": st.lists(TABLES | st.fixed_dictionaries({"name": LEAVES}), max_size=3)
        | VALUES,
        "tasks": st.lists(TABLES | st.fixed_dictionaries({"id": LEAVES}), max_size=3)
        | VALUES,
    },
    optional={"team": LEAVES, "model": LEAVES, "limits": TABLES, "x": VALUES},
)


@given(FILES)
def test_any_file_is_a_team_or_a_list_of_problems(data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.json"
        path.write_text(json.dumps(data))
        try:
            team, problems = Team.load(path), ()
        except TeamFileError as error:
            team, problems = None, error.problems
    assert all(where and what for where, what in problems)
    if team is None:
        assert problems
    else:
        assert all(task.agent in team or task.agent is None for task in team.tasks)
