"""Steps of differences: what v touches, the precision of the policy, what is resolved."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from aajr import (
    AAJR,
    Ball,
    Frobenius,
    ProjectedGradientAscent,
    RandomDirection,
    ResolutionWarning,
    diagnose,
    directional_derivative,
)
from aajr.adversaries import UniformNoise
from aajr.testing import dense

DIFFERENCES = ("forward_difference", "central_difference")
every_difference = pytest.mark.parametrize("estimator", DIFFERENCES)


@every_difference
@pytest.mark.parametrize("offset", [0.0, 1e3, 1e4, 1e6])
def test_a_large_feature_that_v_does_not_touch_changes_nothing(estimator, offset):
    at = torch.tensor([[0.0, offset]])
    v = torch.tensor([[1.0, 0.0]])
    _, product = directional_derivative(lambda z: torch.tanh(z - at), at, v, estimator)
    torch.testing.assert_close(product, v, rtol=2e-3, atol=0)


@every_difference
@given(offset=st.floats(1.0, 1e4), angle=st.floats(0.0, 1.5))
def test_a_large_feature_that_v_touches_leaves_a_few_percent(estimator, offset, angle):
    at, angle = torch.tensor([[0.0, offset]]), torch.tensor(angle)
    v = torch.stack([angle.cos(), angle.sin()]).unsqueeze(0)
    _, product = directional_derivative(lambda z: torch.tanh(z - at), at, v, estimator)
    assert float((product - v).norm()) < 0.04


def test_diagnostics_and_random_directions_see_past_a_large_feature(generator):
    at = torch.tensor([0.0, 1e4]).expand(16, 2)
    weight = nn.Parameter(torch.ones(()))

    def policy(z: Tensor) -> Tensor:
        return torch.tanh(weight * (z - torch.tensor([0.0, 1e4])))[:, :1]

    mask = torch.tensor([True, False])
    ball = Ball("linf", 1e-3, mask=mask)  # 1e-3 is an ulp of 1e4
    attack = ProjectedGradientAscent(ball, lambda u, r: u.sum(1))
    found = diagnose(policy, attack(policy, at, generator), generator)
    assert found["aligned"] == pytest.approx(1.0, rel=0.01)
    trajectory = UniformNoise(ball)(policy, at, generator)
    value = RandomDirection(fraction=1.0, mask=mask)(policy, trajectory, generator)
    assert value.detach() == pytest.approx(1.0, rel=0.01)


LINEAR = nn.Linear(6, 3)
PENALTIES = [
    AAJR(fraction=1.0),
    AAJR(fraction=1.0, estimator="central_difference"),
    AAJR(fraction=1.0, estimator="forward_mode"),
    AAJR(fraction=1.0, direction="step", estimator="secant"),
    RandomDirection(fraction=1.0),
    Frobenius(),
]


@pytest.mark.parametrize("penalty", PENALTIES, ids=lambda penalty: type(penalty).__name__)
@pytest.mark.parametrize("keep_outputs", [False, True])
def test_autocast_does_not_reach_the_estimators(penalty, keep_outputs):
    x = dense.inputs(64, 6).float()
    objective = lambda output, reference: output.float().sum(1)  # noqa: E731
    attack = ProjectedGradientAscent(Ball("l2", 0.1), objective, keep_outputs=keep_outputs)
    found = attack(LINEAR, x, torch.Generator().manual_seed(0))
    expected = penalty(LINEAR, found, torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16):
        found = attack(LINEAR, x, torch.Generator().manual_seed(0))
        value = penalty(LINEAR, found, torch.Generator().manual_seed(1))
    torch.testing.assert_close(value, expected, rtol=0.02, atol=0)


class Half(nn.Module):
    """Computes in bfloat16 inside and hides it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(6, 3).bfloat16()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.bfloat16()).float()


@every_difference
def test_a_policy_of_half_precision_inside_gets_a_longer_step(estimator):
    policy, x, v = Half(), dense.inputs(256, 6).float(), dense.inputs(256, 6, seed=2).float()
    exact = v @ policy.net.weight.float().T
    _, product = directional_derivative(policy, x, v, estimator)
    assert float(((product - exact).norm() / exact.norm()).detach()) < 0.05


def test_what_rounding_hides_is_warned_about():
    x, v = dense.inputs().float(), torch.ones(4, 5)
    with pytest.warns(ResolutionWarning, match="mostly rounding"):
        directional_derivative(lambda z: 1e4 + z, x, v)
