"""The shortest example runs, fast, and shows what it claims."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "three_lines.py"


def test_it_prints_a_real_effect():
    done = subprocess.run(
        [sys.executable, EXAMPLE], capture_output=True, text=True, timeout=120, check=True
    )
    rows = re.findall(r"(\w+) +clean +([\d.]+)% +under attack +([\d.]+)%", done.stdout)
    assert [name for name, _, _ in rows] == ["plain", "robust"]
    (_, plain, plain_attacked), (_, robust, robust_attacked) = rows
    assert float(plain) > 98
    assert float(robust) > 95
    assert float(plain_attacked) < 40
    assert float(robust_attacked) > 85


def test_three_lines_make_the_difference():
    text = EXAMPLE.read_text()
    assert len(text.splitlines()) <= 80
    assert re.findall(r"# (\d)$", text, re.MULTILINE) == ["1", "2", "3"]
    plain, robust = (
        text.split(f"def {name}() ")[1].split("return policy")[0].splitlines()[2:]
        for name in ("train_plain", "train_robust")
    )
    added = [line for line in robust if line not in plain]
    assert [line[-3:] for line in added] == ["# 1", "# 2", "# 3"]
