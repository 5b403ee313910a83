"""Projected gradient ascent from the same starts: every point, gradient and loss is torch's."""

from __future__ import annotations

import jax
import pytest
import torch

import aajr
import aajr.jax as aj
from aajr.testing import dense
from tests import jax_sides
from tests.jax_sides import close, to_jax

TIGHT = 1e-10
SCALE = torch.tensor([0.5, 2.0, 1.0, 1.5, 0.8], dtype=torch.float64)
MASK = torch.tensor([True, True, False, True, True])
BALLS = {
    "plain": {},
    "all": {"scale": SCALE, "mask": MASK, "low": -1.5, "high": 1.5},
}
every_norm = pytest.mark.parametrize("norm", ["l2", "linf"])


@pytest.fixture(autouse=True)
def double_precision():
    with jax_sides.float64():
        yield


def run_both(norm, parts, metric="euclidean", *, event=(5,), event_dims=1, **settings):
    """torch's and JAX's trajectories from torch's starts, with both adversaries."""
    net, x = dense.tanh_net(), dense.inputs(4, *event)
    arrays = {k: to_jax(v) if isinstance(v, torch.Tensor) else v for k, v in parts.items()}
    ball = aajr.Ball(norm, 0.6, event_dims=event_dims, **parts)
    attack = aajr.ProjectedGradientAscent(ball, aajr.Divergence(dense.METRICS[metric]), **settings)
    mirror = aj.ProjectedGradientAscent(
        aj.Ball(norm, 0.6, event_dims=event_dims, **arrays),
        aj.Divergence(jax_sides.METRICS[metric]),
        **settings,
    )
    expected = attack(net, x, jax_sides.generator())
    g = jax_sides.generator()
    draws = [attack.start(ball.around(x), g) - x for _ in range(attack.restarts)]
    starts = to_jax(torch.stack(draws)) if attack.random_start else mirror.draw(to_jax(x), None)
    policy = jax_sides.policy_of(net)
    reference = aj.Reference(to_jax(x), policy(to_jax(x)))
    found = jax.jit(lambda ref, start: mirror.run(policy, ref, start))(reference, starts)
    return found, expected


def assert_same(found, expected, *, passes: bool = True) -> None:
    for name in ("points", "gradients", "losses", "worst"):
        close(getattr(found, name), getattr(expected, name), TIGHT)
    if passes:
        unread = not expected.reference.evaluated  # torch then saves the clean pass
        assert float(found.forward_passes) == expected.forward_passes + unread
    assert float(found.backward_passes) == expected.backward_passes
    assert float(found.curvature_passes) == expected.curvature_passes


@every_norm
@pytest.mark.parametrize("parts", BALLS.values(), ids=BALLS)
@pytest.mark.parametrize("step_rule", ["fixed", "normalized", "stable", "backtracking"])
@pytest.mark.parametrize("step_direction", ["steepest", "raw", "sign"])
def test_every_ball_rule_and_direction(norm, parts, step_rule, step_direction):
    found, expected = run_both(
        norm, parts, step_rule=step_rule, step_direction=step_direction, step_size=0.5, steps=3
    )
    assert float(expected.steps.abs().max()) > 1e-3
    # JAX scores the whole batch at every halving, torch the rows that still need it
    assert_same(found, expected, passes=step_rule in ("fixed", "normalized"))


@pytest.mark.parametrize("metric", dense.METRICS)
@every_norm
def test_every_metric_by_default_steps(norm, metric):
    assert_same(*run_both(norm, {}, metric))


@pytest.mark.parametrize(("restarts", "keep_outputs"), [(1, False), (3, False), (2, True)])
def test_the_worst_of_several_searches(restarts, keep_outputs):
    found, expected = run_both(
        "l2", BALLS["all"], select="best", restarts=restarts, keep_outputs=keep_outputs
    )
    assert_same(found, expected)
    if keep_outputs:
        close(found.outputs, expected.outputs, TIGHT)


@pytest.mark.parametrize("event_dims", [1, 2])
@every_norm
def test_teams(norm, event_dims):
    parts = {"coalition": torch.tensor([True, False, True])}
    assert_same(*run_both(norm, parts, event=(3, 5), event_dims=event_dims))


@every_norm
def test_fgsm(norm):
    net, x = dense.tanh_net(), dense.inputs(4, 5)
    expected = aajr.fgsm(aajr.Ball(norm, 0.3), aajr.LeastValue())(net, x, torch.Generator())
    attack = aj.fgsm(aj.Ball(norm, 0.3), aj.LeastValue())
    assert_same(attack(jax_sides.policy_of(net), to_jax(x), jax.random.key(0)), expected)


def test_noise():
    net, x = dense.tanh_net(), dense.inputs(4, 5)
    expected = aajr.UniformNoise(aajr.Ball("l2", 0.3))(net, x, jax_sides.generator())
    draws = to_jax(expected.gradients[0])
    reference = jax_sides.reference_of(expected.reference)
    found = aj.UniformNoise(aj.Ball("l2", 0.3)).run(jax_sides.policy_of(net), reference, draws)
    assert_same(found, expected)
