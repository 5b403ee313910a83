"""The core with torch and nothing else; run by ``make test-core`` and by the tests.

torch itself says at its import that it failed to initialise NumPy, where there is none; that
warning is torch's own, and nothing here hides it.
"""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
CORE = (
    "adversaries",
    "diagnostics",
    "geometry",
    "jacobian",
    "minimax",
    "penalties",
    "schedules",
    "theory",
    "trajectory",
)


def every_name() -> None:
    """All that ``from aajr import *`` gives, and all that the core's packages export."""
    import aajr

    for name in aajr.__all__:
        getattr(aajr, name)
    for home in CORE:
        module = import_module(f"aajr.{home}")
        for name in getattr(module, "__all__", ()):
            getattr(module, name)


def three_lines() -> None:
    """The README's diff, as the code is after it."""
    text = README.read_text(encoding="utf-8")
    diff = re.search(r"## Three lines\n\n```diff\n(.*?)```", text, re.DOTALL)
    if diff is None:
        raise SystemExit("README.md has no diff below 'Three lines'")
    code = "\n".join(line[1:] for line in diff[1].splitlines() if not line.startswith("-"))
    scope: dict[str, object] = {}
    exec(compile(code, str(README), "exec"), scope)
    for weight in scope["policy"].parameters():  # type: ignore[attr-defined]
        if not weight.grad.abs().sum() > 0:
            raise SystemExit("the README's three lines leave a parameter without gradient")


def attacks_and_penalties() -> None:
    """Every solver and penalty once: what is imported late is seen too."""
    import torch

    import aajr

    policy = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    x, ball = torch.zeros(2, 4), aajr.Ball("linf", 0.1)
    steep = aajr.ProjectedGradientAscent(ball, steps=2)
    gradients = (steep, aajr.AutoPGD(ball, steps=3), aajr.SmoothedAscent(ball, steps=1))
    queries = (aajr.RandomSearch(ball, queries=3), aajr.Square(ball, queries=3))
    estimates = (aajr.NES(ball, steps=1), aajr.SPSA(ball, steps=1))
    generator = torch.Generator().manual_seed(0)
    paths = [
        attack(policy, x, generator)
        for attack in (*gradients, *queries, *estimates, aajr.VertexSearch(ball))
    ]
    aajr.masked_gradients(policy, aajr.Divergence(), paths[0], paths[3])
    aajr.diagnose(policy, paths[0], generator)
    local = (aajr.AAJR(), aajr.RandomDirection(), aajr.InputGradient(objective=aajr.Divergence()))
    whole = (aajr.Frobenius(), aajr.Spectral(), aajr.ERNIE(ball=ball), aajr.StateAdversarial())
    for penalty in (*local, *whole):
        aajr.Minimax(steep, penalty)(policy, x, lambda output: output.sum()).total.backward()


def strategies_name_their_extra() -> None:
    """CMA-ES alone needs more, and says what."""
    import aajr

    try:
        aajr.CMAES(aajr.Ball("l2", 0.1))
    except ImportError as error:
        if "pip install 'aajr[attacks]'" not in str(error):
            raise
    else:
        raise SystemExit("CMAES was built without the package cma")


if __name__ == "__main__":
    for check in (every_name, three_lines, attacks_and_penalties, strategies_name_their_extra):
        check()
    for stranger in ("numpy", "cma", "scipy", "matplotlib", "rich", "tyro", "jax"):
        if stranger in sys.modules:
            raise SystemExit(f"the core loaded {stranger}")
    print("the core works with torch alone")
