"""Accurate divergences and masked actions in JAX, as in torch."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import aajr.jax as aj
from aajr.testing import dense
from tests import exact, jax_sides
from tests.jax_sides import close, to_jax

FAMILIES = [(aj.Categorical(), exact.categorical), (aj.DiagonalGaussian(), exact.gaussian)]
KEY, BALL = jax.random.key(0), aj.Ball("l2", 0.3)
compiled = jax.jit(
    lambda index, u, w: jax.value_and_grad(lambda w: FAMILIES[index][0].divergence(u, w).sum())(w),
    static_argnums=0,
)


@pytest.mark.parametrize("index", [0, 1], ids=["logits", "gaussian"])
@given(seed=st.integers(0, 2**32 - 1), exponent=st.floats(-6, 0))
def test_divergence_and_gradient_are_right_from_a_millionth_to_one(index, seed, exponent):
    u, w = exact.close_pair(seed, exponent)
    expected, slope = FAMILIES[index][1](u, w)
    value, found = compiled(index, to_jax(u), to_jax(w))
    assert float(value) == pytest.approx(expected, rel=1e-4)
    close(found, slope, 1e-4)


@pytest.mark.parametrize("metric", ["heads", "gaussian"])
def test_second_derivative_at_equal_outputs(metric):
    u = dense.inputs(1, dense.OUTPUTS, seed=4, dtype=torch.float32)
    mirror = jax_sides.METRICS[metric]
    hessian = jax.jit(jax.hessian(lambda w: mirror.divergence(to_jax(u), w).sum()))(to_jax(u))
    expected = dense.metric_matrix(dense.METRICS[metric], u)[0]
    np.testing.assert_allclose(hessian[0, :, 0], expected, rtol=1e-4, atol=1e-6)


MASKS = {"same": ([2, 5], [2, 5]), "first": ([2, 5], []), "second": ([], [2, 5])}


def measures(metric, u, w, t, sine):
    """All that a metric computes, and a scalar that depends on all of it."""
    parts = [
        metric.divergence(u, w),
        metric.squared_norm(u, t),
        metric.apply(u, t),
        metric.factor(u, t),
    ]
    return sum(sine(part + 1).sum() for part in parts), parts


@pytest.mark.parametrize("metric", ["euclidean", "heads"])
def test_masked_actions(metric):
    """Values and gradients of torch, which its own tests hold against the allowed actions."""
    u, w, t = (dense.inputs(3, 6, seed=seed) for seed in (4, 5, 6))

    @jax.jit
    @partial(jax.value_and_grad, has_aux=True)
    def mirrored(u, w, t, absent_u, absent_w):
        u, w = jnp.where(absent_u, -jnp.inf, u), jnp.where(absent_w, -jnp.inf, w)
        return measures(jax_sides.METRICS[metric], u, w, t, jnp.sin)

    for first, second in MASKS.values():
        absent = [torch.zeros(6, dtype=torch.bool) for _ in range(2)]
        absent[0][first], absent[1][second] = True, True
        leaf = u.clone().requires_grad_()
        logits = leaf.masked_fill(absent[0], -torch.inf), w.masked_fill(absent[1], -torch.inf)
        total, expected = measures(dense.METRICS[metric], *logits, t, torch.sin)
        (slope,) = torch.autograd.grad(total, leaf, materialize_grads=True)
        with jax_sides.float64():
            (_, found), mine = mirrored(*map(to_jax, (u, w, t, *absent)))
            close(mine, slope, 1e-10)
            for part, oracle in zip(found, expected, strict=True):
                close(part, oracle, 1e-10)


def test_an_attack_and_a_penalty_see_the_allowed_actions_only():
    net, mask = dense.tanh_net(dtype=torch.float32), jnp.array([True] * 5 + [False])
    x, metric = to_jax(dense.inputs(dtype=torch.float32)), aj.Categorical()
    attack = aj.ProjectedGradientAscent(BALL, aj.Divergence(metric), steps=1)

    @partial(jax.jit, static_argnums=1)
    @partial(jax.value_and_grad, has_aux=True)
    def value(params, masked):
        def policy(x):
            u = jax_sides.apply(params, x)
            return jnp.where(mask, u, -jnp.inf) if masked else u[:, :5]

        trajectory = attack(policy, x, KEY)
        return aj.AAJR(metric=metric, fraction=1.0)(policy, trajectory, KEY), trajectory.worst

    results = [value(jax_sides.parameters(net), masked) for masked in (True, False)]
    for one, two in zip(*(jax.tree.leaves(result) for result in results), strict=True):
        np.testing.assert_allclose(one, two, rtol=2e-2, atol=1e-3)


def test_a_row_without_any_action_is_refused():
    attack = aj.ProjectedGradientAscent(BALL, aj.Divergence(aj.Categorical()))
    with pytest.raises(ValueError, match="masks every action; allow at least one"):
        attack(lambda x: jnp.full((len(x), 3), -jnp.inf), jnp.ones((4, 2)), KEY)


@pytest.mark.parametrize("metric", ["heads", "gaussian"])
def test_half_precision_is_computed_in_float32(metric):
    mirror = jax_sides.METRICS[metric]
    u, w = (to_jax(dense.inputs(3, 6, seed=s)).astype(jnp.bfloat16) for s in (4, 5))
    raised = u.astype(jnp.float32), w.astype(jnp.float32)
    assert jnp.array_equal(mirror.divergence(u, w), mirror.divergence(*raised))
    assert jnp.array_equal(mirror.squared_norm(u, w), mirror.squared_norm(*raised))
    assert mirror.apply(u, w).dtype == mirror.factor(u, w).dtype == jnp.bfloat16
