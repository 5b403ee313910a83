"""Every penalty x metric x estimator: torch = JAX = dense Jacobian, values and gradients for θ."""

from __future__ import annotations

import dataclasses
from functools import cache, partial

import jax
import jax.numpy as jnp
import pytest
import torch

import aajr
import aajr.jax as aj
from aajr.penalties import RunningMean
from aajr.testing import dense
from tests import jax_sides
from tests.jax_sides import same_with_gradient, to_jax

MASK = torch.tensor([True, True, False, True, True])
TIGHT = 1e-10
# (torch = JAX, JAX = dense): a difference of step h magnifies rounding by 1/h and truncates
TOLERANCES = {
    "forward_mode": (TIGHT, TIGHT),
    "double_backward": (TIGHT, TIGHT),
    "forward_difference": (1e-7, 2e-6),
    "central_difference": (5e-10, 2e-8),
}
every_metric = pytest.mark.parametrize("metric", dense.METRICS)
# one head is the case of heads=(6,)
every_family = pytest.mark.parametrize("metric", ["euclidean", "heads", "gaussian"])
every_estimator = pytest.mark.parametrize("estimator", TOLERANCES)
every_point = pytest.mark.parametrize("points", ["origin", "last", "trajectory"])


@pytest.fixture(autouse=True)
def double_precision():
    with jax_sides.float64():
        yield


@cache
def attacked(metric: str, **settings) -> tuple[torch.nn.Sequential, aajr.Trajectory]:
    net = dense.tanh_net()
    ball = aajr.Ball("l2", 0.6, mask=MASK, low=-2.0, high=2.0)
    objective = aajr.Divergence(dense.METRICS[metric])
    pgd = aajr.ProjectedGradientAscent(ball, objective, steps=3, **settings)
    return net, pgd(net, dense.inputs().clamp(-2, 2), jax_sides.generator(3))


def agree(theirs, ours, net, trajectory, draws=None, oracle=None, tolerance=(TIGHT, TIGHT)):
    """torch's call, JAX's on the same draws and the dense oracle give one value and gradient."""
    mirror = jax_sides.trajectory_of(trajectory)
    ours = ours.observe(mirror)
    draws = None if draws is None else to_jax(draws)

    def value_of(policy):
        return ours.per_sample(policy, mirror, draws).mean()

    expectations = [(theirs(net, trajectory, jax_sides.generator()), tolerance[0])]
    if oracle is not None:
        expectations.append((oracle, tolerance[1]))
    same_with_gradient(value_of, net, *expectations)


def chosen(points: str) -> slice:
    return slice(-1, None) if points == "last" else slice(None)


def places(trajectory, points: str) -> torch.Tensor:
    if points == "origin":
        return trajectory.origin.unsqueeze(0)
    return trajectory.points[:-1][chosen(points)]


def dense_squares(net, metric, trajectory, v, points):
    x = places(trajectory, points)
    pairs = zip(x, v, strict=True)
    return torch.stack([dense.squared_norm(net, dense.METRICS[metric], a, d) for a, d in pairs])


def both(name, metric, **settings):
    theirs = getattr(aajr, name)(metric=dense.METRICS[metric], **settings)
    arrays = {k: to_jax(v) if isinstance(v, torch.Tensor) else v for k, v in settings.items()}
    if "gradient_scale" in arrays:
        arrays["gradient_scale"] = aj.RunningMean(decay=1.0, value=settings["gradient_scale"].value)
    return theirs, getattr(aj, name)(metric=jax_sides.METRICS[metric], **arrays)


@every_family
@every_estimator
@pytest.mark.parametrize(
    ("direction", "points", "gamma"),
    [("unit", "trajectory", None), ("step", "last", 0.2), ("gradient", "trajectory", None)],
)
def test_aajr(metric, estimator, direction, points, gamma):
    net, trajectory = attacked(metric)
    raw = (trajectory.steps if direction == "step" else trajectory.gradients)[chosen(points)]
    v = raw if direction == "gradient" else raw / raw.norm(dim=-1, keepdim=True)
    squares = dense_squares(net, metric, trajectory, v, points)
    if direction == "gradient":
        squares = squares / v.square().sum(-1).mean()
    if gamma is not None:
        squares = (squares.sqrt() - gamma).clamp_min(0).square()
    settings = {"estimator": estimator, "direction": direction, "points": points, "gamma": gamma}
    # √ near its zero magnifies an error of the square by 1/γ
    magnified = [t * (1 if gamma is None or t == TIGHT else 10) for t in TOLERANCES[estimator]]
    sides = both("AAJR", metric, fraction=1.0, **settings)
    agree(*sides, net, trajectory, None, squares.mean(), magnified)


