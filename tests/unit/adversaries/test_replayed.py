"""Perturbations made earlier: penalties are taken there, and along them."""

import pytest
import torch

from aajr import AAJR, Ball, Frobenius, RandomDirection
from aajr.adversaries import Replayed
from aajr.geometry import Euclidean
from aajr.testing import dense

BALL = Ball("linf", 0.5, mask=torch.tensor([True, True, True, False, False]))


def replayed(ball: Ball = BALL):
    policy, x = dense.tanh_net(), dense.inputs()
    delta = 0.5 * dense.inputs(seed=2).clamp(-1, 1) * BALL.mask
    data = {"perceived": x + delta}
    return policy, x, delta, Replayed(ball)(policy, x, torch.Generator(), data)


@pytest.mark.parametrize("direction", ["unit", "step"])
def test_aajr_is_taken_where_the_policy_acted_along_the_perturbation(direction):
    policy, x, delta, trajectory = replayed()
    penalty = AAJR(direction=direction, estimator="double_backward", fraction=1.0)
    found = penalty.per_sample(policy, trajectory, torch.Generator())
    v = delta / delta.norm(dim=1, keepdim=True)
    expected = dense.squared_norm(policy, Euclidean(), x + delta, v)
    dense.assert_matches(found, expected, policy)


def test_other_points_and_the_moved_features_are_those_of_the_perturbation():
    _, x, delta, trajectory = replayed()
    assert torch.equal(trajectory.worst, x + delta)
    assert torch.equal(trajectory.moved, delta != 0)
    assert torch.equal(Frobenius(points="last").evaluation_points(trajectory)[0], x + delta)
    assert torch.equal(Frobenius(points="origin").evaluation_points(trajectory)[0], x)


@pytest.mark.parametrize(
    "penalty",
    [
        AAJR(fraction=1.0),
        Frobenius(fraction=1.0, mask="moved"),
        RandomDirection(fraction=1.0, mask="moved"),
    ],
)
def test_rows_without_a_perturbation_have_no_price(penalty):
    policy, x = dense.tanh_net(), dense.inputs()
    trajectory = Replayed(BALL)(policy, x, torch.Generator(), {"perceived": x})
    value = penalty(policy, trajectory, torch.Generator())
    assert float(value.detach()) == 0
    assert bool((dense.parameter_gradient(value, policy) == 0).all())


def test_a_perturbation_outside_the_ball_is_refused():
    with pytest.raises(RuntimeError, match="outside its ball"):
        replayed(Ball("linf", 0.1))


def test_what_was_perceived_must_be_given():
    policy, x = dense.tanh_net(), dense.inputs()
    with pytest.raises(ValueError, match="perceived"):
        Replayed(BALL)(policy, x, torch.Generator())
