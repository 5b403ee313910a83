"""Balls, metrics, objectives and estimators: torch = JAX = dense Jacobian, in float64."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest
import torch

import aajr
import aajr.jax as aj
from aajr.jacobian import directional_curvature, directional_derivative
from aajr.testing import dense
from tests import jax_sides
from tests.jax_sides import close, same_with_gradient, to_jax

TIGHT = 1e-10
SCALE = torch.tensor([0.5, 2.0, 1.0, 1.5, 0.1], dtype=torch.float64)
MASK = torch.tensor([True, True, False, True, True])
BALLS = {
    "plain": {},
    "scaled": {"scale": SCALE},
    "masked": {"mask": MASK},
    "boxed": {"low": -0.7, "high": torch.full((5,), 0.9)},
    "all": {"scale": SCALE, "mask": MASK, "low": -0.7, "high": 0.9},
}
TEAMS = {
    "own": {"coalition": torch.tensor([True, False, True])},
    "joint": {"coalition": torch.tensor([True, True, False]), "event_dims": 2, "scale": SCALE},
}
every_norm = pytest.mark.parametrize("norm", ["l2", "linf"])
every_metric = pytest.mark.parametrize("metric", dense.METRICS)


@pytest.fixture(autouse=True)
def double_precision():
    with jax_sides.float64():
        yield


def both_balls(norm: str, parts: dict) -> tuple[aajr.Ball, aj.Ball]:
    arrays = {k: to_jax(v) if isinstance(v, torch.Tensor) else v for k, v in parts.items()}
    return aajr.Ball(norm, 0.4, **parts), aj.Ball(norm, 0.4, **arrays)


@every_norm
@pytest.mark.parametrize("parts", [*BALLS.values(), *TEAMS.values()], ids=[*BALLS, *TEAMS])
def test_balls(norm, parts):
    shape = (6, 3, 5) if "coalition" in parts else (6, 5)
    ball, mirror = both_balls(norm, parts)
    x, delta = dense.inputs(*shape, seed=2), dense.inputs(*shape, seed=3)
    here, change = to_jax(x), to_jax(delta)
    close(mirror.attackable(here), ball.attackable(x), 0)
    close(mirror.size(change), ball.size(delta), TIGHT)
    close(mirror.steepest(change), ball.steepest(delta), TIGHT)
    close(mirror.diameter(here), ball.diameter(x), TIGHT)
    close(mirror.project(change, here), ball.project(delta, x), TIGHT)
    close(mirror.project_scaled(change, here), ball.project_scaled(delta, x), TIGHT)
    sample = ball.sample(x, jax_sides.generator())
    close(mirrored_sample(mirror, x), sample, TIGHT)


def mirrored_sample(mirror: aj.Ball, x: torch.Tensor) -> jax.Array:
    """The sample from torch's own draws."""
    g = jax_sides.generator()
    if mirror.norm == "linf":
        uniform = torch.rand(x.shape, generator=g, dtype=x.dtype)
        return mirror.from_uniform(to_jax(uniform), to_jax(x))
    noise = torch.randn(x.shape, generator=g, dtype=x.dtype)
    uniform = torch.rand(x.shape[: -mirror.budget_dims].numel(), generator=g, dtype=x.dtype)
    return mirror.from_normal(to_jax(noise), to_jax(uniform), to_jax(x))


@every_metric
def test_metrics(metric):
    theirs, ours = dense.METRICS[metric], jax_sides.METRICS[metric]
    u, w = dense.inputs(4, 6, seed=4), dense.inputs(4, 6, seed=5)
    output, other = to_jax(u), to_jax(w)
    matrix = dense.metric_matrix(theirs, u)
    close(ours.apply(output, other), (matrix @ w.unsqueeze(-1)).squeeze(-1), TIGHT)
    close(ours.apply(output, other), theirs.apply(u, w), TIGHT)
    factor = dense.factor_matrix(theirs, u)
    close(ours.factor(output, other), (factor @ w.unsqueeze(-1)).squeeze(-1), TIGHT)
    close(ours.factor(output, other), theirs.factor(u, w), TIGHT)
    close(ours.divergence(output, other), dense.divergence(theirs, u, w), TIGHT)
    close(ours.divergence(output, other), theirs.divergence(u, w), TIGHT)
    close(ours.squared_norm(output, other), theirs.squared_norm(u, w), TIGHT)


@pytest.mark.parametrize("name", ["probabilities", "log_probabilities"])
def test_probabilities(name):
    u = dense.inputs(4, 6)
    ours = getattr(jax_sides.METRICS["heads"], name)(to_jax(u))
    close(ours, getattr(dense.METRICS["heads"], name)(u), TIGHT)


