"""A journaled team survives `kill -9` at any moment."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest


def killed(tmp_path, kills, seed, stride):
    """What came of it, as `killed_team.py` counts it."""
    script = Path(__file__).parent / "killed_team.py"
    done = subprocess.run(
        [sys.executable, script, tmp_path, *map(str, (kills, seed, stride))],
        capture_output=True, text=True, check=False, timeout=60 + 10 * kills,
    )  # fmt: skip
    assert done.returncode == 0, f"seed {seed}\n{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout)


@pytest.mark.soak
@pytest.mark.skipif(not hasattr(os, "fork"), reason="it forks")
def test_nothing_recorded_is_paid_for_again_and_nothing_is_lost(tmp_path):
    kills = int(os.environ.get("WAYBELL_KILLS", "20"))
    assert killed(tmp_path, kills, random.randrange(10**6), 0)["killed"] >= kills


@pytest.mark.soak
@pytest.mark.skipif(not hasattr(os, "fork"), reason="it forks")
def test_so_it_is_wherever_a_run_is_killed(tmp_path):
    many = int(os.environ.get("WAYBELL_KILLS", "20"))
    stride = max(1, 520 // many)
    assert killed(tmp_path, 10_000, 0, stride)["killed"] > min(many, 200) // 4
