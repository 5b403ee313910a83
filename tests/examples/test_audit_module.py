"""The audit of a user's own module, in five lines."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "audit_module.py"


def test_it_proves_something_and_writes_the_page(tmp_path):
    done = subprocess.run(
        [sys.executable, EXAMPLE],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        cwd=tmp_path,
    )
    assert "proven True" in done.stdout
    found, certified = (float(value) for value in re.findall(r"at worst ([\d.]+)", done.stdout))
    assert 0.8 * certified < found <= certified
    plain = json.loads((tmp_path / "audit" / "audit.json").read_text())
    assert not plain["findings"]
    assert plain["checks"]["found_below_certified"]
    assert "radians" in (tmp_path / "audit" / "audit.html").read_text(encoding="utf-8")


def test_it_takes_five_lines():
    text = EXAMPLE.read_text()
    assert re.findall(r"# (\d)$", text, re.MULTILINE) == ["1", "2", "3", "4", "5"]
