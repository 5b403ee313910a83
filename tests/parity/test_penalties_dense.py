"""Every penalty x estimator x metric against whole Jacobians: value and parameter gradient."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from aajr import (
    AAJR,
    ERNIE,
    Ball,
    Divergence,
    Frobenius,
    InputGradient,
    Metric,
    ProjectedGradientAscent,
    RandomDirection,
    Spectral,
    StateAdversarial,
    Trajectory,
)
from aajr.penalties import RunningMean
from aajr.testing import dense

MASK = torch.tensor([True, True, False, True, True])
# exact to rounding; h + ε/h at h = 2√ε; h² + ε/h at h = 2ε^(1/3)
TOLERANCES = {
    "forward_mode": 1e-9,
    "double_backward": 1e-9,
    "forward_difference": 2e-6,
    "central_difference": 2e-8,
}
every_metric = pytest.mark.parametrize("metric", dense.METRICS.values(), ids=dense.METRICS)
every_estimator = pytest.mark.parametrize("estimator", TOLERANCES)
every_point = pytest.mark.parametrize("points", ["last", "trajectory"])


@pytest.fixture(scope="module")
def policy() -> torch.nn.Sequential:
    return dense.tanh_net()


@pytest.fixture
def source() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def attack(policy: torch.nn.Module, metric: Metric, *, keep_outputs: bool = False) -> Trajectory:
    ball = Ball("l2", 0.6, mask=MASK, low=-2.0, high=2.0)
    pgd = ProjectedGradientAscent(ball, Divergence(metric), steps=3, keep_outputs=keep_outputs)
    return pgd(policy, dense.inputs().clamp(-2, 2), torch.Generator().manual_seed(3))


def chosen(points: str) -> slice:
    return slice(-1, None) if points == "last" else slice(None)


def dense_directions(trajectory: Trajectory, direction: str) -> torch.Tensor:
    if direction == "gradient":
        return trajectory.gradients
    steps = trajectory.points[1:] - trajectory.points[:-1]
    raw = steps if direction == "step" else trajectory.gradients
    return raw / raw.norm(dim=-1, keepdim=True)


@every_metric
@every_estimator
@every_point
@pytest.mark.parametrize("direction", ["unit", "step", "gradient"])
@pytest.mark.parametrize("gamma", [None, 0.2])
def test_aajr(policy, source, metric, estimator, points, direction, gamma):
    trajectory = attack(policy, metric)
    v = dense_directions(trajectory, direction)[chosen(points)]
    x = trajectory.points[:-1][chosen(points)]
    squares = torch.stack(
        [dense.squared_norm(policy, metric, at, along) for at, along in zip(x, v, strict=True)]
    )
    if direction == "gradient":
        squares = squares / v.square().sum(-1).mean()
    if gamma is not None:
        squares = (squares.sqrt() - gamma).clamp_min(0).square()
    penalty = AAJR(
        metric=metric,
        estimator=estimator,
        points=points,
        direction=direction,
        gamma=gamma,
        fraction=1.0,
    )
    value = penalty(policy, trajectory, source)
    # √ near its zero magnifies an error of the square by 1/γ
    factor = 1 if gamma is None else 10
    dense.assert_matches(value, squares.mean(), policy, tolerance=factor * TOLERANCES[estimator])


@every_metric
@every_point
@pytest.mark.parametrize("kept", [False, True])
def test_secant(policy, source, metric, points, kept):
    trajectory = attack(policy, metric, keep_outputs=kept)
    values = []
    for start, end in zip(trajectory.points[:-1], trajectory.points[1:], strict=True):
        change = (policy(end) - policy(start)).unsqueeze(-1)
        matrix = dense.metric_matrix(metric, policy(start))
        squared = (change.transpose(-1, -2) @ matrix @ change).flatten()
        values.append(squared / (end - start).square().sum(-1))
    penalty = AAJR(metric=metric, estimator="secant", direction="step", points=points, fraction=1.0)
    expected = torch.stack(values[chosen(points)]).mean()
    dense.assert_matches(penalty(policy, trajectory, source), expected, policy)


@every_metric
@every_estimator
@every_point
@pytest.mark.parametrize("weight", ["one", "gradient"])
def test_random_direction(policy, source, metric, estimator, points, weight):
    trajectory = attack(policy, metric)
    x = trajectory.points[:-1][chosen(points)]
    r = torch.randn(x.shape, generator=torch.Generator().manual_seed(7), dtype=x.dtype) * MASK
    r = r / r.norm(dim=-1, keepdim=True)
    values = torch.stack(
        [dense.squared_norm(policy, metric, at, along) for at, along in zip(x, r, strict=True)]
    )
    if weight == "gradient":
        size = trajectory.gradients[chosen(points)].square().sum(-1)
        values = values * size / 2.5
    penalty = RandomDirection(
        metric=metric,
        estimator=estimator,
        points=points,
        weight=weight,
        mask=MASK,
        fraction=1.0,
        gradient_scale=RunningMean(decay=1.0, value=2.5),
    )
    value = penalty(policy, trajectory, source)
    dense.assert_matches(value, values.mean(), policy, tolerance=TOLERANCES[estimator])


@every_metric
@pytest.mark.parametrize("points", ["origin", "last", "trajectory"])
@pytest.mark.parametrize("mask", [None, MASK], ids=["all", "masked"])
def test_frobenius_with_one_projection(policy, source, metric, points, mask):
    trajectory = attack(policy, metric)
    places = {
        "origin": trajectory.origin,
        "last": trajectory.points[-2],
        "trajectory": trajectory.points[:-1].flatten(0, 1),
    }
    x = places[points]
    noise = torch.randn(
        x.shape[0], dense.OUTPUTS, generator=torch.Generator().manual_seed(7), dtype=x.dtype
    )
    w = dense.factor_matrix(metric, policy(x)) @ noise.unsqueeze(-1)
    pulled = (dense.jacobian(policy, x).transpose(-1, -2) @ w).squeeze(-1)
    pulled = pulled if mask is None else pulled[:, mask]
    penalty = Frobenius(metric=metric, points=points, mask=mask)
    value = penalty(policy, trajectory, source)
    dense.assert_matches(value, pulled.square().sum(-1).mean(), policy)


@every_metric
def test_frobenius_with_many_projections_is_the_trace(policy, source, metric):
    trajectory = attack(policy, metric)
    x = trajectory.points[-2]
    J = dense.jacobian(policy, x)
    gram = J.transpose(-1, -2) @ dense.metric_matrix(metric, policy(x)) @ J
    expected = gram.diagonal(dim1=-1, dim2=-2).sum(-1).mean()
    value = Frobenius(metric=metric, projections=3000)(policy, trajectory, source)
    # one projection's relative deviation is at most √2; 4 rows, 3000 projections, four deviations
    tolerance = 4 * 2**0.5 / (3000 * 4) ** 0.5
    dense.assert_matches(value, expected, policy, tolerance=tolerance)


@every_metric
@pytest.mark.parametrize("estimator", ["forward_mode", "double_backward"])
@pytest.mark.parametrize("mask", [None, MASK], ids=["all", "masked"])
def test_spectral(policy, source, metric, estimator, mask):
    trajectory = attack(policy, metric)
    x = trajectory.points[-2]
    J = dense.jacobian(policy, x)
    J = J if mask is None else J[:, :, mask]
    product = dense.factor_matrix(metric, policy(x)).transpose(-1, -2) @ J
    expected = torch.linalg.matrix_norm(product, ord=2).square().mean()
    penalty = Spectral(metric=metric, estimator=estimator, mask=mask, iterations=400)
    value = penalty(policy, trajectory, source)
    dense.assert_matches(value, expected, policy, tolerance=1e-8)


@every_metric
@pytest.mark.parametrize("symmetric", [False, True])
def test_state_adversarial(policy, source, metric, symmetric):
    trajectory = attack(policy, metric)
    trajectory = dataclasses.replace(trajectory, worst=trajectory.points[1])
    clean, attacked = policy(trajectory.origin), policy(trajectory.points[1])
    expected = dense.divergence(metric, clean, attacked)
    if symmetric:
        expected = expected + dense.divergence(metric, attacked, clean)
    penalty = StateAdversarial(metric=metric, symmetric=symmetric)
    dense.assert_matches(
        penalty(policy, trajectory, source), expected.mean(), policy, tolerance=1e-7
    )


@every_metric
def test_ernie(policy, source, metric):
    trajectory = attack(policy, metric)
    ball, x = Ball("l2", 0.6, mask=MASK), trajectory.origin
    delta = ball.sample(x, torch.Generator().manual_seed(7))
    for _ in range(2):
        point = (x + delta).requires_grad_()
        change = dense.divergence(metric, policy(x).detach(), policy(point))
        (gradient,) = torch.autograd.grad(change.sum(), point)
        gradient = gradient * MASK
        delta = delta + 0.6 * gradient / gradient.norm(dim=-1, keepdim=True)
        delta = delta * (0.6 / delta.norm(dim=-1, keepdim=True)).clamp_max(1.0)
    expected = (2 * dense.divergence(metric, policy(x), policy(x + delta))).sqrt().mean()
    value = ERNIE(metric=metric, ball=ball, steps=2)(policy, trajectory, source)
    dense.assert_matches(value, expected, policy, tolerance=1e-7)


@every_metric
@pytest.mark.parametrize("points", ["origin", "last", "trajectory"])
def test_input_gradient(policy, source, metric, points):
    trajectory = attack(policy, metric)
    places = {
        "origin": trajectory.origin.unsqueeze(0),
        "last": trajectory.points[-2:-1],
        "trajectory": trajectory.points[:-1],
    }
    weights = dense.inputs(dense.OUTPUTS, seed=9)
    values = []
    for x in places[points]:
        slope = weights * policy(x).cos()
        pulled = dense.jacobian(policy, x).transpose(-1, -2) @ slope.unsqueeze(-1)
        values.append(pulled.squeeze(-1).square().sum(-1))
    penalty = InputGradient(
        metric=metric,
        points=points,
        objective=lambda output, reference: (weights * output.sin()).sum(-1),
    )
    value = penalty(policy, trajectory, source)
    dense.assert_matches(value, torch.stack(values).mean(), policy)
