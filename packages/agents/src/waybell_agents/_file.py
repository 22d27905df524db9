"""A team and its tasks from a file, every problem of it told at once, by key path."""

import json
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from waybell_adapters import LLMAdapter, adapter
from waybell_agents._config import AgentConfig
from waybell_agents._errors import TeamFileError
from waybell_agents._keys import (
    COUNT,
    FLAG,
    LINE,
    LIST,
    NUMBER,
    ONE,
    RUN_IF,
    SECONDS,
    TABLE,
    TEXT,
    TEXTS,
    TOOLS,
    USD,
    WHOLE,
    Checker,
    Kind,
    Table,
    near,
    unique,
)
from waybell_scheduler import CyclicDependencyError, Task, TaskQueue
from waybell_tools import (
    ToolRegistry,
    http_get,
    list_files,
    read_file,
    shell,
    write_file,
)


_TOP = {"team": LINE, "model": TEXT, "limits": TABLE, "agents": LIST, "tasks": LIST}
_LIMITS = {
    "usd": USD, "tokens": COUNT, "seconds": SECONDS, "max_concurrent": ONE,
    "stop_on_failure": FLAG,
}  # fmt: skip
_AGENT = {
    "name": TEXT, "system_prompt": TEXT, "model": TEXT, "tools": TOOLS, "max_steps": ONE,
    "max_tokens": ONE, "temperature": NUMBER, "repairs": COUNT, "output_schema": TABLE,
    "options": TABLE,
}  # fmt: skip
_TASK = {
    "id": LINE, "description": TEXT, "agent": TEXT, "depends_on": TEXTS, "priority": WHOLE,
    "retries": COUNT, "timeout": SECONDS, "usd": USD, "tokens": COUNT, "run_if": RUN_IF,
    "partial": FLAG, "safe_to_repeat": FLAG,
}  # fmt: skip
_ASKING = {"description", "depends_on"}  # a task needs one of them
_SETTINGS = {
    "use": TEXT, "name": TEXT, "approve": FLAG, "rate": TEXT, "max_uses": ONE,
    "safe_to_repeat": FLAG,
}  # fmt: skip
# What makes each built-in, whether a second call does no harm, and what it takes.
_BUILT: Mapping[str, tuple[Callable[..., Any], bool, Mapping[str, Kind]]] = {
    "read_file": (read_file, True, {"root": TEXT, "max_bytes": ONE, "hard_links": FLAG}),
    "list_files": (list_files, True, {"root": TEXT, "max_entries": ONE}),
    "write_file": (write_file, False, {"root": TEXT, "max_bytes": ONE, "overwrite": FLAG}),
    "http_get": (http_get, True, {"timeout": SECONDS, "max_bytes": ONE, "max_redirects": COUNT}),
    "shell": (shell, False, {
        "allow": TEXTS, "root": TEXT, "writable": FLAG, "unsandboxed": FLAG,
        "readable": TEXTS, "timeout": SECONDS, "max_output": ONE,
    }),
}  # fmt: skip


def read(
    path: str | os.PathLike[str], model: LLMAdapter | str | None
) -> tuple[str, list[AgentConfig], tuple[Task, ...], Table]:
    """The name, agents, tasks and limits that a file describes; see `Team.load`."""
    place = Path(path)
    file = _File(place, model)
    found = file.team(_parsed(place))
    if file.problems:
        raise _error(place, file.problems)
    return found


def _parsed(place: Path) -> Any:
    content = place.read_bytes()
    try:
        text = content.decode("utf-8-sig")
        is_json = place.suffix == ".json" or text.lstrip()[:1] == "{"
        if is_json:
            return json.loads(text, object_pairs_hook=unique)
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise _error(place, [("file", f"is neither TOML nor JSON: {error}")]) from None


def _error(place: Path, problems: list[tuple[str, str]]) -> TeamFileError:
    told = "\n".join(f"  {where}: {what}" for where, what in problems)
    return TeamFileError(f"{place}:\n{told}", problems=problems)


