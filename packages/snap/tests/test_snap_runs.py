"""Whole runs: agents by name and by bus, their order, and what of them is kept."""

# What a block complains of at its end is raised around all of it.
# ruff: noqa: PT012, SIM117

import asyncio
from dataclasses import dataclass
from typing import NamedTuple

import pytest

from waybell_adapters import AdapterError, Reply, ScriptedAdapter, agenerate
from waybell_bus import EventBus
from waybell_snap import (
    IgnoreKeys,
    Number,
    Recording,
    RecordingMissing,
    Regex,
    Replay,
    SnapMismatch,
    Snapshot,
    _quiet,
    compare,
)
from waybell_snap._scope import Inside
from waybell_snap._values import NotReplayable, decode_error, encode_error
from waybell_tools import ToolRegistry


@dataclass
class Result:
    value: str
    seconds: float


class Pair(NamedTuple):
    text: str
    seconds: float


async def test_deliveries_of_a_bus_are_turns_of_agents_with_what_they_got_and_gave(
    tmp_path,
):
    async def use(run):
        bus = EventBus()
        run.watch(bus)
        model = run.adapter(ScriptedAdapter(["fine"]), name="big")

        @bus.on("agent:writer")
        async def writer(event):
            text = await agenerate(model, event["prompt"])
            return {
                "result": Result(str(text), asyncio.get_running_loop().time()),
                "pair": Pair("p", 2.0),
            }

        @bus.on("agent:critic")
        async def critic(event):
            raise ValueError("no good")

        await bus.request(
            "agent:writer", prompt="go", budget=object(), deadline=object()
        )
        with pytest.raises(ValueError, match="no good"):
            await bus.request("agent:critic", text="fine")
        return bus

    async with Recording(tmp_path / "run.json") as run:
        bus = await use(run)
    writer, critic = run.snapshot.root["lanes"][0]["nodes"]
    assert writer["given"] == {"prompt": "go"}
    assert writer["got"] == {"result": {"value": "fine"}, "pair": {"text": "p"}}
    assert (writer["op"], critic["op"]) == ("writer", "critic")
    assert critic["error"] == {"type": "builtins.ValueError", "message": "no good"}
    async with Replay(tmp_path / "run.json") as again:
        await use(again)
    bus.on("agent:quiet", lambda event: "still there")
    assert await bus.request("agent:quiet") == "still there"
    assert run.snapshot.root == again.snapshot.root


def test_a_sync_program_is_in_order(tmp_path):
    with Recording(tmp_path / "run.json") as run:
        model = run.adapter(ScriptedAdapter(["1", "2"]))
        model.generate("a")
        model.generate("b")
    with pytest.raises(SnapMismatch, match="order: run"):
        with Replay(tmp_path / "run.json") as run:
            model = run.adapter(ScriptedAdapter([]))
            assert (model.generate("b"), model.generate("a")) == ("2", "1")


def test_a_call_left_out_is_told_and_comparing_may_be_left_to_oneself(tmp_path):
    with Recording(tmp_path / "run.json") as run:
        run.adapter(ScriptedAdapter(["1"])).generate("a")
        assert run.output({"n": 1}) == {"n": 1}
    with pytest.raises(SnapMismatch, match=r"calls: model.generate\(\)"):
        with Replay(tmp_path / "run.json"):
            pass
    with Replay(tmp_path / "run.json", check=False) as run:
        pass
    assert {change.kind for change in run.compare().changes} == {"calls", "output"}
    with Replay(tmp_path / "run.json", allow=["calls", "output"]):
        pass


def test_an_agent_of_its_own_name_fails_or_not(tmp_path):
    with Recording(tmp_path / "run.json") as run:
        with pytest.raises(AdapterError), run.agent("one"):
            run.adapter(ScriptedAdapter([AdapterError("no")])).generate("a")
    with pytest.raises(SnapMismatch, match="error: one\n"):
        with Replay(tmp_path / "run.json") as run, run.agent("one"):
            with pytest.raises(AdapterError):
                run.adapter(ScriptedAdapter([])).generate("a")


def test_a_swallowed_missing_call_is_raised_at_the_end(tmp_path):
    with Recording(tmp_path / "run.json") as run:
        pass
    with (
        pytest.raises(RecordingMissing, match="asked: "),
        Replay(tmp_path / "run.json") as run,
    ):
        with pytest.raises(RecordingMissing):
            run.adapter(ScriptedAdapter([])).generate("a")


