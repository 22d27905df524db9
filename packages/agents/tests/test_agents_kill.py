"""A journaled team survives `kill -9` at any moment."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.soak
@pytest.mark.skipif(not hasattr(os, "fork"), reason="it forks")
def test_nothing_recorded_is_paid_for_again_and_nothing_is_lost(tmp_path):
    kills = int(os.environ.get("WAYBELL_KILLS", "20"))
    seed = random.randrange(10**6)
    script = Path(__file__).parent / "killed_team.py"
    done = subprocess.run(
        [sys.executable, script, tmp_path, str(kills), str(seed)],
        capture_output=True, text=True, check=False, timeout=60 + 10 * kills,
    )  # fmt: skip
    assert done.returncode == 0, f"seed {seed}\n{done.stdout}\n{done.stderr}"
    assert json.loads(done.stdout)["killed"] >= kills