class _File(Checker):
    """One file being read, and what is wrong with it so far."""

    __slots__ = ("_folder", "_model", "_name")

    def __init__(self, place: Path, model: LLMAdapter | str | None) -> None:
        self._folder, self._name, self._model = place.parent, place.stem, model
        super().__init__()

    def team(self, data: Any) -> tuple[str, list[AgentConfig], tuple[Task, ...], Table]:
        top = self.table(data, "", _TOP, ("agents", "tasks"))
        self._spec(top, "model")
        if top.get("agents") == []:
            self.wrong("agents", "is empty")
        limits = self.table(top.get("limits", {}), "limits", _LIMITS)
        members = self._tables(top, "agents", _AGENT, "name")
        agents = [self._agent(each, f"agents[{n}]") for n, each in enumerate(members)]
        model = self._model or top.get("model")
        given = [
            replace(a, adapter=a.adapter or model) for a in agents if a is not None
        ]
        jobs = self._tables(top, "tasks", _TASK, "id")
        self._check_tasks(jobs, [str(each.get("name")) for each in members])
        tasks = () if self.problems else self._tasks(jobs)
        return top.get("team", self._name), given, tasks, limits

    def _tables(
        self, top: Table, path: str, kinds: Mapping[str, Kind], key: str
    ) -> list[Table]:
        """The tables of a list, which have a key of their own."""
        rows: list[Any] = top.get(path, [])
        found = [
            self.table(row, f"{path}[{n}]", kinds, (key,)) for n, row in enumerate(rows)
        ]
        seen: dict[Any, int] = {}
        for n, name in enumerate(table.get(key) for table in found):
            if name is not None and seen.setdefault(name, n) != n:
                first = f"{path}[{seen[name]}]"
                self.wrong(f"{path}[{n}].{key}", f"{name!r} is that of {first}")
        return found

    def _spec(self, table: Table, key: str, path: str = "") -> None:
        if key in table:
            try:
                adapter(table[key])
            except (TypeError, ValueError) as error:
                self.wrong(f"{path}{key}", str(error))
                del table[key]

    def _agent(self, table: Table, path: str) -> AgentConfig | None:
        before = len(self.problems)
        self._spec(table, "model", f"{path}.")
        registry = ToolRegistry()
        for n, tool in enumerate(table.pop("tools", [])):
            self._tool(tool, f"{path}.tools[{n}]", registry)
        if len(self.problems) > before or "name" not in table:
            return None
        own, schema = table.pop("model", None), table.pop("output_schema", None)
        try:
            return AgentConfig(adapter=own, tools=registry, output_type=schema, **table)
        except (TypeError, ValueError) as error:
            key, _, what = str(error).partition(": ")
            known = key in ("name", "options")
            self.wrong(
                f"{path}.{key if known else 'output_schema'}",
                what if known else str(error),
            )
        return None

    def _tool(self, given: Any, path: str, registry: ToolRegistry) -> None:
        wanted = {"use": given} if isinstance(given, str) else given
        use = cast("Table", wanted).get("use") if isinstance(wanted, dict) else None
        if not isinstance(use, str) or use not in _BUILT:
            said = f"no built-in tool {use!r}{near(use, _BUILT)}"
            self.wrong(path, said if use else 'is a name, or a table with use = "..."')
            return
        kinds = _BUILT[use][2]
        needed = [key for key in ("root", "allow") if key in kinds]
        before = len(self.problems)
        table = self.table(wanted, path, {**_SETTINGS, **kinds}, needed)
        if len(self.problems) == before:
            self._define(table, path, registry)

    def _define(self, table: Table, path: str, registry: ToolRegistry) -> None:
        make, safe, _ = _BUILT[table.pop("use")]
        settings: Table = {"safe_to_repeat": safe}
        settings |= {key: table.pop(key) for key in _SETTINGS if key in table}
        if "root" in table:
            table["root"] = self._folder / table["root"]
        try:
            registry.define_tool(fn=make(**table), **settings)
        except (TypeError, ValueError, OSError) as error:
            self.wrong(path, str(error))

    def _check_tasks(self, tables: list[Table], names: list[str]) -> None:
        ids = dict.fromkeys(table["id"] for table in tables if "id" in table)
        agents, told = dict.fromkeys(names), dict(self.problems)
        for n, table in enumerate(tables):
            path = f"tasks[{n}]"
            if not (any(map(table.get, _ASKING)) or f"{path}.description" in told):
                self.wrong(f"{path}.description", "is missing: it is the prompt")
            if "agent" in table:
                self._known(table["agent"], agents, "agent", f"{path}.agent")
            elif len(names) > 1:
                self.wrong(f"{path}.agent", "is missing, and there are several agents")
            for m, name in enumerate(table.get("depends_on", [])):
                self._known(name, ids, "task", f"{path}.depends_on[{m}]")

    def _known(self, name: str, names: Table, what: str, path: str) -> None:
        if name not in names:
            many = len(self.problems) > 50  # guesses cost time
            self.wrong(path, f"no {what} {name!r}{'' if many else near(name, names)}")

    def _tasks(self, tables: list[Table]) -> tuple[Task, ...]:
        tasks = tuple(Task(**table) for table in tables)
        try:
            TaskQueue(tasks)
        except CyclicDependencyError as error:
            last = next(
                n for n, table in enumerate(tables) if table["id"] == error.cycle[0]
            )
            self.wrong(f"tasks[{last}].depends_on", str(error))
        return tasks
