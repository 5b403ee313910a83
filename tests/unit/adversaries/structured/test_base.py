"""The proof that every point is in the threat set, and what the player of episodes must keep."""

from __future__ import annotations

import pytest
import torch

from aajr import Ball, Trajectory
from aajr._errors import ContractError
from aajr.adversaries import StructuredAdversary, SubsetSearch
from aajr.geometry import Delayed, Dropped, Frozen, Quantised, Sparse
from aajr.testing import dense


class Cheat(StructuredAdversary):
    """Moves everything by as much as a single feature may move."""

    objective = None

    def __init__(self, ball, delta):
        self.ball = ball
        self.delta = delta

    def search(self, policy, reference, generator):
        x = reference.inputs
        policy(x + self.delta)
        return Trajectory(
            reference=reference,
            points=torch.stack([x, x + self.delta]),
            gradients=torch.zeros_like(x).unsqueeze(0),
            losses=torch.zeros(1, len(x)),
            worst=x + self.delta,
        )


@pytest.mark.parametrize(
    ("ball", "delta"),
    [
        (Sparse(Ball("linf", 0.1), 2), 0.1),
        (Quantised(Ball("linf", 0.1), 0.1), 0.05),
        (Quantised(Ball("linf", 0.1), 0.1, budget=2), 0.1),
        (Dropped(torch.arange(5), 2), -dense.inputs()),
        (Dropped(torch.zeros(5, dtype=torch.long)), 0.1),
    ],
)
def test_a_point_outside_the_set_is_caught(ball, delta, generator):
    with pytest.raises(ContractError, match="Cheat left its threat set"):
        Cheat(ball, delta)(dense.tanh_net(), dense.inputs(), generator)


def test_memory_is_what_the_set_looks_back():
    groups = torch.arange(5)
    sets = {Dropped(groups): 0, Frozen(groups): 1, Delayed(groups, delay=4): 4}
    assert [SubsetSearch(ball).memory for ball in sets] == list(sets.values())
