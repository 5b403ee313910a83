"""The PPO examples train and attack in one program each."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
ONE_UPDATE = """
import jax, jax_multi_agent_ppo as example
before, after = (example.train(0.3, 0.01, updates=n, seed=0) for n in (0, 1))
for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
    assert bool(jax.numpy.isfinite(new).all()) and not bool((new == old).all())
print("learnt")
"""


def needs(module: str) -> pytest.MarkDecorator:
    reason = f"{module} is not installed; pip install --no-deps {module}"
    return pytest.mark.skipif(importlib.util.find_spec(module) is None, reason=reason)


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=240, cwd=EXAMPLES
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs("gymnax")
def test_cartpole():
    shown = run("jax_ppo.py", "--updates", "2")
    rows = re.findall(r"(\w+) +clean +([\d.]+) +under attack +([\d.]+)", shown)
    assert [name for name, _, _ in rows] == ["plain", "robust"]
    assert all(8 <= float(value) <= 500 for _, *values in rows for value in values)


@needs("jaxmarl")
def test_a_team():
    assert run("-c", ONE_UPDATE).endswith("learnt\n")


@pytest.mark.parametrize("name", ["jax_ppo.py", "jax_multi_agent_ppo.py"])
def test_robust_takes_four_lines(name):
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    assert len(text.splitlines()) < 250
    assert sorted(re.findall(r"# (\d)", text)) == ["1", "2", "3", "4"]
