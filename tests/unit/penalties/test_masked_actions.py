"""Actions masked by logits of -inf: attacks and penalties see the policy of the other actions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from aajr import (
    AAJR,
    ERNIE,
    AutoPGD,
    Ball,
    Categorical,
    Divergence,
    Frobenius,
    ProjectedGradientAscent,
    RandomDirection,
    Spectral,
    Square,
    StateAdversarial,
    diagnose,
)
from aajr.jacobian import ESTIMATORS
from aajr.testing import dense

ALLOWED = [0, 1, 3, 4]
MASK = torch.tensor([True, True, False, True, True, False])
BALL = Ball("l2", 0.3)
BIG, SMALL = Categorical((3, 3)), Categorical((2, 2))


class Masked(nn.Module):
    """Logits of a network with two actions masked."""

    def __init__(self) -> None:
        super().__init__()
        self.net = dense.tanh_net()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).masked_fill(~MASK, -torch.inf)


def unmasked() -> nn.Sequential:
    """The network without the outputs that are masked above."""
    net = dense.tanh_net()
    net[2].weight = nn.Parameter(net[2].weight[ALLOWED].detach())
    net[2].bias = nn.Parameter(net[2].bias[ALLOWED].detach())
    return net


def trajectories(steps: int = 2):
    """The same attack on both policies."""
    return [
        ProjectedGradientAscent(BALL, Divergence(metric), steps=steps)(
            policy, dense.inputs(), torch.Generator().manual_seed(0)
        )
        for policy, metric in ((Masked(), BIG), (unmasked(), SMALL))
    ]


@pytest.mark.parametrize("make", [ProjectedGradientAscent, AutoPGD, Square])
def test_attacks(make):
    worst = [
        make(BALL, Divergence(metric))(policy, dense.inputs(), torch.Generator().manual_seed(0))
        for policy, metric in ((Masked(), BIG), (unmasked(), SMALL))
    ]
    torch.testing.assert_close(worst[0].losses, worst[1].losses)
    torch.testing.assert_close(worst[0].worst, worst[1].worst)


PENALTIES = {
    **{f"AAJR, {name}": (AAJR, {"estimator": name}) for name in ESTIMATORS if name != "secant"},
    "AAJR, secant": (AAJR, {"estimator": "secant", "direction": "step"}),
    "random direction": (RandomDirection, {}),
    "spectral": (Spectral, {}),
    "spectral, forward mode": (Spectral, {"estimator": "forward_mode"}),
    "SA": (StateAdversarial, {"symmetric": True}),
    "ERNIE": (ERNIE, {"ball": BALL}),
}


@pytest.mark.parametrize(("kind", "settings"), PENALTIES.values(), ids=PENALTIES)
def test_penalties(kind, settings):
    policies, values, gradients = (Masked(), unmasked()), [], []
    for policy, trajectory, metric in zip(policies, trajectories(), (BIG, SMALL), strict=True):
        penalty = kind(metric=metric, fraction=1.0, **settings)
        values.append(penalty(policy, trajectory, torch.Generator().manual_seed(0)))
        net = getattr(policy, "net", policy)
        gradients.append(torch.autograd.grad(values[-1], [net[0].weight, net[2].weight]))
    torch.testing.assert_close(*values)
    torch.testing.assert_close(gradients[0][0], gradients[1][0])
    torch.testing.assert_close(gradients[0][1][MASK], gradients[1][1])
    assert not gradients[0][1][~MASK].any()


def test_frobenius_has_the_right_mean():
    """Its draws have the shape of the output, so only the mean can be compared."""
    policy, trajectory = Masked(), trajectories()[0]
    penalty = Frobenius(metric=BIG, projections=500, points="origin")
    value = penalty(policy, trajectory, torch.Generator().manual_seed(0))
    jacobian = dense.jacobian(unmasked(), dense.inputs())
    metric = dense.metric_matrix(SMALL, unmasked()(dense.inputs()))
    expected = torch.einsum("bij,bik,bkj->b", jacobian, metric, jacobian).mean()
    torch.testing.assert_close(value, expected, rtol=0.1, atol=0)
    (slope,) = torch.autograd.grad(value, policy.net[2].weight)
    assert bool(slope.isfinite().all())
    assert not slope[~MASK].any()


def test_diagnosis():
    found = [
        diagnose(policy, trajectory, torch.Generator().manual_seed(0), metric=metric)
        for policy, trajectory, metric in zip(
            (Masked(), unmasked()), trajectories(), (BIG, SMALL), strict=True
        )
    ]
    assert found[0]["aligned"] == pytest.approx(found[1]["aligned"])
    assert all(0 < value < torch.inf for value in found[0].values())


def test_a_row_without_any_action_is_refused(generator):
    policy = lambda x: torch.full((len(x), 3), -torch.inf)  # noqa: E731
    attack = ProjectedGradientAscent(BALL, Divergence(Categorical()))
    with pytest.raises(ValueError, match="masks every action; allow at least one"):
        attack(policy, dense.inputs(), generator)
