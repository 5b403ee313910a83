"""Weight 0 on clean inputs is the host's own training, bit for bit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from aajr import (
    AAJR,
    ERNIE,
    Ball,
    Frobenius,
    Minimax,
    ProjectedGradientAscent,
    RandomDirection,
    Spectral,
    StateAdversarial,
)
from aajr.testing import dense

BALL = Ball("linf", 0.1)
PENALTIES = {
    "none": lambda: None,
    "aajr": AAJR,
    "gradient": lambda: AAJR(direction="gradient"),
    "frobenius": Frobenius,
    "spectral": Spectral,
    "random": RandomDirection,
    "sa": StateAdversarial,
    "ernie": lambda: ERNIE(ball=BALL),
}


def train(penalty=None, *, robust: bool) -> list[torch.Tensor]:
    """Ten updates of a network with dropout and batch statistics."""
    torch.manual_seed(0)
    policy = nn.Sequential(
        nn.Linear(5, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Dropout(0.2), nn.Linear(16, 6)
    )
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    x, y = dense.inputs(64, 5, dtype=torch.float32), torch.arange(64) % 6
    attack = ProjectedGradientAscent(BALL)
    minimax = Minimax(attack, penalty, weight=0.0, placement="clean", diagnostics_interval=1)
    for _ in range(10):
        if robust:
            loss = minimax(policy, x, lambda out: nn.functional.cross_entropy(out, y)).total
        else:
            loss = nn.functional.cross_entropy(policy(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return [*policy.parameters(), *policy.buffers()]


@pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)
def test_the_parameters_are_those_of_plain_training(penalty):
    plain, robust = train(robust=False), train(penalty(), robust=True)
    assert all(torch.equal(a, b) for a, b in zip(plain, robust, strict=True))
