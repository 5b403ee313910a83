"""The language examples run as documented."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("trl")
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    "command",
    [
        ["trl_sft.py", "--steps", "3"],
        ["trl_grpo.py", "--fine-tuning", "2", "--steps", "2"],
    ],
    ids=["sft", "grpo"],
)
def test_the_example_trains_and_attacks(command, tmp_path):
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "TMPDIR": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, str(EXAMPLES / command[0]), *command[1:]],
        capture_output=True,
        text=True,
        env=offline,
        cwd=tmp_path,
        check=True,
    )
    last = run.stdout.strip().splitlines()[-3:]
    assert last[0].startswith("clean: ")
    assert last[2].startswith("embeddings moved by 0.3 of their norm")
