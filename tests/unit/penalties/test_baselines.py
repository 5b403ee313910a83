"""What is each baseline's own. Parity with dense Jacobians is in tests/parity."""

from __future__ import annotations

import pytest
import torch

from aajr import (
    ERNIE,
    Ball,
    Frobenius,
    InputGradient,
    ProjectedGradientAscent,
    RandomDirection,
    Spectral,
    StateAdversarial,
    UniformNoise,
)
from aajr.testing import dense

COST = torch.tensor([3.0, -4.0, 0.0, 1.0, 2.0], dtype=torch.float64)
WEIGHT = dense.inputs(6, 5, seed=4)
MASK = torch.tensor([True, True, False, False, True])


def linear(x: torch.Tensor) -> torch.Tensor:
    return x @ WEIGHT.T


def trajectory_of(policy, x=None, **ball):
    attack = ProjectedGradientAscent(Ball("l2", 0.5, **ball), steps=20)
    x = dense.inputs(3, 5) if x is None else x
    return attack(policy, x, torch.Generator().manual_seed(0))


def test_random_directions_average_to_the_masked_frobenius_norm(generator):
    trajectory = trajectory_of(linear, dense.inputs(20000, 5))
    for mask, columns in ((None, WEIGHT), (MASK, WEIGHT[:, MASK])):
        penalty = RandomDirection(mask=mask, fraction=1.0)
        expected = columns.square().sum() / columns.shape[1]
        value = penalty(linear, trajectory, generator)
        torch.testing.assert_close(value, expected, rtol=0.03, atol=0)


def test_a_mask_of_what_moved_follows_every_sample(generator):
    """Half of the rows were attacked on MASK, half on its complement."""
    x = dense.inputs(4000, 5)
    masks = torch.where(torch.arange(4000).unsqueeze(1) < 2000, MASK, ~MASK)
    trajectory = trajectory_of(linear, x, mask=masks)
    assert torch.equal(trajectory.moved, masks)
    squares = [WEIGHT[:, m].square().sum() for m in (MASK, ~MASK)]
    for points in ("origin", "last", "trajectory"):
        penalty = Frobenius(mask="moved", projections=20, points=points)
        found = penalty.values(linear, trajectory, generator).reshape(2, 2000).mean(1)
        torch.testing.assert_close(found, torch.stack(squares), rtol=0.03, atol=0)
    found = RandomDirection(mask="moved", fraction=1.0).values(linear, trajectory, generator)
    means = torch.stack([squares[0] / 3, squares[1] / 2])
    torch.testing.assert_close(found.reshape(2, 2000).mean(1), means, rtol=0.06, atol=0)


def test_random_directions_are_unit_vectors_per_agent(generator):
    x = dense.inputs(5000, 2, 3)
    per_agent = trajectory_of(torch.clone, x)
    joint = trajectory_of(torch.clone, x, event_dims=2)
    penalty = RandomDirection(fraction=1.0)
    assert float(penalty(torch.clone, per_agent, generator)) == pytest.approx(2)
    assert float(penalty(torch.clone, joint, generator)) == pytest.approx(1)


def test_linear_policies_have_known_penalties(generator):
    trajectory = trajectory_of(linear)
    top = torch.linalg.matrix_norm(WEIGHT, 2)
    spectral = Spectral(iterations=300)(linear, trajectory, generator)
    torch.testing.assert_close(spectral, top.square())
    masked = Spectral(iterations=300, mask=MASK)(linear, trajectory, generator)
    torch.testing.assert_close(masked, torch.linalg.matrix_norm(WEIGHT[:, MASK], 2).square())
    frobenius = Frobenius(projections=4000, mask=MASK)(linear, trajectory, generator)
    torch.testing.assert_close(frobenius, WEIGHT[:, MASK].square().sum(), rtol=0.05, atol=0)
    ernie = ERNIE(ball=Ball("l2", 0.5), steps=300)(linear, trajectory, generator)
    torch.testing.assert_close(ernie, 0.5 * top)
    slope = InputGradient(objective=lambda output, reference: output @ torch.ones(6).double())
    expected = WEIGHT.sum(0).square().sum()
    torch.testing.assert_close(slope(linear, trajectory, generator), expected)


def test_state_adversarial_reads_the_worst_point(generator):
    trajectory = trajectory_of(linear)
    change = linear(trajectory.worst - trajectory.origin).square().sum(1).mean()
    value = StateAdversarial()(linear, trajectory, generator)
    torch.testing.assert_close(value, change / 2)
    both = StateAdversarial(symmetric=True)(linear, trajectory, generator)
    torch.testing.assert_close(both, change)


def test_ernie_stays_in_its_own_ball_and_off_the_mask(generator):
    seen = []

    def policy(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.detach())
        return linear(x)

    trajectory = trajectory_of(linear)
    ball = Ball("linf", 0.1, mask=MASK)
    ERNIE(ball=ball, steps=3)(policy, trajectory, generator)
    delta = seen[-1][3:] - trajectory.origin
    assert float(delta.abs().max()) == pytest.approx(0.1)
    assert bool((delta[:, ~MASK] == 0).all())


@pytest.mark.parametrize("kind", [Frobenius, Spectral, RandomDirection])
@pytest.mark.parametrize("points", ["last", "trajectory"])
@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.ones(4, dtype=torch.bool), r"mask of shape \(4,\) does not fit x of shape"),
        (torch.ones(2, 5, dtype=torch.bool), "give a shape that broadcasts to one sample"),
        (torch.ones(5), "mask is torch.float32; give a boolean tensor"),
        (torch.zeros(5, dtype=torch.bool), "mask is False everywhere; allow at least one"),
    ],
)
def test_bad_masks_are_refused(kind, points, mask, message, generator):
    with pytest.raises(ValueError, match=message):
        kind(mask=mask, points=points)(linear, trajectory_of(linear), generator)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Frobenius(projections=0), "projections=0 is not allowed"),
        (lambda: Spectral(iterations=0), "iterations=0 is not allowed"),
        (lambda: Spectral(estimator="svd"), "estimator='svd' is unknown"),
        (lambda: ERNIE(ball=Ball("l2", 0.1), steps=0), "steps=0 is not allowed"),
        (lambda: Frobenius(mask="all"), "mask='all' is unknown"),
        (lambda: RandomDirection(mask="all"), "mask='all' is unknown"),
        (lambda: RandomDirection(weight="norm"), "weight='norm' is unknown"),
        (lambda: RandomDirection(estimator="svd"), "estimator='svd' is unknown"),
        (
            lambda: RandomDirection(weight="gradient", points="origin"),
            "points='origin' has no gradient to weight by; use 'last'",
        ),
        (lambda: Frobenius(points="all"), "points='all' is unknown"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("size", [1e-3, 1e-6, 1e-9])
def test_ernie_sees_small_changes(size, generator):
    policy = lambda x: size * x  # noqa: E731
    trajectory = UniformNoise(Ball("l2", 0.1))(policy, torch.ones(8, 3), generator)
    value = ERNIE(ball=Ball("l2", 0.1), steps=10)(policy, trajectory, generator)
    assert float(value) == pytest.approx(0.1 * size, rel=1e-2)
