"""What is AAJR's own. Parity with dense Jacobians is in tests/parity."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from aajr import AAJR, Ball, Divergence, Minimax, ProjectedGradientAscent, RandomDirection
from aajr._inspection import inspect
from aajr.penalties import RunningMean
from aajr.testing import dense


def trajectory_of(policy, **settings):
    attack = ProjectedGradientAscent(Ball("l2", 0.5), Divergence(), steps=3, **settings)
    return attack(policy, dense.inputs(16, 5), torch.Generator().manual_seed(3))


def test_the_default_is_a_difference_on_an_eighth_of_the_rows(generator):
    policy, penalty = dense.tanh_net(), AAJR()
    trajectory, rows = trajectory_of(policy), []

    def counted(x):
        rows.append(len(x))
        return policy(x)

    inspect(counted, trajectory.origin)
    rows.clear()
    penalty(counted, trajectory, generator)
    assert (penalty.estimator, penalty.direction, penalty.fraction) == (
        "forward_difference",
        "unit",
        1 / 8,
    )
    assert rows == [2 * 16 // 8]


def test_an_image_has_one_unit_direction(generator):
    W = dense.inputs(2, 48, seed=1)
    x = dense.inputs(3, 3 * 4 * 4, seed=2).reshape(3, 3, 4, 4)
    ball = Ball("l2", 0.5, event_dims=3)
    attack = ProjectedGradientAscent(ball, lambda output, reference: output.square().sum(1))

    def policy(z):
        return z.flatten(1) @ W.T

    trajectory = attack(policy, x, generator)
    moved = (trajectory.worst - x).flatten(1).norm(dim=1)
    torch.testing.assert_close(moved, torch.full_like(moved, 0.5))
    penalty = AAJR(fraction=1.0, estimator="forward_mode", points="trajectory")
    g = trajectory.gradients.flatten(2)
    v = g / g.norm(dim=2, keepdim=True)
    expected = (v @ W.T).square().sum(2).mean()
    torch.testing.assert_close(penalty(policy, trajectory, generator), expected)


def test_kept_outputs_make_the_secant_free(generator):
    policy = dense.tanh_net()
    kept = trajectory_of(policy, keep_outputs=True)
    penalty = AAJR(estimator="secant", direction="step", points="trajectory", fraction=1.0)
    recomputed = penalty(policy, dataclasses.replace(kept, outputs=None), generator)

    calls = []

    def counted(x):
        calls.append(len(x))
        return policy(x)

    inspect(counted, kept.origin)
    calls.clear()
    dense.assert_matches(penalty(counted, kept, generator), recomputed, policy)
    assert not calls


def test_a_secant_of_no_step_is_zero_with_a_finite_gradient(generator):
    policy = dense.tanh_net()
    trajectory = trajectory_of(policy)
    still = dataclasses.replace(trajectory, points=trajectory.origin.expand(4, -1, -1))
    for estimator in ("secant", "forward_difference", "forward_mode"):
        penalty = AAJR(estimator=estimator, direction="step", fraction=1.0)
        value = penalty(policy, still, generator)
        assert float(value.detach()) == 0
        assert bool(dense.parameter_gradient(value, policy).isfinite().all())


def test_the_hinge_is_zero_inside_the_admissible_class(generator):
    policy = dense.tanh_net()
    trajectory = trajectory_of(policy)
    rows = AAJR(fraction=1.0).per_sample(policy, trajectory, generator).detach().sqrt()
    inside = AAJR(fraction=1.0, gamma=float(rows.max()) * 1.001)(policy, trajectory, generator)
    assert float(inside.detach()) == 0
    assert float(dense.parameter_gradient(inside, policy).norm()) == 0
    gamma = float(rows.median())
    hinge = AAJR(fraction=1.0, gamma=gamma).per_sample(policy, trajectory, generator).detach()
    torch.testing.assert_close(hinge, (rows - gamma).clamp_min(0).square())


@pytest.mark.parametrize("points", ["last", "trajectory"])
@pytest.mark.parametrize(
    "make",
    [
        lambda **k: AAJR(direction="gradient", **k),
        lambda **k: RandomDirection(weight="gradient", **k),
    ],
    ids=["aajr", "random"],
)
def test_the_running_mean_takes_in_whole_batches_once_per_update(make, points, generator):
    policy = dense.tanh_net()
    trajectory = trajectory_of(policy)
    gradients = trajectory.gradients[-1:] if points == "last" else trajectory.gradients
    mean = float(gradients.square().sum(-1).mean())
    double = dataclasses.replace(trajectory, gradients=2 * trajectory.gradients)
    found = iter([trajectory, double, double])
    penalty = make(points=points, interval=2, fraction=1.0, estimator="forward_mode")
    robust = Minimax(lambda *given: next(found), penalty)
    x = trajectory.origin
    values = [float(robust.regularise(policy, x).penalty.detach())]
    assert robust.gradient_scale == pytest.approx(mean)
    values += [float(robust.regularise(policy, x).penalty.detach())]
    assert robust.gradient_scale == pytest.approx(mean)
    values += [float(robust.regularise(policy, x).penalty.detach())]
    assert robust.gradient_scale == pytest.approx(0.99 * mean + 0.01 * 4 * mean)
    assert penalty.gradient_scale.value is None
    if isinstance(penalty, AAJR):  # whose direction does not change; 4 times g² over 1.03 its mean
        assert values == pytest.approx([values[0], 0.0, values[0] * 4 / 1.03])


def test_the_scale_of_gradients_cancels(generator):
    """λ means the same whatever the units of the objective."""
    policy = dense.tanh_net()
    trajectory = trajectory_of(policy)
    large = dataclasses.replace(trajectory, gradients=1000 * trajectory.gradients)
    values = [
        AAJR(direction="gradient", fraction=1.0)(policy, t, generator) for t in (trajectory, large)
    ]
    torch.testing.assert_close(values[0], values[1], rtol=1e-6, atol=0)


def test_equal_gradients_make_gradient_and_unit_the_same(generator):
    policy = dense.tanh_net()
    trajectory = trajectory_of(policy)
    units = dataclasses.replace(trajectory, gradients=3 * trajectory.unit(trajectory.gradients))
    values = [
        AAJR(direction=d, fraction=1.0, estimator="forward_mode")(policy, units, generator)
        for d in ("unit", "gradient")
    ]
    torch.testing.assert_close(values[0], values[1])


def test_at_the_origin_the_last_direction_counts(generator):
    policy = dense.tanh_net()
    trajectory = trajectory_of(policy)
    moved = dataclasses.replace(trajectory, points=trajectory.origin.expand_as(trajectory.points))
    settings = {"fraction": 1.0, "estimator": "forward_mode"}
    origin = AAJR(points="origin", **settings)(policy, trajectory, generator)
    torch.testing.assert_close(origin, AAJR(**settings)(policy, moved, generator))
    assert abs(float((origin - AAJR(**settings)(policy, trajectory, generator)).detach())) > 1e-3


def test_zero_gradients_give_zero(generator):
    policy = dense.tanh_net()
    trajectory = trajectory_of(policy)
    zero = dataclasses.replace(trajectory, gradients=torch.zeros_like(trajectory.gradients))
    for direction in ("unit", "gradient"):
        value = AAJR(direction=direction, fraction=1.0)(policy, zero, generator)
        assert float(value.detach()) == 0


def test_running_mean():
    first = RunningMean(decay=0.9).update(torch.tensor([1.0, 3.0]))
    mean = first.update(torch.tensor([5.0, 7.0]))
    assert [first.value, mean.value] == pytest.approx([2.0, 0.9 * 2 + 0.1 * 6])
    assert float(mean.normalized(torch.tensor(4.8))) == pytest.approx(2.0)
    assert float(RunningMean().normalized(torch.tensor(4.8))) == pytest.approx(4.8)
    with pytest.raises(ValueError, match=r"decay=1\.1 is not allowed"):
        RunningMean(decay=1.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"direction": "random"}, "direction='random' is unknown; choose one of 'unit', 'step'"),
        ({"estimator": "exact"}, "estimator='exact' is unknown"),
        ({"points": "first"}, "points='first' is unknown; choose one of 'origin', 'last'"),
        (
            {"points": "origin", "estimator": "secant", "direction": "step"},
            "points='origin' is not where estimator='secant' steps; use 'last' or 'trajectory'",
        ),
        ({"gamma": 0.0}, r"gamma=0\.0 is not allowed; give a finite number > 0"),
        ({"estimator": "secant"}, "direction='unit' does not; use direction='step'"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        AAJR(**settings)


def test_an_interval_scales_training_and_leaves_a_measurement_alone(generator):
    policy, penalty = dense.tanh_net(), AAJR(fraction=1.0, estimator="forward_mode")
    trajectory = trajectory_of(policy)
    measured = penalty(policy, trajectory, generator)
    assert torch.equal(penalty(policy, trajectory, generator, 0), 8 * measured)
    assert torch.equal(penalty(policy, trajectory, generator, 8), 8 * measured)
    assert float(penalty(policy, trajectory, generator, 7)) == 0
