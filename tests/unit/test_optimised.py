"""What a user relies on holds under ``python -O``, which drops every ``assert``."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import aajr

PROGRAM = """
import torch
from aajr import Adversary, Ball, ContractError, Trajectory

assert False, "python -O runs this program"


class Far(Adversary):
    ball = Ball("linf", 0.1)

    def run(self, policy, reference, generator):
        x = reference.inputs
        policy(x + self.shown)
        return Trajectory(
            reference=reference,
            points=torch.stack([x, x + self.shift]),
            gradients=torch.zeros_like(x).unsqueeze(0),
            losses=torch.zeros(2, len(x)),
            worst=x + self.shift,
            event_dims=1,
            forward_passes=1,
        )


def refused(shift, shown):
    adversary = Far()
    adversary.shift, adversary.shown = shift, shown
    try:
        adversary(torch.tanh, torch.zeros(2, 3), torch.Generator().manual_seed(0))
    except ContractError as error:
        return str(error)
    return "accepted"


for shift, shown in ((100.0, 100.0), (float("nan"), 0.05), (0.05, 0.0), (0.05, 0.05)):
    print(refused(shift, shown))
"""


def test_no_promise_of_the_library_is_an_assert():
    root = Path(aajr.__file__).parent
    found = [
        f"{path.relative_to(root)}:{node.lineno}"
        for path in sorted(root.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assert) and path.relative_to(root).parts[0] != "testing"
    ]
    assert not found, "raise a named error: python -O drops asserts"


def test_broken_promises_of_an_adversary_are_refused_under_o():
    done = subprocess.run([sys.executable, "-O", "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    far, lost, unseen, honest = done.stdout.splitlines()
    assert "Far returned a point outside its ball" in far
    assert "Far returned a point outside its ball" in lost
    assert "of Far did not reach the policy" in unseen
    assert honest == "accepted"