@every_metric
@pytest.mark.parametrize("points", ["last", "trajectory"])
def test_secant(metric, points):
    net, trajectory = attacked(metric)
    settings = {"estimator": "secant", "direction": "step", "points": points, "fraction": 1.0}
    agree(*both("AAJR", metric, **settings), net, trajectory)


def test_secant_of_kept_outputs():
    """The outputs of the inner loop carry the gradient for θ."""
    net, trajectory = attacked("heads", keep_outputs=True)
    theirs, ours = both("AAJR", "heads", estimator="secant", direction="step", fraction=1.0)
    expected = theirs(net, trajectory, jax_sides.generator())
    ball = aj.Ball("l2", 0.6, mask=to_jax(MASK), low=-2.0, high=2.0)
    objective = aj.Divergence(jax_sides.METRICS["heads"])
    pgd = aj.ProjectedGradientAscent(ball, objective, keep_outputs=True)
    reference = jax_sides.reference_of(trajectory.reference)
    start = to_jax(trajectory.points[:1] - trajectory.origin)

    def other(x):
        """Read for its precision only; its values must not enter the penalty."""
        return jnp.zeros((len(x), dense.OUTPUTS), x.dtype)

    @jax.jit
    def value_of(params):
        policy = lambda x: jax_sides.apply(params, x)  # noqa: E731
        return ours.per_sample(other, pgd.run(policy, reference, start)).mean()

    value, gradient = jax.value_and_grad(value_of)(jax_sides.parameters(net))
    jax_sides.close(value, expected, TIGHT)
    oracle = dense.parameter_gradient(expected, net)
    jax_sides.close(jax_sides.flat(gradient), oracle, TIGHT)


@every_family
@every_estimator
@pytest.mark.parametrize(("points", "weight"), [("last", "gradient"), ("trajectory", "one")])
def test_random_direction(metric, estimator, points, weight):
    net, trajectory = attacked(metric)
    shape = places(trajectory, points).shape
    noise = torch.randn(shape, generator=jax_sides.generator(), dtype=torch.float64)
    r = noise * MASK / (noise * MASK).norm(dim=-1, keepdim=True)
    squares = dense_squares(net, metric, trajectory, r, points)
    if weight == "gradient":
        squares = squares * trajectory.gradients[chosen(points)].square().sum(-1) / 2.5
    scale = RunningMean(decay=1.0, value=2.5)
    settings = {"estimator": estimator, "points": points, "weight": weight, "mask": MASK}
    sides = both("RandomDirection", metric, fraction=1.0, gradient_scale=scale, **settings)
    agree(*sides, net, trajectory, noise, squares.mean(), TOLERANCES[estimator])


@every_metric
@every_point
@pytest.mark.parametrize("mask", [None, MASK], ids=["all", "masked"])
def test_frobenius(metric, points, mask):
    net, trajectory = attacked(metric)
    x = places(trajectory, points).flatten(0, 1)
    g = jax_sides.generator()
    noise = torch.stack(
        [torch.randn(len(x), dense.OUTPUTS, generator=g, dtype=x.dtype) for _ in range(2)]
    )
    w = dense.factor_matrix(dense.METRICS[metric], net(x)) @ noise.unsqueeze(-1)
    pulled = (dense.jacobian(net, x).transpose(-1, -2) @ w).squeeze(-1)
    pulled = pulled if mask is None else pulled[..., mask]
    oracle = pulled.square().sum(-1).mean()
    sides = both("Frobenius", metric, points=points, mask=mask, projections=2)
    agree(*sides, net, trajectory, noise, oracle)


@every_metric
@pytest.mark.parametrize("estimator", ["forward_mode", "double_backward"])
@pytest.mark.parametrize("mask", [None, MASK], ids=["all", "masked"])
def test_spectral(metric, estimator, mask):
    net, trajectory = attacked(metric)
    x = trajectory.points[-2]
    J = dense.jacobian(net, x)
    J = J if mask is None else J[:, :, mask]
    product = dense.factor_matrix(dense.METRICS[metric], net(x)).transpose(-1, -2) @ J
    oracle = torch.linalg.matrix_norm(product, ord=2).square().mean()
    start = torch.randn(x.shape, generator=jax_sides.generator(), dtype=x.dtype)
    settings = {"estimator": estimator, "mask": mask, "iterations": 400}
    agree(*both("Spectral", metric, **settings), net, trajectory, start, oracle)