def test_what_varies_may_vary_in_requests_too(tmp_path):
    def ask(run, at, job, tries):
        model = run.adapter(ScriptedAdapter(["1", "2"]))
        model.generate(f"It is {at}. Do it.", seed=tries)
        with run.agent("worker", job=job, n=tries):
            model.generate("on", metadata={"job": job})

    matchers = {
        "*.given.messages.*": Regex.TIMESTAMP,
        "*.given.options.seed": Number(abs=5),
        "worker*.given*": IgnoreKeys("job", "n"),
    }
    with Recording(tmp_path / "run.json") as run:
        ask(run, "2026-11-20", "j1", 1)
    with Replay(tmp_path / "run.json", matchers=matchers) as run:
        ask(run, "2027-01-02T03:04", "j2", 3.5)
    with (
        pytest.raises(SnapMismatch, match="seed"),
        Replay(tmp_path / "run.json", matchers=matchers) as run,
    ):
        ask(run, "2027-01-02T03:04", "j2", 9)
    with pytest.raises(RecordingMissing), Replay(tmp_path / "run.json") as run:
        ask(run, "2027-01-02T03:04", "j2", 3.5)


def test_a_recording_over_its_budget_is_not_kept(tmp_path):
    with pytest.raises(SnapMismatch, match=r"budget: run\.tokens"):
        with Recording(tmp_path / "run.json", max_tokens=1) as run:
            run.adapter(ScriptedAdapter(["much too much"])).generate("a")
    assert list(tmp_path.iterdir()) == []


def test_latency_is_kept_by_its_class_and_comes_from_the_recording(tmp_path):
    seconds = iter([0, 0.01, 1, 1.5, 2, 7, 10, 40, 50, 999])
    with Recording(tmp_path / "run.json", clock=lambda: next(seconds)) as run:
        model = run.adapter(ScriptedAdapter(["a"], repeat=True))
        for n in range(5):
            model.generate(str(n))
    with Replay(tmp_path / "run.json") as again:
        model = again.adapter(ScriptedAdapter([]))
        for n in range(5):
            model.generate(str(n))
    found = [node["latency"] for node in again.snapshot.nodes() if "latency" in node]
    assert found == [
        "under 0.1 s",
        "under 1 s",
        "under 10 s",
        "under 1 min",
        "over 1 min",
    ]


