"""The journal: finished stages are not paid for twice."""

import asyncio
import os
import resource
import signal
import stat
import subprocess
import sys

import pytest

from waybell_budget import BudgetPool
from waybell_patterns import PatternError, Pipeline, Stage


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "run.jsonl"


def three(asked, path, fail=(), **setting):
    """Three stages that say when they are asked, of which some fail."""

    def stage(name):
        def agent(prompt):
            asked.append(name)
            if name in fail:
                raise OSError(name)
            return {"text": name.upper(), "n": [1, None]}

        return Stage(name, agent, usd=1)

    setting = {"budget": BudgetPool(usd=3), **setting}
    return Pipeline([stage(name) for name in "abc"], journal=path, **setting)


async def test_a_pipeline_run_again_asks_only_the_stages_ahead(path, fakes):
    asked = []
    first = await three(asked, path, fail="b").run("hi")
    assert (first.failed, first.resumed) == ("b", ())
    log = fakes.Log()
    # Only the stages ahead are held: two dollars are enough.
    second = await three(asked, path, budget=BudgetPool(usd=2), log=log).run("hi")
    assert asked == ["a", "b", "b", "c"]
    assert second.resumed == ("a",)
    assert list(second.results) == ["a", "b", "c"]
    assert second.results["a"] == first.results["a"]
    assert second.ok
    assert log.of("pipeline")[0]["resumed"] == ("a",)
    third = await three(asked, path, budget=BudgetPool(usd=0)).run("hi")
    assert (third.resumed, third.results) == (("a", "b", "c"), second.results)


async def test_a_reply_is_kept_as_its_text(path, fakes):
    pattern = Pipeline(
        [Stage("a", lambda prompt: fakes.Reply("väl \n", cost=0))], journal=path
    )
    await pattern.run("hi")
    assert (await pattern.run("hi")).results == {"a": "väl \n"}


async def test_the_file_is_its_owners_and_its_folders_are_made(path):
    await three([], path).run("hi")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_another_prompt_other_stages_and_foreign_files_are_refused(path):
    await three([], path).run("hi")
    with pytest.raises(
        PatternError, match="is not the journal of these stages and this prompt"
    ):
        await three([], path).run("ho")
    with pytest.raises(PatternError, match="is not the journal"):
        await Pipeline([str.upper], journal=path).run("hi")
    for text in ("# A README\n", '{"a": 1}\n', "\n", "[1]\n"):
        path.write_text(text)
        with pytest.raises(PatternError, match="is not the journal"):
            await three([], path).run("hi")
        assert path.read_text() == text


async def test_two_runs_at_once_are_refused(path):
    go = asyncio.Event()

    async def wait(prompt):
        await go.wait()
        return "x"

    pattern = Pipeline([wait], journal=path)
    first = asyncio.ensure_future(pattern.run("hi"))
    await asyncio.sleep(0)
    with pytest.raises(PatternError, match="is in use by another run"):
        await pattern.run("hi")
    go.set()
    assert (await first).ok
    assert (await pattern.run("hi")).resumed == ("wait",)


async def test_a_journal_cut_at_any_byte_resumes_with_what_is_whole(path):
    await three([], path).run("hi")
    whole = path.read_bytes()
    ends = [n + 1 for n, byte in enumerate(whole) if byte == ord("\n")]
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        asked = []
        result = await three(asked, path).run("hi")
        finished = max(0, sum(end <= size for end in ends) - 1)
        assert result.ok
        assert asked == list("abc")[finished:]
        assert path.read_bytes() == whole


async def test_a_damaged_line_hides_the_stages_after_it(path):
    await three([], path).run("hi")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[1], b"\xff\n", lines[3]]))
    asked = []
    assert (await three(asked, path).run("hi")).resumed == ("a",)
    assert asked == ["b", "c"]


