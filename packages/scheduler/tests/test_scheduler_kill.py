"""A journaled run that is killed at random points goes on where it was."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest


KILLS = int(os.environ.get("WAYBELL_KILLS", "20"))
PROGRAM = """
import asyncio, os, random, sys
from waybell_scheduler import Steps, Task, run

log = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
rng = random.Random(int(sys.argv[3]))

def say(*words):
    os.write(log, (" ".join(words) + "\\n").encode())

async def step(name, turn):
    steps = Steps.current()
    key = f"model:{turn}"
    if (reply := steps.recall(key)) is Steps.MISSING:
        say("asked", name, key)
        await asyncio.sleep(0.001)
        steps.record(key, reply := f"{name} {turn}")
        say("paid", name, key)
    key = f"tool:{turn}"
    if (value := steps.recall(key)) is Steps.MISSING:
        steps.begin(key, safe_to_repeat=True)
        say("keyed", name, key, steps.idempotency_key(key))
        await asyncio.sleep(0.001)
        steps.record(key, value := [reply])
        say("used", name, key)
    return value

def body(name):
    async def agent(results):
        assert all(value for value in results.values())
        say("began", name)
        value = [await step(name, turn) for turn in range(2)]
        say("ended", name)
        return value
    return agent

tasks = []
for n in range(12):
    needs = sorted({f"t{rng.randrange(n)}" for _ in range(rng.randrange(3))}) if n else []
    tasks.append(Task(f"t{n}", run=body(f"t{n}"), depends_on=needs))
result = run(tasks, journal=sys.argv[1], max_concurrent=4,
             on_event=lambda name, fields: say(name, fields["task"]))
assert result.unwrap() == {
    f"t{n}": [[f"t{n} 0"], [f"t{n} 1"]] for n in range(12)
}, dict(result)
say("whole")
"""


@pytest.mark.soak
@pytest.mark.timeout(60 + 3 * KILLS)
def test_a_run_killed_at_random_points_repeats_and_loses_nothing(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    rng, killed, number = random.Random(7), 0, 0
    while killed < KILLS:
        number += 1
        journal, log = tmp_path / f"{number}.jsonl", tmp_path / f"{number}.log"
        command = [sys.executable, str(program), str(journal), str(log), str(number)]
        while True:
            process = subprocess.Popen(command)
            kill = killed < KILLS and rng.random() < 0.9
            if kill:
                _kill_while_it_runs(process, log, rng)
            status = process.wait(60)
            if status == -signal.SIGKILL:
                killed += 1
                _tear(journal, rng)
            else:
                assert status == 0
                break
        _check(log.read_text().splitlines(), journal)


def _kill_while_it_runs(process, log, rng):
    """Kill a process once it has written so much more than it found."""
    size = log.stat().st_size if log.exists() else 0
    more = rng.randrange(1, 1500)
    ends = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < ends:
        if log.exists() and log.stat().st_size >= size + more:
            break
        time.sleep(0.0005)
    process.kill()


def _tear(journal, rng):
    """What a crash may leave behind the last record: the beginning of another one."""
    if journal.exists() and rng.random() < 0.5:
        with journal.open("ab") as file:
            file.write(b'{"task":"t3","done":true,"va')


def _check(said, journal):
    assert said[-1] == "whole"
    counts = Counter(said)
    for line, count in counts.items():
        if line.split()[0] in {"paid", "used", "task:finished"}:
            assert count == 1, line
    keys = {}
    for line in said:
        if line.startswith("keyed"):
            _, name, key, idempotency = line.split()
            assert keys.setdefault((name, key), idempotency) == idempotency
    assert len(set(keys.values())) == len(keys) == 24
    for n in range(12):
        finished = f"task:finished t{n}"
        if finished in said:
            assert f"began t{n}" not in said[said.index(finished) :]
        for kind in ("model", "tool"):
            for turn in range(2):
                word = "paid" if kind == "model" else "used"
                told = f"{word} t{n} {kind}:{turn}"
                asked = f"asked t{n} {kind}:{turn}"
                if told in said:
                    assert asked not in said[said.index(told) :]
    records = [json.loads(line) for line in journal.read_text().splitlines()]
    assert sum("done" in record for record in records) == 12
    assert sum("step" in record for record in records) == 48


@pytest.mark.soak
def test_a_call_with_effects_that_was_killed_is_asked_about(tmp_path):
    program = tmp_path / "program.py"
    program.write_text("""
import os, signal, sys
from waybell_scheduler import Steps, Task, resume, run

def deploy():
    steps = Steps.current()
    if (value := steps.recall("tool:1")) is Steps.MISSING:
        steps.begin("tool:1", name="deploy")
        print("effect", flush=True)
        if sys.argv[2] == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        steps.record("tool:1", value := "deployed")
    return value

tasks = [Task("a", run=deploy), Task("b", run=lambda: 1)]
decisions = {"a/tool:1": True} if sys.argv[2] == "repeat" else None
result = resume(sys.argv[1], decisions, tasks=tasks) if decisions else run(tasks, journal=sys.argv[1])
print(result.status, list(result.pending), result["b"].status)
""")

    def start(how):
        command = [sys.executable, str(program), str(tmp_path / "run.jsonl"), how]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=50
        )
        return done.returncode, done.stdout

    assert start("die") == (-signal.SIGKILL, "effect\n")
    assert start("again") == (0, "suspended ['a/tool:1'] done\n")
    assert start("repeat") == (0, "effect\ndone [] done\n")
    assert start("again") == (0, "done [] done\n")
