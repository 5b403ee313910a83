"""The Stable-Baselines3 example trains, saves and attacks."""

import re
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "sb3_pendulum.py"


def test_it_trains_saves_and_attacks(tmp_path):
    done = subprocess.run(
        [sys.executable, EXAMPLE, "--steps", "2048", "--output", tmp_path / "agent"],
        capture_output=True,
        text=True,
        timeout=200,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"return \d+, attacked \d+", done.stdout)
    assert "'epsilon': 0.3" in done.stdout
    assert (tmp_path / "agent" / "agent.json").exists()
