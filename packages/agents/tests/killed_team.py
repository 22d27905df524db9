"""A journaled team that is killed again and again: killed_team.py FOLDER KILLS SEED STRIDE.

Each run is a child that a thread of its own kills at a random moment; or, if STRIDE is
above 0, one that kills itself at each STRIDE-th step of its event loop in turn, and is
then let to its end. What it pays for is written down, outside of the journal, before it is given. After each run, nothing may
have been paid that the journal had recorded before.
"""

import asyncio
import json
import os
import random
import signal
import sys
import threading
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from waybell_adapters import ScriptedAdapter, ToolCall
from waybell_agents import AgentConfig, OpenMultiAgent
from waybell_scheduler import Pending, Task
from waybell_tools import ToolRegistry


TURNS = 3
TOOLS = {1: ["send", "look", "ask"], 2: ["send", "look"], 3: ["send", "look"]}
MANY = sum(map(len, TOOLS.values()))
NAMES = ["a", "b", "c", "d", "e", "f"]


def tasks():
    ids = dict(enumerate(NAMES))
    return [
        Task(name, f"task={name}", "worker", depends_on=[ids[n - 2]] if n > 1 else [])
        for n, name in ids.items()
    ]


def pays(paid: int, *what: object) -> None:
    os.write(paid, (json.dumps(what) + "\n").encode())


def team(paid: int):
    registry = ToolRegistry()

    @registry.tool
    async def send(task: str, turn: int, idempotency_key: str) -> str:
        await asyncio.sleep(0)
        pays(paid, f"{task}/{turn}.0", idempotency_key)
        return f"sent {task} {turn}"

    @registry.tool(safe_to_repeat=True)
    async def look(task: str, turn: int, idempotency_key: str) -> str:
        pays(paid, f"{task}/{turn}.1", idempotency_key)
        await asyncio.sleep(0)
        return f"seen {task} {turn}"

    @registry.tool(approve=lambda name, arguments: Pending("may it?"))
    async def ask(task: str, turn: int, idempotency_key: str) -> str:
        pays(paid, f"{task}/{turn}.2", idempotency_key)
        await asyncio.sleep(0)
        return f"asked {task} {turn}"

    def answer(messages):
        task = messages[0]["content"][5]
        turn = 1 + sum(message["role"] == "assistant" for message in messages)
        pays(paid, f"{task}/{turn}", None)
        if turn > TURNS:
            return f"{task}: {sum(m['role'] == 'tool' for m in messages)} results"
        wanted = {"task": task, "turn": turn}
        return [ToolCall(f"{n}", name, wanted) for n, name in enumerate(TOOLS[turn])]

    config = AgentConfig("worker", tools=registry)
    return OpenMultiAgent(adapter=ScriptedAdapter([answer], repeat=True)), [config]


class Doomed(asyncio.SelectorEventLoop):
    """A loop that kills its process when it has taken so many steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def call_soon(self, *args: Any, **kwargs: Any) -> asyncio.Handle:
        self.steps -= 1
        if not self.steps:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().call_soon(*args, **kwargs)


def run(folder: Path, after: float | None, decisions: dict[str, Any]) -> None:
    """Run to the end, or be killed; the exit code is 0 when all is done, 3 if it waits."""
    paid = os.open(folder / "paid", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    many, configs = team(paid)
    doomed = Doomed(after if isinstance(after, int) else 0)
    if isinstance(after, float):

        def kill() -> None:
            time.sleep(after)
            os.kill(os.getpid(), signal.SIGKILL)

        threading.Thread(target=kill, daemon=True).start()
    with asyncio.Runner(loop_factory=lambda: doomed) as runner:
        result = runner.run(
            many.arun_tasks(
                tasks(), team=configs, journal=folder / "journal", decisions=decisions
            )
        )
    (folder / "left").write_text(f"{doomed.steps}")
    if result.status == "suspended":
        (folder / "pending").write_text(json.dumps(list(result.pending)))
        os._exit(3)
    assert {name: one.value for name, one in result.items()} == {
        name: f"{name}: {MANY} results" for name in NAMES
    }, result
    os._exit(0)


def recorded(journal: Path) -> set[str]:
    """What has been recorded, as `task/turn` or `task/turn.call`."""
    lines = journal.read_bytes().split(b"\n")[:-1] if journal.exists() else []
    found = [record for record in map(json.loads, lines) if "step" in record]
    return {f"{each['task']}/{each['step'].partition('/')[2]}" for each in found}


def main(folder: Path, kills: int, seed: int, stride: int) -> None:
    rng, counts = random.Random(seed), Counter[str]()
    campaign = 0
    while counts["killed"] < kills:
        if stride and counts["killed"] < campaign:
            break  # the last one ended before its turn came
        campaign += 1
        here = folder / f"{campaign}"
        here.mkdir()
        outcome, decisions = "killed", dict[str, Any]()
        ahead = campaign * stride  # steps until the kill, over all runs
        keys: dict[str, set[str]] = {}
        while outcome != "done":
            before = recorded(here / "journal")
            seen = (here / "paid").stat().st_size if (here / "paid").exists() else 0
            after = rng.uniform(0, 0.03) if counts["killed"] < kills else None
            if stride:
                after = ahead
            child = os.fork()
            if child == 0:
                try:
                    run(here, after, decisions)
                except BaseException:
                    sys.excepthook(*sys.exc_info())
                os._exit(1)
            _, status = os.waitpid(child, 0)
            code = os.waitstatus_to_exitcode(status)
            outcome = {0: "done", 3: "suspended", -signal.SIGKILL: "killed"}.get(
                code, "broken"
            )
            assert outcome != "broken", (code, (here / "journal").read_text())
            counts[outcome] += 1
            ahead = 0 if outcome == "killed" else int((here / "left").read_text())
            new = (
                (here / "paid").read_bytes()[seen:].splitlines()
                if (here / "paid").exists()
                else []
            )
            for what, key in map(json.loads, new):
                assert what not in before, f"{what} was paid for again"
                keys.setdefault(what, set()).add(key)
            waits = (
                json.loads((here / "pending").read_text())
                if outcome == "suspended"
                else []
            )
            decisions = {name: name.endswith("?") or "repeat" for name in waits}
        assert all(len(found) == 1 for found in keys.values()), "a key changed"
        expected = {
            f"{name}/{turn}" for name in NAMES for turn in range(1, TURNS + 2)
        } | {
            f"{name}/{turn}.{n}"
            for name in NAMES
            for turn, tools in TOOLS.items()
            for n in range(len(tools))
        }
        assert set(keys) == expected, "something was lost"
    sys.stdout.write(json.dumps(counts | {"campaigns": campaign}))


if __name__ == "__main__":
    warnings.filterwarnings("ignore", "This process .* is multi-threaded")
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
