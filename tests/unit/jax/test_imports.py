"""Neither side loads the other."""

from __future__ import annotations

import subprocess
import sys

TORCH_SIDE = """
import sys, aajr
assert "torch" not in sys.modules, "a bare import loads torch"
aajr.Ball("l2", 0.1), aajr.penalties.AAJR, aajr.theory.membership
from aajr import *
assert "torch" in sys.modules
assert not {"jax", "optax", "aajr.jax"} & set(sys.modules)
"""
JAX_SIDE = """
import sys, jax, aajr.jax
ball = aajr.jax.Ball("l2", 0.1)
attack = aajr.jax.ProjectedGradientAscent(ball)
attack(lambda x: x, jax.numpy.ones((2, 3)), jax.random.key(0))
assert not [name for name in sys.modules if name.split(".")[0] in ("torch", "optax")]
import aajr.jax.ppo
assert "torch" not in sys.modules, "PPO loads torch"
"""


def run(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_torch_side_leaves_jax_out():
    run(TORCH_SIDE)


def test_the_jax_side_leaves_torch_out():
    run(JAX_SIDE)
