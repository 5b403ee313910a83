"""The attack on another map: on a value function, beside torch's."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import aajr
from aajr.jax import (
    AAJR,
    AttackOn,
    Ball,
    LeastValue,
    Minimax,
    ProjectedGradientAscent,
    with_epsilon,
)

WEIGHTS = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
X = np.random.default_rng(1).normal(size=(6, 4)).astype(np.float32)


def value(x):
    return jnp.tanh(x @ WEIGHTS).sum(1, keepdims=True)


def policy(x):
    return jnp.sin(x @ WEIGHTS[:, :2])


def attack(**settings) -> AttackOn:
    return AttackOn(value, ProjectedGradientAscent(Ball("linf", 0.3), LeastValue(), **settings))


def test_it_is_torchs():
    def other(x):
        return torch.tanh(x @ torch.from_numpy(WEIGHTS)).sum(1, keepdim=True)

    def victim(x):
        return torch.sin(x @ torch.from_numpy(WEIGHTS[:, :2]))

    search = aajr.ProjectedGradientAscent(
        aajr.Ball("linf", 0.3), aajr.LeastValue(), random_start=False
    )
    expected = aajr.AttackOn(other, search)(victim, torch.from_numpy(X), torch.Generator())
    found = attack(random_start=False)(policy, jnp.asarray(X), jax.random.key(0))
    np.testing.assert_allclose(found.worst, expected.worst, atol=1e-6)
    np.testing.assert_allclose(found.gradients, expected.gradients, atol=1e-5)
    np.testing.assert_allclose(found.reference.outputs, policy(X), atol=1e-6)
    assert int(found.forward_passes) == expected.forward_passes == 1
    assert found.backward_passes == expected.backward_passes


def test_the_radius_is_the_searchs():
    small = with_epsilon(attack(), 0.1)
    assert small.ball.epsilon == 0.1
    found = small(policy, jnp.asarray(X), jax.random.key(0))
    assert float(abs(found.worst - X).max()) <= 0.1 + 1e-6


@jax.jit
def penalty(weights, epsilon):
    robust = Minimax(attack(), AAJR(interval=1, fraction=1.0), placement="clean", epsilon=epsilon)
    state = robust.init(jax.random.key(0))
    found = robust(lambda x: jnp.sin(x @ weights), jnp.asarray(X), jnp.mean, state=state)
    return found.penalty, found.trajectory


def test_the_penalty_is_along_the_gradient_of_the_value():
    found, trajectory = penalty(WEIGHTS[:, :2], 0.2)
    point, gradient = trajectory.points[-2], trajectory.gradients[-1]
    np.testing.assert_allclose(gradient, -jax.grad(lambda x: value(x).sum())(point), atol=1e-6)
    v = gradient / np.linalg.norm(gradient, axis=1, keepdims=True)
    jacobian = jax.vmap(jax.jacobian(lambda x: policy(x[None])[0]))(point)
    expected = np.square(np.einsum("bij,bj->bi", jacobian, v)).sum(1).mean()
    assert float(found) == pytest.approx(expected, rel=0.3)  # it counts other points too


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((None, attack()), "target"), ((value, value), "adversary")],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        AttackOn(*arguments)
