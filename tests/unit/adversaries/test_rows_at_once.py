"""How many rows a policy sees at a time, and that the number changes nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from aajr import AutoPGD, Ball, Divergence, ProjectedGradientAscent, RandomSearch, Square
from aajr.adversaries import FAB, NES, SmoothedAscent, VertexSearch, objective_scale, rows_at_once
from aajr.certification import BlackBoxSearch
from aajr.testing import dense

BALL = Ball("linf", 0.3)
ATTACKS = {
    "pgd": ProjectedGradientAscent(BALL, steps=2, restarts=2, select="best"),
    "stable": ProjectedGradientAscent(BALL, steps=2, step_rule="stable"),
    "kept outputs": ProjectedGradientAscent(BALL, steps=2, keep_outputs=True),
    "backtracking": ProjectedGradientAscent(BALL, steps=2, step_rule="backtracking"),
    "l2": ProjectedGradientAscent(Ball("l2", 0.3, low=-1.0, high=1.0), steps=2),
    "apgd": AutoPGD(BALL, steps=3),
    "random": RandomSearch(BALL, queries=3),
    "square": Square(BALL, queries=3),
    "nes": NES(BALL, steps=2, samples=2),
    "smoothed": SmoothedAscent(BALL, steps=2, samples=2),
    "vertices": VertexSearch(BALL),
    "fab": FAB(BALL, steps=3, bisections=2),
    "fab, l2": FAB(Ball("l2", 0.3, low=-1.0, high=1.0), steps=3, bisections=2),
    "black box": BlackBoxSearch(BALL, queries=3),
}


class Witness:
    """A policy of row by row arithmetic that notes the largest batch it sees."""

    def __init__(self) -> None:
        self.largest = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.largest = max(self.largest, len(x))
        return torch.stack([(2 * x).sin().sum(1), (x * x.flip(1)).sum(1)], 1)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_the_bound_is_kept_and_changes_no_bit(attack):
    x = dense.inputs(13, 4, dtype=torch.float32).clamp(-1, 1)
    found = []
    for bound in (1, 5, 13, 65536):
        policy = Witness()
        with rows_at_once(bound):
            found.append(attack(policy, x, torch.Generator().manual_seed(0)))
        assert policy.largest <= bound
    for other in found[1:]:
        for name in ("points", "gradients", "losses", "worst"):
            assert torch.equal(getattr(found[0], name), getattr(other, name))
        if found[0].outputs is not None:
            assert torch.equal(found[0].outputs, other.outputs)
            assert other.outputs.requires_grad


def test_the_scale_of_an_objective_keeps_the_bound():
    x, scales = dense.inputs(13, 4, dtype=torch.float32), []
    for bound in (5, 65536):
        policy, generator = Witness(), torch.Generator().manual_seed(0)
        with rows_at_once(bound):
            scales.append(objective_scale(Divergence(), policy, x, BALL, generator, draws=2))
        assert policy.largest <= bound
    assert scales[0] == scales[1]


def test_the_bound_is_that_of_the_block():
    policy, x = Witness(), dense.inputs(6, 4)
    with rows_at_once(2), rows_at_once(3):
        pass
    RandomSearch(BALL, queries=1)(policy, x, torch.Generator())
    assert policy.largest == 6
    with pytest.raises(ValueError, match="count=0 is not allowed"), rows_at_once(0):
        pass