# between torch and JAX, and against the dense Jacobian: a difference of step h magnifies rounding
# by 1/h and truncates at O(h) or O(h²)
ESTIMATORS = {
    "forward_mode": (TIGHT, TIGHT),
    "double_backward": (TIGHT, TIGHT),
    "forward_difference": (1e-7, 1e-6),
    "central_difference": (5e-10, 1e-8),
    "secant": (TIGHT, None),
}


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_directional_derivatives(estimator):
    sides, against_dense = ESTIMATORS[estimator]
    net, weights = dense.tanh_net(), dense.inputs(4, 6, seed=9)
    x, v = dense.inputs(4, 5), dense.inputs(4, 5, seed=3)

    def weighed(policy):
        output, product = aj.directional_derivative(policy, to_jax(x), to_jax(v), estimator)
        return (to_jax(weights) * product).sum() + output.sum()

    output, product = directional_derivative(net, x, v, estimator)
    expectations = [((weights * product).sum() + output.sum(), sides)]
    if against_dense is not None:
        exact = (dense.jacobian(net, x) @ v.unsqueeze(-1)).squeeze(-1)
        expectations.append(((weights * exact).sum() + net(x).sum(), against_dense))
    same_with_gradient(weighed, net, *expectations)


def test_directional_curvature():
    net, x, v = dense.tanh_net(), dense.inputs(4, 5), dense.inputs(4, 5, seed=3)
    ours = aj.directional_curvature(jax_sides.policy_of(net), to_jax(x), to_jax(v))
    for found, expected in zip(ours, directional_curvature(net, x, v), strict=True):
        close(found, expected, TIGHT)


def objectives() -> dict[str, tuple]:
    """Every objective on both sides."""
    weights = dense.inputs(6, seed=9)

    def log_prob(u, a):
        return u.log_softmax(1).gather(1, a[:, None])[:, 0]

    def mirrored_log_prob(u, a):
        return jnp.take_along_axis(jax.nn.log_softmax(u), a[:, None], 1)[:, 0]

    result = {
        "critic": (
            aajr.Critic(lambda s, a: (s.sum(1, keepdim=True) * weights * a.sin()).sum(1)),
            aj.Critic(lambda s, a: (s.sum(1, keepdims=True) * to_jax(weights) * jnp.sin(a)).sum(1)),
        ),
        "critic of data": (
            aajr.Critic(lambda s, a: (s * a).sum(1), lambda u: u.softmax(1), "target"),
            aj.Critic(lambda s, a: (s * a).sum(1), jax.nn.softmax, "target"),
        ),
        "surrogate": (aajr.Surrogate(log_prob), aj.Surrogate(mirrored_log_prob)),
        "least value": (aajr.LeastValue(), aj.LeastValue()),
        "mixture": (
            aajr.Mixture(aajr.LeastValue(), aajr.Divergence(), 0.3, 2.0, 0.5),
            aj.Mixture(aj.LeastValue(), aj.Divergence(), 0.3, 2.0, 0.5),
        ),
    }
    for name in ("CrossEntropy", "Margin", "DLR"):
        for targeted in (False, True):
            sides = [getattr(side, name)(targeted=targeted) for side in (aajr, aj)]
            result[f"{name}, targeted={targeted}"] = tuple(sides)
    for name in dense.METRICS:
        theirs, ours = dense.METRICS[name], jax_sides.METRICS[name]
        result[f"divergence, {name}"] = aajr.Divergence(theirs), aj.Divergence(ours)
        result[f"targeted, {name}"] = aajr.Targeted(theirs), aj.Targeted(ours)
    return result


@pytest.mark.parametrize("name", objectives())
def test_objectives(name):
    net, x = dense.tanh_net(), dense.inputs(4, 5)
    theirs, ours = objectives()[name]
    data = {
        "target": dense.inputs(4, 6, seed=6),
        "action": torch.tensor([0, 3, 5, 1]),
        "label": torch.tensor([0, 3, 5, 1]),
        "target_class": torch.tensor([1, 0, 2, 4]),
        "advantage": dense.inputs(4, seed=8),
    }
    reference = aajr.Reference(x, dense.inputs(4, 6, seed=7), data)
    mirror, shifted = jax_sides.reference_of(reference), x + 0.3
    expected = theirs(net(shifted), reference)
    close(ours(jax_sides.policy_of(net)(to_jax(shifted)), mirror), expected, TIGHT)
    same_with_gradient(
        lambda policy: ours(policy(to_jax(shifted)), mirror).sum(), net, (expected.sum(), TIGHT)
    )