@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan")])
async def test_an_answer_that_is_not_json_is_in_the_result_though_not_in_the_journal(
    path, value
):
    stages = [Stage("a", lambda prompt: value), Stage("b", str.upper)]
    result = await Pipeline(stages, journal=path).run("hi")
    assert result.results == {"a": value}
    assert (result.failed, result.missing) == ("a", ("b",))
    assert isinstance(result.error, PatternError)
    assert "return text or JSON values" in str(result.error)


async def test_a_full_disk_ends_the_walk_and_keeps_the_paid_answer(path):
    pattern = Pipeline(
        [Stage("a", lambda prompt: "x" * 10_000), Stage("b", str.upper)], journal=path
    )
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, limit[1]))
    try:
        result = await pattern.run("hi")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert isinstance(result.error, OSError)
    assert (result.failed, result.results) == ("a", {"a": "x" * 10_000})
    again = await pattern.run("hi")
    assert (again.ok, again.resumed) == (True, ())


async def test_a_journal_that_cannot_be_opened_raises(tmp_path):
    with pytest.raises(IsADirectoryError):
        await Pipeline([str.upper], journal=tmp_path).run("hi")


_KILLED = """
import os, signal, sys
from waybell_patterns import Pipeline, Stage
def die(prompt):
    os.kill(os.getpid(), signal.SIGKILL)
stages = [Stage("a", str.upper), Stage("b", die)]
Pipeline(stages, journal=sys.argv[1]).run_sync("hi")
"""


@pytest.mark.soak
def test_a_finished_stage_survives_kill_9(path):
    for n in range(int(os.environ.get("WAYBELL_KILLS", "20")) // 10):
        file = path.with_name(str(n))
        died = subprocess.run([sys.executable, "-c", _KILLED, file], check=False)
        assert died.returncode == -signal.SIGKILL
        result = Pipeline(
            [Stage("a", str.lower), Stage("b", str.title)], journal=file
        ).run_sync("hi")
        assert (result.resumed, result.results["a"], result.ok) == (("a",), "HI", True)


async def test_a_line_that_is_gone_hides_the_stages_after_it(path):
    await three([], path).run("hi")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], *lines[2:]]))
    assert (await three([], path).run("hi")).resumed == ()


async def test_what_followed_a_damaged_line_is_never_taken_up_again(path):
    await three([], path).run("hi")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[1], b"\xff\n", lines[3]]))
    await three([], path, fail="c").run("hi")  # b is asked again, c would be older
    asked = []
    assert (await three(asked, path).run("hi")).resumed == ("a", "b")
    assert asked == ["c"]


_WALKS = """
import os, random, signal, sys, time
from waybell_patterns import Pipeline, Stage
path, seen, kills, rng = sys.argv[1], sys.argv[2], int(sys.argv[3]), random.Random(7)
def stage(name):
    async def agent(prompt):
        with open(seen, "ab", buffering=0) as asked:
            asked.write(name.encode() + b" ")
        return name * 20_000
    return Stage(name, agent)
pipeline = Pipeline([stage(f"s{n:02}") for n in range(40)], journal=path)
def walk():
    result = pipeline.run_sync("hi")
    whole = {name: name * 20_000 for name in map("s{:02}".format, range(40))}
    return 0 if result.ok and result.results == whole else 1
killed = whole = 0
while killed < kills or not whole:
    if (child := os.fork()) == 0:
        os._exit(walk())
    time.sleep(rng.random() * 0.05)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        killed += 1
        continue
    assert os.WEXITSTATUS(status) == 0
    asked = open(seen).read().split()
    # Asked again only if the kill came before the stage's line was written, so never
    # after the next one was asked.
    assert asked == sorted(asked) and len(set(asked)) == 40, asked
    whole += 1
    os.unlink(path)
    os.unlink(seen)
"""


@pytest.mark.soak
def test_killed_anywhere_no_finished_stage_is_repeated_or_lost(tmp_path):
    kills = os.environ.get("WAYBELL_KILLS", "20")
    command = [sys.executable, "-c", _WALKS, tmp_path / "run", tmp_path / "seen", kills]
    subprocess.run(command, check=True)