async def test_what_still_runs_at_the_end_is_unfinished(tmp_path):
    class Slow:
        async def agenerate(self, prompt, **options):
            await asyncio.Event().wait()

    async with Recording(tmp_path / "run.json") as run:
        task = asyncio.create_task(agenerate(run.adapter(Slow()), "go"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (
        str(Snapshot.load(tmp_path / "run.json"))
        == "run\n  model.generate()  failed: unfinished"
    )


async def test_two_sessions_at_once_do_not_see_each_other(tmp_path):
    with (
        Recording(tmp_path / "one.json") as one,
        Recording(tmp_path / "two.json") as two,
    ):
        model = ScriptedAdapter(["a"], repeat=True)
        with one.agent("outer"), two.agent("other"):
            await agenerate(one.adapter(model), "a")
            with one.agent("inner"):
                await agenerate(two.adapter(model), "b")
    assert str(one.snapshot) == "run\n  outer\n    model.generate()\n    inner"
    assert str(two.snapshot) == "run\n  other\n    model.generate()"


async def test_named_tasks_keep_their_names(tmp_path):
    async with Recording(tmp_path / "run.json") as run:
        model = run.adapter(ScriptedAdapter(["a"], repeat=True))
        tasks = [
            asyncio.create_task(agenerate(model, n), name=n) for n in ("red", "blue")
        ]
        await asyncio.gather(*tasks)
    assert sorted(lane["task"] for lane in run.snapshot.root["lanes"]) == [
        "blue",
        "red",
    ]


def test_a_block_closed_by_the_collector_leaves_other_contexts_alone(tmp_path):
    run = Recording(tmp_path / "run.json")
    block = run.agent("a")
    assert isinstance(block, Inside)
    node = block.__enter__()
    block.__exit__(GeneratorExit, GeneratorExit(), None)
    assert node.error["type"] == "builtins.GeneratorExit"


class Picky(Exception):
    """Wants more than its args keep."""

    def __init__(self, code, *, hint):
        super().__init__(f"code {code}")
        self.code, self.hint, self.thing = code, hint, object()


class OwnError(AdapterError):
    """An error of a user's own adapter."""


def test_errors_of_all_makes_are_made_again():
    again = decode_error(encode_error(Picky(5, hint="try 6")))
    assert (type(again), str(again), again.code, again.hint) == (
        Picky,
        "code 5",
        5,
        "try 6",
    )
    assert "object was recorded by its type only" in again.thing
    own = decode_error(encode_error(OwnError("gone", status=503, retry_after=1.0)))
    assert (type(own), own.status, own.retry_after, str(own)) == (
        OwnError,
        503,
        1.0,
        "gone (status 503, retry after 1.0)",
    )
    for name in ("builtins.print", "nowhere.Error", "builtins.NoSuch", "plain"):
        with pytest.raises(NotReplayable, match=name):
            decode_error({"type": name, "message": ""})


def test_a_replay_of_tests_refuses_the_network_and_nothing_else():
    tell = _quiet._refuse
    with _quiet.Offline():
        for host in (
            "127.0.0.1",
            "::1",
            "localhost",
            "",
            "/run/x.sock",
            b"localhost",
            None,
        ):
            tell("socket.connect", (None, (host, 80)))
            tell("socket.getaddrinfo", (host, 80))
        tell("socket.connect", (None, "/run/x.sock"))
        tell("open", ("192.0.2.1",))
        for event, args in (
            ("socket.connect", (None, ("192.0.2.1", 80))),
            ("socket.sendto", (None, ("2001:db8::1%eth0", 80, 0, 0))),
            ("socket.getaddrinfo", ("example.com", 443, 0, 0, 0)),
        ):
            with pytest.raises(PermissionError, match="a replay uses no network"):
                tell(event, args)
    tell("socket.connect", (None, ("192.0.2.1", 80)))


def test_a_comparison_of_two_live_runs_tells_what_drifted(tmp_path):
    def live(reply):
        run = Recording(tmp_path / "run.json")
        with run, run.agent("desk"):
            run.adapter(ScriptedAdapter([reply]), name="big").generate("go")
        return Snapshot.load(run.path)

    found = compare(live("a b"), live("a b c"))
    assert [(change.kind, change.path) for change in found.changes] == [
        ("output", "desk/big.generate().got.text"),
        ("tokens", "desk/big.generate().got.usage.output_tokens"),
    ]
    assert compare(live("a b"), live("a b c"), allow=["output", "tokens"]).passed


class Rude(Exception):
    """An error that can neither be told nor copied."""

    def __str__(self):
        raise ValueError("no text")

    def __reduce__(self):
        raise TypeError("no copy")


class OfResponse(Exception):
    """Takes something else than its `args` keep."""

    def __init__(self, response):
        super().__init__(f"status {response.status}")
        self.status = response.status


class Response:
    status = 503


def test_an_error_that_cannot_be_told_is_recorded_and_stays_the_users_own(tmp_path):
    for begin in (Recording, Replay):
        with begin(tmp_path / "run.json") as run:
            model = run.adapter(ScriptedAdapter([Rude()]))
            with pytest.raises(Rude), run.agent("desk"):
                model.generate("go")
    assert str(run.snapshot).count("Rude") == 2


def test_an_error_that_is_made_of_something_else_is_raised_again():
    again = decode_error(encode_error(OfResponse(Response())))
    assert (type(again), str(again), again.status) == (OfResponse, "status 503", 503)


def test_a_group_of_groups_of_errors_is_told_as_deep_as_one_would_read(tmp_path):
    error = ValueError("innermost")
    for _ in range(500):
        error = ExceptionGroup("a group", [error])
    with Recording(tmp_path / "run.json") as run:
        with pytest.raises(ExceptionGroup), run.agent("desk"):
            raise error
    known = Snapshot.load(tmp_path / "run.json")
    assert compare(known, run.snapshot, allow=()).passed


def test_values_that_cannot_be_read_are_known_by_their_type(tmp_path):
    class Torn(dict):
        def __getitem__(self, name):
            raise OSError("torn")

    @dataclass
    class Unset:
        value: str

        def __getattribute__(self, name):
            raise AttributeError(name) if name == "value" else None

    with Recording(tmp_path / "run.json") as run:
        with run.agent("desk", torn=Torn(a=1)):
            run.output(Torn(a=1))
    (node,) = run.snapshot.root["lanes"][0]["nodes"]
    assert node["given"] == {"torn": {"$type": encode_type(Torn)}}
    assert node["got"] == {"$type": encode_type(Torn)}


def encode_type(kind):
    return f"{kind.__module__}.{kind.__qualname__}"


@pytest.mark.parametrize("tokens", [-1, "many", float("nan"), float("inf"), True])
def test_a_limit_of_tokens_that_is_none_is_refused_at_once(tmp_path, tokens):
    with pytest.raises(ValueError, match="max_tokens is a number of tokens, not"):
        Recording(tmp_path / "run.json", max_tokens=tokens)


def test_what_may_not_be_allowed_is_refused_before_the_run(tmp_path):
    with Recording(tmp_path / "run.json"):
        pass
    assert Replay(tmp_path / "run.json", allow="latency").compare().passed
    for allow in (["error"], ["mood"], "cheap"):
        with pytest.raises(ValueError, match="no change or never allowed"):
            Replay(tmp_path / "run.json", allow=allow)


def test_what_a_model_behind_a_tool_said_has_no_ids_that_are_never_the_same(tmp_path):
    registry = ToolRegistry()

    @registry.tool
    def ask() -> str:
        """Ask another model."""
        return Reply("said", request_id="r1", model="m")

    for begin in (Recording, Replay):
        with begin(tmp_path / "run.json") as run:
            assert run.tools(registry).call("ask").model == "m"
    assert "request_id" not in (tmp_path / "run.json").read_text()
