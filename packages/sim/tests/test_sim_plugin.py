"""`@pytest.mark.simulate`, in sessions of its own."""

import os
import re
import subprocess
import sys
import textwrap

import pytest


@pytest.fixture
def session(tmp_path):
    """Run pytest over one file, as a user would."""

    def run(source, *args, **env):
        file = tmp_path / "test_user.py"
        file.write_text("import asyncio, pytest\n" + textwrap.dedent(source))
        (tmp_path / "pytest.ini").write_text(
            "[pytest]\nasyncio_mode = auto\nfilterwarnings = error\n"
            "asyncio_default_fixture_loop_scope = function\n"
            "addopts = -p no:cacheprovider --strict-markers\n"
        )
        names = ("WAYBELL_SIM_SEED", "WAYBELL_SIM_SEEDS", "PYTEST_ADDOPTS")
        kept = {name: text for name, text in os.environ.items() if name not in names}
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", *args],
            cwd=tmp_path,
            env=kept | env,
            capture_output=True,
            text=True,
            check=False,
        )
        return ended.stdout + ended.stderr

    return run


PASSING = """
    runs = []

    @pytest.fixture
    async def base():
        await asyncio.sleep(0)
        return 10

    @pytest.mark.simulate(seeds=30)
    @pytest.mark.parametrize("step", [1, 2])
    async def test_simulated(base, step, rng, tmp_path):
        runs.append(rng.random())
        await asyncio.sleep(base * step)
        assert asyncio.get_running_loop().time() == base * step

    @pytest.mark.simulate
    class TestClass:
        async def test_method(self, rng):
            await asyncio.sleep(86_400)

        def test_plain(self):
            pass

    async def test_of_pytest_asyncio():
        await asyncio.sleep(0)

    def test_seeds():
        assert len(runs) in (0, 30, 60)
"""


@pytest.mark.parametrize("randomly", ["no:randomly", "randomly"])
def test_marked_tests_run_once_per_seed_beside_the_other_plugins(session, randomly):
    assert "6 passed" in session(PASSING, "-p", randomly)


def test_it_works_without_pytest_asyncio(session):
    source = """
        runs = []

        @pytest.mark.simulate(seeds=5)
        async def test_simulated(rng):
            runs.append(rng.random())

        def test_seeds():
            assert len(set(runs)) == 5
    """
    args = ("-p", "no:asyncio", "-o", "addopts=", "-p", "no:randomly")
    out = session(source, *args, "-W", "ignore::pytest.PytestConfigWarning")
    assert "2 passed" in out


FAILING = """
    @pytest.mark.simulate
    @pytest.mark.parametrize("word", ["a b"])
    async def test_unlucky(word, rng):
        assert rng.random() > 0.1
"""


def test_a_failure_prints_a_command_that_replays_it(session):
    out = session(FAILING)
    command = re.search(r"replay: WAYBELL_SIM_SEED=(\d+) pytest (.+)", out)
    assert command[2] == "'test_user.py::test_unlucky[a b]'"
    assert f"seed {command[1]} failed after {command[1]} passed" in out
    assert ">       assert rng.random() > 0.1" in out or "assert rng.random()" in out

    again = session(FAILING, command[2].strip("'"), WAYBELL_SIM_SEED=command[1])
    assert f"seed {command[1]} failed after 0 passed" in again
    lucky = session(FAILING, WAYBELL_SIM_SEED=str(int(command[1]) - 1))
    assert "1 passed" in lucky


def test_the_count_of_the_marker_grows_under_soak(session):
    source = """
        runs = []

        @pytest.mark.soak
        @pytest.mark.simulate(seeds=3)
        async def test_simulated():
            runs.append(1)

        @pytest.mark.simulate(seeds=[3, 4])
        async def test_explicit():
            runs.append(1)

        def test_seeds():
            assert len(runs) == 13
    """
    out = session(source, "-p", "no:randomly", WAYBELL_SIM_SEEDS="11")
    assert "3 passed" in out


def test_skips_and_expected_failures_are_not_failures(session):
    source = """
        @pytest.mark.simulate
        async def test_skipped():
            pytest.skip("not here")

        @pytest.mark.simulate
        async def test_expected():
            pytest.xfail("known")

        @pytest.mark.simulate
        async def test_failed():
            with pytest.raises(ValueError):
                pass
    """
    out = session(source)
    assert "1 failed, 1 skipped, 1 xfailed" in out
    assert "DID NOT RAISE" in out


def test_a_sync_test_cannot_be_simulated(session):
    out = session("@pytest.mark.simulate\ndef test_sync():\n    pass\n")
    assert "test_sync: @pytest.mark.simulate needs an async test" in out


def test_misuse_is_named_and_a_fixture_of_ones_own_named_rng_stays_ones_own(session):
    source = """
        @pytest.mark.simulate(sedes=5)
        async def test_unknown():
            pass

        def test_plain(rng):
            pass

        @pytest.mark.timeout(0.3, method="signal")
        @pytest.mark.simulate
        async def test_busy():
            while True:
                pass

        class TestOwn:
            @pytest.fixture
            def rng(self):
                return "mine"

            @pytest.mark.simulate
            async def test_it(self, rng):
                assert rng == "mine"
    """
    out = session(source)
    assert "got an unexpected keyword argument 'sedes'" in out
    assert "the fixture rng needs @pytest.mark.simulate" in out
    assert "seed 0 failed after 0 passed: Failed: Timeout" in out
    assert "2 failed, 1 passed, 1 error" in out


def test_the_package_does_not_import_pytest():
    code = "import sys, waybell_sim; print('pytest' in sys.modules)"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert out.stdout == "False\n"


@pytest.mark.simulate(seeds=20)
async def test_the_marker_works_in_this_very_session(rng):
    assert 0 <= rng.random() < 1
