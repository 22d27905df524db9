"""A team and its tasks from a file, every problem of it told at once, by key path."""

import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, cast

import waybell_tools
from waybell_adapters import adapter
from waybell_agents import _keys as k
from waybell_agents._config import AgentConfig, Model
from waybell_agents._errors import TeamFileError
from waybell_agents._keys import Checker, Kind, Table, near, unique
from waybell_scheduler import CyclicDependencyError, Task, TaskQueue
from waybell_tools import ToolRegistry


Found: TypeAlias = tuple[str, tuple[AgentConfig[Any], ...], tuple[Task, ...], Table]
_KINDS = {  # what each key is, wherever it may stand
    key: kind
    for kind, keys in {
        k.TEXT: "name system_prompt model description agent use rate root",
        k.LINE: "team id", k.TEXTS: "depends_on allow readable", k.USD: "usd",
        k.COUNT: "tokens repairs retries max_redirects", k.SECONDS: "seconds timeout",
        k.ONE: "max_concurrent max_steps max_tokens max_uses max_bytes max_entries max_output",
        k.FLAG: "stop_on_failure partial safe_to_repeat approve hard_links overwrite writable"
        " unsandboxed",
        k.NUMBER: "temperature", k.WHOLE: "priority", k.RUN_IF: "run_if", k.TOOLS: "tools",
        k.LIST: "agents tasks", k.TABLE: "limits output_schema options",
    }.items()
    for key in keys.split()
}  # fmt: skip


def _of(keys: str) -> dict[str, Kind]:
    return {key: _KINDS[key] for key in keys.split()}


_TOP = _of("team model limits agents tasks")
_LIMITS = _of("usd tokens seconds max_concurrent stop_on_failure")
_AGENT = _of(
    "name system_prompt model tools max_steps max_tokens temperature repairs "
    "output_schema options"
)
_TASK = _of(
    "id description agent depends_on priority retries timeout usd tokens run_if partial "
    "safe_to_repeat"
)
# What Python and the shell call the same; said of a file is the name to its right.
_ALSO = {
    "name": "team", "adapter": "model", "output_type": "output_schema", "budget": "usd",
    "deadline": "seconds",
}  # fmt: skip
_ASKING = {"description", "depends_on"}  # a task needs one of them
_SETTINGS = _of("use name approve rate max_uses safe_to_repeat")
# Of each built-in: whether a second call does no harm, and what it takes.
_BUILT = {
    "read_file": (True, _of("root max_bytes hard_links")),
    "list_files": (True, _of("root max_entries")),
    "write_file": (False, _of("root max_bytes overwrite")),
    "http_get": (True, _of("timeout max_bytes max_redirects")),
    "shell": (False, _of("allow root writable unsandboxed readable timeout max_output")),
}  # fmt: skip


def read(path: str | os.PathLike[str], model: Model) -> Found:
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
        if place.suffix == ".json" or text.lstrip()[:1] == "{":
            return json.loads(text, object_pairs_hook=unique)
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise _error(place, [("file", f"is neither TOML nor JSON: {error}")]) from None


def _error(place: Path, problems: list[tuple[str, str]]) -> TeamFileError:
    told = "\n".join(f"  {where}: {what}" for where, what in problems)
    return TeamFileError(f"{place}:\n{told}", problems=problems)


class _File(Checker):
    """One file being read, and what is wrong with it so far."""

    __slots__ = ("_folder", "_model", "_name", "_spelled")

    def __init__(self, place: Path, model: Model) -> None:
        self._folder, self._name, self._model = place.parent, place.stem, model
        self._spelled: dict[str, str] = {}
        super().__init__()

    def wrong(self, path: str, what: str) -> None:
        """Keep a problem, under the name that the file has for what is wrong."""
        super().wrong(self._spelled.get(path, path), what)

    def table(
        self, given: Any, path: str, kinds: Mapping[str, Kind], needed: Iterable[str] = ()
    ) -> Table:  # fmt: skip
        """See `Checker`; a key may be that of Python, too."""
        pythons = sorted(_ALSO.keys() - kinds.keys())
        also = {key: _ALSO[key] for key in pythons if _ALSO[key] in kinds}
        known = {**kinds, **{key: kinds[own] for key, own in also.items()}}
        table, lead = super().table(given, path, known, needed), path and f"{path}."
        for key, own in also.items():
            if key in table and own in table:
                del table[key]
                said = f"says the same as {own!r}: give one of them"
                self.wrong(f"{lead}{key}", said)
            elif key in table:
                table[own] = table.pop(key)
                self._spelled[f"{lead}{own}"] = f"{lead}{key}"
        return table

    def team(self, data: Any) -> Found:
        top = self.table(data, "", _TOP, ("agents", "tasks"))
        self._spec(top, "model")
        if top.get("agents") == []:
            self.wrong("agents", "is empty: a team has one at least")
        limits = self.table(top.get("limits", {}), "limits", _LIMITS)
        members = self._tables(top, "agents", _AGENT, "name")
        agents = [self._agent(each, f"agents[{n}]") for n, each in enumerate(members)]
        model = self._model or top.get("model")
        given = [replace(a, adapter=a.adapter or model) for a in filter(None, agents)]
        jobs = self._tables(top, "tasks", _TASK, "id")
        self._check_tasks(jobs, [str(each.get("name")) for each in members])
        tasks = () if self.problems else self._tasks(jobs)
        return top.get("team", self._name), tuple(given), tasks, limits

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

    def _agent(self, table: Table, path: str) -> AgentConfig[Any] | None:
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
            place = f"{path}.{key if known else 'output_schema'}"
            self.wrong(place, what if known else str(error))
        return None

    def _tool(self, given: Any, path: str, registry: ToolRegistry) -> None:
        wanted = {"use": given} if isinstance(given, str) else given
        use = cast("Table", wanted).get("use") if isinstance(wanted, dict) else None
        if not isinstance(use, str) or use not in _BUILT:
            said = f"no built-in tool {use!r}{near(use, _BUILT)}"
            self.wrong(path, said if use else 'is a name, or a table with use = "..."')
            return
        kinds = _BUILT[use][1]
        needed = [key for key in ("root", "allow") if key in kinds]
        before = len(self.problems)
        table = self.table(wanted, path, {**_SETTINGS, **kinds}, needed)
        if len(self.problems) == before:
            self._define(table, path, registry)

    def _define(self, table: Table, path: str, registry: ToolRegistry) -> None:
        make = getattr(waybell_tools, table["use"])
        settings: Table = {"safe_to_repeat": _BUILT[table.pop("use")][0]}
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
