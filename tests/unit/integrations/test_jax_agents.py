"""Agents of JAX: outputs and gradients are JAX's own, also under an attack of torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

import aajr
from aajr.arena import Agent
from aajr.arena.spaces.heads import GaussianHead, SquashedGaussianHead

jax = pytest.importorskip("jax")
jnp = jax.numpy

BOX = spaces.Box(np.float32([-2, -1]), np.float32([1, 3]))
SEEN = spaces.Box(-5, 5, (3,), np.float32)
PARAMS = {
    "first": jax.random.normal(jax.random.key(0), (3, 8)),
    "second": jax.random.normal(jax.random.key(1), (8, 2)),
    "log_std": jnp.array([0.1, -0.3]),
}


def mean(params, x):
    return jnp.tanh(x @ params["first"]) @ params["second"]


def gaussian(params, x):
    return mean(params, x), params["log_std"]


def points(rows=5):
    return torch.randn(rows, 3, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("rows", [1, 5, 8])
def test_outputs_and_gradients_are_those_of_jax(rows):
    agent = Agent.from_jax(gaussian, PARAMS, SEEN, BOX)
    assert isinstance(agent.head, GaussianHead)
    x = points(rows)
    inside = jnp.asarray(x.numpy())
    expected = np.concatenate([mean(PARAMS, inside), np.tile(PARAMS["log_std"], (rows, 1))], 1)
    np.testing.assert_allclose(agent(x).numpy(), expected, rtol=1e-5, atol=1e-6)
    found = torch.autograd.functional.jacobian(lambda x: agent(x)[:, :2].sum(0), x)
    dense = jax.jacrev(lambda x: mean(PARAMS, x).sum(0))(inside)
    np.testing.assert_allclose(found.numpy(), dense, rtol=1e-5, atol=1e-6)


def test_logits_values_and_another_head():
    agent = Agent.from_jax(
        mean, PARAMS, SEEN, spaces.Discrete(2), value=lambda p, x: mean(p, x).max(-1), unit="mine"
    )
    x = points()
    expected = np.asarray(mean(PARAMS, jnp.asarray(x.numpy())))
    np.testing.assert_allclose(agent.value(x).numpy(), expected.max(1), rtol=1e-5)
    np.testing.assert_array_equal(agent.head.act(agent(x))[:, 0].numpy(), expected.argmax(1))
    x.requires_grad_()
    agent.value(x).sum().backward()
    dense = jax.grad(lambda x: mean(PARAMS, x).max(-1).sum())(jnp.asarray(points().numpy()))
    np.testing.assert_allclose(x.grad.numpy(), dense, rtol=1e-5, atol=1e-6)
    head = SquashedGaussianHead(torch.tensor(BOX.low), torch.tensor(BOX.high))
    squashed = Agent.from_jax(gaussian, PARAMS, SEEN, BOX, head=head)
    assert squashed.head is head
    assert (agent.unit, agent.differentiable) == ("mine", True)
    assert agent.source == "JAX, tests.unit.integrations.test_jax_agents.mean"


def test_an_attack_finds_what_it_finds_in_torch():
    """The same network in torch, attacked by the same search."""
    first, second = (torch.tensor(np.asarray(PARAMS[name])) for name in ("first", "second"))
    agent = Agent.from_jax(mean, PARAMS, SEEN, spaces.Discrete(2))
    attack = aajr.ProjectedGradientAscent(
        aajr.Ball("linf", 0.1), aajr.Divergence(agent.metric), steps=4
    )
    found, expected = (
        attack(policy, points(7), torch.Generator().manual_seed(0)).worst
        for policy in (agent, lambda x: torch.tanh(x @ first) @ second)
    )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_flax_and_equinox():
    linen, equinox = pytest.importorskip("flax.linen"), pytest.importorskip("equinox")
    dense = linen.Dense(2)
    params = dense.init(jax.random.key(0), jnp.zeros((1, 3)))
    model = equinox.nn.MLP(3, 2, 4, 1, key=jax.random.key(0))
    x = points()
    inside = jnp.asarray(x.numpy())
    for agent, expected in (
        (Agent.from_jax(dense.apply, params, SEEN, BOX), dense.apply(params, inside)),
        (Agent.from_jax(lambda m, x: jax.vmap(m)(x), model, SEEN, BOX), jax.vmap(model)(inside)),
    ):
        np.testing.assert_allclose(agent(x).numpy(), expected, rtol=1e-5, atol=1e-6)
        assert agent.state_dict(), "the weights identify the agent"


def test_functions_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"raised TypeError at observations of shape \(2, 5\)"):
        Agent.from_jax(mean, PARAMS, spaces.Box(-1, 1, (5,)), BOX)
    with pytest.raises(ValueError, match=r"need \(2, 3\)"):
        Agent.from_jax(mean, PARAMS, SEEN, spaces.Discrete(3))
