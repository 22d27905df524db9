"""The fixture and the marker, in sessions of their own."""

import json
import subprocess
import sys
import textwrap

import pytest


pytest_plugins = ["pytester"]

HEAD = """
import os, pytest
from waybell_adapters import ScriptedAdapter, agenerate
from waybell_snap import *
from waybell_tools import ToolRegistry

LIVE = os.environ["MODEL"] == "live"

def model(*replies):
    return ScriptedAdapter(replies if LIVE else [])
"""
ONE = """
def test_one(agent_run):
    writer = agent_run.adapter(model("Bronze."), name="writer")
    assert writer.generate("What are bells made of?") == "Bronze."
"""


@pytest.fixture
def session(pytester, monkeypatch):
    """Run pytest over test_user.py, with models that answer only while `live`."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makeini(
        "[pytest]\nasyncio_mode = auto\nfilterwarnings = error\n"
        "asyncio_default_fixture_loop_scope = function\n"
        "addopts = -p no:cacheprovider --strict-markers -p no:randomly\n"
    )

    def run(source, *args, live=False, ci="", name="test_user"):
        monkeypatch.setenv("MODEL", "live" if live else "none")
        monkeypatch.setenv("CI", ci)
        pytester.makepyfile(**{name: HEAD + textwrap.dedent(source)})
        # A test may be edited and run again within one second: no caches of its bytes.
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        return pytester.runpytest_inprocess(*args)

    run.path = pytester.path
    return run


def recording(session, name, stem="test_user"):
    return session.path / "__waybell__" / stem / f"{name}.json"


def said(result):
    return "\n".join([*result.outlines, *result.errlines])


def test_the_first_run_records_beside_the_test_and_the_next_replays(session):
    result = session(ONE, live=True)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["*1 recording made, to be looked at*", "*test_one.json"]
    )
    file = recording(session, "test_one")
    first = file.read_bytes()
    session(ONE).assert_outcomes(passed=1)
    session(ONE, ci="true").assert_outcomes(passed=1)
    assert file.read_bytes() == first


def test_looking_at_the_fixture_begins_no_run(session):
    source = """
        import copy

        def test_look(agent_run):
            assert "Runs" in repr(agent_run)
            assert not hasattr(agent_run, "__wrapped__")
            assert agent_run != 5
    """
    session(source, ci="1").assert_outcomes(passed=1)


def test_a_missing_recording_fails_in_ci_and_says_how_to_make_it(session):
    result = session(ONE, live=True, ci="true")
    result.assert_outcomes(failed=1)
    assert "no recording __waybell__/test_user/test_one.json" in said(result)
    assert "pytest test_user.py::test_one --waybell-update" in said(result)
    assert not (session.path / "__waybell__").exists()


@pytest.mark.parametrize("no", ["", "0", "false", "False"])
def test_ci_may_be_set_to_no(session, no):
    session(ONE, live=True, ci=no).assert_outcomes(passed=1)


def test_updating_in_ci_is_refused(session):
    result = session(ONE, "--waybell-update", live=True, ci="1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "CI= pytest --waybell-update" in said(result)


def test_a_changed_prompt_fails_and_update_records_anew(session):
    session(ONE, live=True)
    changed = ONE.replace("made of", "cast from")
    result = session(changed)
    result.assert_outcomes(failed=1)
    assert "-What are bells made of?" in said(result).replace('- "', "-")
    assert "writer.generate() was not recorded" in said(result)
    session(changed, "--waybell-update", live=True).assert_outcomes(passed=1)
    assert "cast from" in recording(session, "test_one").read_text()
    session(changed).assert_outcomes(passed=1)


def test_nothing_is_written_when_the_test_fails_or_skips(session):
    failing = ONE + "    assert False\n"
    skipping = ONE + "    pytest.skip('no')\n"
    for source in (failing, skipping):
        session(source, live=True)
        assert not (session.path / "__waybell__").exists()
    session(ONE, live=True)
    before = recording(session, "test_one").read_bytes()
    session(failing.replace("made of", "x"), "--waybell-update", live=True)
    assert recording(session, "test_one").read_bytes() == before


def test_a_swallowed_missing_call_still_fails_the_test(session):
    session(ONE, live=True)
    source = """
        def test_one(agent_run):
            writer = agent_run.adapter(model(), name="writer")
            try:
                writer.generate("What else?")
            except Exception:
                writer.generate("What are bells made of?")
    """
    result = session(source)
    result.assert_outcomes(failed=1)
    assert "RecordingMissing" in said(result)


def test_a_run_that_leaves_something_out_fails_in_its_own_phase(session):
    two = ONE + "    writer.generate('And?')\n"
    session(two.replace('"Bronze."', '"Bronze.", "Tin."'), live=True)
    result = session(ONE)
    result.assert_outcomes(failed=1)
    assert "the run changed: 1 calls" in said(result)


def test_parametrised_async_and_class_tests_have_files_of_their_own(session):
    source = """
        @pytest.mark.parametrize("word", ["plain", "A b", "a b", "x--y", "x::y", "x.y", "x/../y", "ü" * 90])
        async def test_words(agent_run, word):
            writer = agent_run.adapter(model(word), name="writer")
            assert await agenerate(writer, f"say {word}") == word

        class TestIt:
            def test_words(self, agent_run):
                agent_run.adapter(model("class"), name="writer").generate("say")
    """
    session(source, live=True).assert_outcomes(passed=9)
    files = sorted(path.name for path in recording(session, "x").parent.iterdir())
    assert len({name.lower() for name in files}) == 9
    assert {"TestIt.test_words.json", "test_words[plain].json"} < {*files}
    assert all(len(name.encode()) < 200 for name in files)
    result = session(source, ci="1")
    result.assert_outcomes(passed=9)
    assert "waybell" not in said(result).partition("collected")[2]


def test_two_runs_of_one_test_have_two_files(session):
    source = """
        def test_two(agent_run):
            for name in ("first", "second"):
                run = agent_run.run(name)
                run.adapter(model(name), name="writer").generate("who?")
                assert agent_run.run(name) is run
                assert run.output(name) == name
            with pytest.raises(ValueError, match="letters"):
                agent_run.run("../elsewhere")
    """
    session(source, live=True).assert_outcomes(passed=1)
    assert recording(session, "test_two--first").exists()
    assert recording(session, "test_two--second").exists()
    session(source, ci="1").assert_outcomes(passed=1)
    gone = source.replace('("first", "second")', '("first",)')
    result = session(gone)
    result.stdout.fnmatch_lines(
        ["*1 recording without a test*", "*test_two--second.json"]
    )


def test_a_recording_is_kept_only_if_the_other_runs_of_the_test_are_the_same(session):
    source = """
        def test_two(agent_run):
            for name in ("new", "old"):
                agent_run.run(name).adapter(model(name), name="writer").generate("who?")
    """
    session(source, live=True).assert_outcomes(passed=1)
    recording(session, "test_two--new").unlink()
    changed = source.replace(
        "    agent_run", "    if name == 'new': agent_run"
    ).replace("who?", "what?")
    changed += "            agent_run.run('old')\n"
    result = session(changed, live=True)
    result.assert_outcomes(failed=1)
    assert not recording(session, "test_two--new").exists()


def test_recordings_without_a_test_are_told_of_and_only_those(session):
    session(ONE + ONE.replace("test_one", "test_other"), live=True)
    assert "without a test" not in said(
        session(ONE + ONE.replace("test_one", "test_other"), "-k", "other")
    )
    assert "without a test" not in said(session(ONE, "test_user.py::test_one"))
    result = session(ONE)
    result.stdout.fnmatch_lines(
        ["*1 recording without a test*", "*__waybell__/test_user/test_other.json"]
    )
    (session.path / "test_user.py").unlink()
    result = session(ONE, live=True, name="test_moved")
    result.stdout.fnmatch_lines(["*2 recordings without a test*"])


def test_workers_of_xdist_share_recordings_and_the_report(session):
    many = "".join(ONE.replace("test_one", f"test_{n}") for n in range(6))
    session(many + ONE, live=True).assert_outcomes(passed=7)
    for number in range(3):
        recording(session, f"test_{number}").unlink()
    result = session(many, "-n2", live=True)
    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines(
        [
            "*3 recordings made*",
            *(f"*test_{number}.json" for number in range(3)),
            "*1 recording without a test*",
            "*test_one.json",
        ]
    )


def test_the_marker_sets_what_may_vary_and_what_it_may_cost(session):
    source = """
        import uuid

        @pytest.mark.replay(matchers={"*.given.*": Regex.UUID}, max_tokens=100)
        def test_job(agent_run):
            writer = agent_run.adapter(model("Done."), name="writer")
            writer.generate(f"do job {uuid.uuid4()}")
    """
    session(source, live=True).assert_outcomes(passed=1)
    session(source).assert_outcomes(passed=1)
    result = session(source.replace("100", "2"))
    result.assert_outcomes(failed=1)
    assert "budget: run.tokens" in said(result)
    recording(session, "test_job").unlink()
    session(source.replace("100", "2"), live=True).assert_outcomes(failed=1)
    assert not recording(session, "test_job").exists()


def test_the_nearest_marker_wins_and_a_wrong_one_is_named(session):
    source = """
        pytestmark = pytest.mark.replay(max_tokens=1)

        @pytest.mark.replay(max_tokens=100)
        def test_it(agent_run):
            agent_run.adapter(model("Done."), name="writer").generate("do")

        def test_other():
            pass

        @pytest.mark.replay(max_tokens=100)
        def test_without():
            pass

        @pytest.mark.replay(max_tokns=100)
        def test_wrong(agent_run):
            pass
    """
    result = session(source, live=True)
    result.assert_outcomes(passed=2, failed=1, errors=1)
    assert "is for tests with agent_run" in said(result)
    assert "@pytest.mark.replay has no 'max_tokns'" in said(result)


def test_a_replay_uses_no_network_and_live_tools_may(session):
    source = """
        import socket

        @pytest.mark.replay(tools=TOOLS)
        def test_tools(agent_run):
            tools = ToolRegistry()

            @tools.tool
            def call_home(host: str) -> str:
                with pytest.raises(OSError) as failed:
                    socket.create_connection((host, 9), timeout=5)
                return type(failed.value).__name__

            writer = agent_run.adapter(model("Done."), name="writer")
            writer.generate("do")
            with socket.socket() as server:
                server.bind(("127.0.0.1", 0))
                server.listen()
                socket.create_connection(server.getsockname()).close()
            if not LIVE:
                with pytest.raises(PermissionError, match="a replay uses no network"):
                    socket.create_connection(("192.0.2.1", 9), timeout=5)
                with pytest.raises(PermissionError, match="'example.com'"):
                    socket.getaddrinfo("example.com", 9)
    """
    session(source.replace("TOOLS", '"replay"'), live=True).assert_outcomes(passed=1)
    result = session(source.replace("TOOLS", '"replay"'))
    result.assert_outcomes(failed=1)  # for all that the errors were swallowed
    assert "FAILED test_user.py::test_tools - Failed: a replay uses no" in said(result)
    assert "AssertionError" not in said(result)
    told = source.replace("TOOLS", '"live"')
    session(told.replace("not LIVE", "False")).assert_outcomes(passed=1)


def test_the_recording_is_json_of_a_known_schema(session):
    session(ONE, live=True)
    found = json.loads(recording(session, "test_one").read_text("utf-8"))
    assert found["waybell_snap"] == 1
    assert recording(session, "test_one").stat().st_mode & 0o777 == 0o600


def test_the_package_itself_does_not_import_pytest():
    code = "import sys, waybell_snap; print('pytest' in sys.modules)"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert out.stdout == "False\n"


def test_a_test_that_asks_for_nothing_any_more_fails(session):
    session(ONE, live=True).assert_outcomes(passed=1)
    result = session("def test_one(agent_run): pass")
    result.assert_outcomes(failed=1)
    assert "asked agent_run for nothing" in said(result)


def test_a_swallowed_refusal_of_the_network_fails_the_test(session):
    asks = """
    import socket
    if not LIVE:
        try: socket.create_connection(("models.example", 443))
        except OSError: pass
"""
    session(ONE + asks, live=True).assert_outcomes(passed=1)
    result = session(ONE + asks)
    result.assert_outcomes(failed=1)
    assert "a replay uses no network, and this wants 'models.example'" in said(result)


def test_a_secret_of_a_case_is_in_no_name_of_a_file(session):
    cases = """
        @pytest.mark.parametrize("key", ["sk-abcdefgh12345678"])
        def test_key(agent_run, key):
            agent_run.adapter(model("yes")).generate(key)
    """
    session(cases, live=True).assert_outcomes(passed=1)
    session(cases).assert_outcomes(passed=1)
    kept = [str(path) + path.read_text() for path in session.path.rglob("*.json")]
    assert len(kept) == 1
    assert "abcdefgh" not in kept[0]