@every_metric
@pytest.mark.parametrize("symmetric", [False, True])
def test_state_adversarial(metric, symmetric):
    net, trajectory = attacked(metric)
    clean, worst = net(trajectory.origin), net(trajectory.worst)
    oracle = dense.divergence(dense.METRICS[metric], clean, worst)
    if symmetric:
        oracle = oracle + dense.divergence(dense.METRICS[metric], worst, clean)
    sides = both("StateAdversarial", metric, symmetric=symmetric)
    agree(*sides, net, trajectory, None, oracle.mean())


@every_metric
def test_ernie(metric):
    net, trajectory = attacked(metric)
    ball = aajr.Ball("l2", 0.6, mask=MASK)
    theirs = aajr.ERNIE(metric=dense.METRICS[metric], ball=ball, steps=2)
    mirror = aj.Ball("l2", 0.6, mask=to_jax(MASK))
    ours = aj.ERNIE(metric=jax_sides.METRICS[metric], ball=mirror, steps=2)
    start = ball.sample(trajectory.origin, jax_sides.generator())
    agree(theirs, ours, net, trajectory, start)


@every_metric
@every_point
def test_input_gradient(metric, points):
    net, trajectory = attacked(metric)
    weights = dense.inputs(dense.OUTPUTS, seed=9)
    values = []
    for x in places(trajectory, points):
        slope = (weights * net(x).cos()).unsqueeze(-1)
        pulled = (dense.jacobian(net, x).transpose(-1, -2) @ slope).squeeze(-1)
        values.append(pulled.square().sum(-1))
    theirs = aajr.InputGradient(
        points=points, objective=lambda output, reference: (weights * output.sin()).sum(-1)
    )
    ours = aj.InputGradient(
        points=points,
        objective=lambda output, reference: (to_jax(weights) * jnp.sin(output)).sum(-1),
    )
    agree(theirs, ours, net, trajectory, None, torch.stack(values).mean())


def test_rows():
    """A penalty of chosen rows is torch's penalty of those rows."""
    net, trajectory = attacked("heads")
    index = torch.tensor([3, 1])
    theirs, ours = both("AAJR", "heads", estimator="forward_mode", points="trajectory")
    part = jax_sides.trajectory_of(trajectory).rows(to_jax(index))
    expected = theirs.per_sample(net, trajectory.rows(index), jax_sides.generator()).mean()
    same_with_gradient(lambda policy: ours.per_sample(policy, part).mean(), net, (expected, TIGHT))


# (value, parameter gradient): float32 rounds at 6e-8, a difference of step h magnifies it by 1/h
SINGLE = {
    "forward_mode": (2e-6, 5e-6),
    "double_backward": (2e-6, 5e-6),
    "forward_difference": (5e-3, 2e-2),
    "central_difference": (5e-4, 5e-3),
    "secant": (3e-5, 5e-5),  # outputs of 2 that change by 0.004
}


@every_metric
@pytest.mark.parametrize("direction", ["unit", "step"])
@pytest.mark.parametrize("estimator", SINGLE)
def test_single_precision(estimator, direction, metric):
    if estimator == "secant" and direction == "unit":
        pytest.skip("the secant spans the step made")
    net, exact = dense.tanh_net(dtype=torch.float32), dense.tanh_net()
    exact.load_state_dict(net.state_dict())
    objective = aajr.Divergence(dense.METRICS[metric])
    pgd = aajr.ProjectedGradientAscent(aajr.Ball("l2", 0.6), objective)
    single = pgd(net, dense.inputs(dtype=torch.float32), jax_sides.generator(3))
    mirror, double = jax_sides.trajectory_of(single), in_double(single)
    assert mirror.points.dtype == jnp.float32
    theirs, ours = both("AAJR", metric, estimator=estimator, direction=direction, fraction=1.0)
    with jax.default_matmul_precision("highest"):  # a GPU multiplies in TF32 otherwise
        value, gradient = jax.value_and_grad(
            lambda params: ours.per_sample(partial(jax_sides.apply, params), mirror).mean()
        )(jax_sides.parameters(net))
    truth = theirs(exact, double, jax_sides.generator())
    of_value, of_gradient = SINGLE[estimator]
    jax_sides.close(value.astype(jnp.float64), truth, of_value)
    expected = dense.parameter_gradient(truth, exact)
    jax_sides.close(jax_sides.flat(gradient).astype(jnp.float64), expected, of_gradient)


def in_double(trajectory: aajr.Trajectory) -> aajr.Trajectory:
    reference = trajectory.reference
    return dataclasses.replace(
        trajectory,
        reference=aajr.Reference(reference.inputs.double(), reference.outputs.double()),
        points=trajectory.points.double(),
        gradients=trajectory.gradients.double(),
        worst=trajectory.worst.double(),
    )
