"""Bare functions, Equinox and Flax keep their own loops; weight 0 is their own training."""

from __future__ import annotations

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aajr.jax import (
    AAJR,
    ERNIE,
    Ball,
    Categorical,
    Frobenius,
    Minimax,
    ProjectedGradientAscent,
    RandomDirection,
    Spectral,
    StateAdversarial,
)
from tests.jax_sides import compiled_quickly

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (64, 5))
Y = jnp.arange(64) % 3
BALL = Ball("linf", 0.1)
PENALTIES = {
    "none": None,
    "aajr": AAJR(),
    "gradient": AAJR(direction="gradient", metric=Categorical()),
    "frobenius": Frobenius(),
    "spectral": Spectral(),
    "random": RandomDirection(interval=2),
    "sa": StateAdversarial(metric=Categorical()),
    "ernie": ERNIE(ball=BALL),
}


@pytest.fixture(autouse=True, scope="module")
def quick():
    with compiled_quickly():
        yield


def cross_entropy(logits):
    return optax.softmax_cross_entropy_with_integer_labels(logits, Y).mean()


def bare():
    first, second = jax.random.split(KEY)
    params = [jax.random.normal(first, (5, 16)) / 2, jax.random.normal(second, (16, 3)) / 4]
    return params, lambda params: lambda x: jnp.tanh(x @ params[0]) @ params[1]


def equinox():
    eqx = pytest.importorskip("equinox")
    net = eqx.nn.MLP(5, 3, 16, 1, jnp.tanh, key=KEY)
    params, rest = eqx.partition(net, eqx.is_inexact_array)
    return params, lambda params: jax.vmap(eqx.combine(params, rest))


def flax():
    nnx = pytest.importorskip("flax.nnx")
    rngs = nnx.Rngs(0)
    net = nnx.Sequential(nnx.Linear(5, 16, rngs=rngs), jnp.tanh, nnx.Linear(16, 3, rngs=rngs))
    graph, params = nnx.split(net)
    return params, lambda params: nnx.merge(graph, params)


HOSTS = {"bare": bare, "equinox": equinox, "flax": flax}
every_host = pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS)


def train(host, robust: Minimax | None, updates: int = 10, transform=jax.jit):
    """The host's loop: grad, optax, jit; with and without the plug."""
    params, policy_of = host()
    optimizer = optax.adam(1e-2)

    def loss(params, state):
        policy = policy_of(params)
        if robust is None:
            return cross_entropy(policy(X)), state
        result = robust(policy, X, cross_entropy, state=state)
        return result.total, result.state

    @transform
    def update(params, moments, state):
        gradient, state = jax.grad(loss, has_aux=True)(params, state)
        steps, moments = optimizer.update(gradient, moments)
        return optax.apply_updates(params, steps), moments, state

    moments, state = optimizer.init(params), None if robust is None else robust.init(KEY)
    for _ in range(updates):
        params, moments, state = update(params, moments, state)
    return jax.tree.leaves(params), state


def one_by_one(update):
    """Runs every operation by itself, so that none is fused with what the plug adds."""
    return update


@cache
def plain(host, updates: int, transform) -> list:
    return train(host, None, updates, transform)[0]


@pytest.mark.parametrize("penalty", PENALTIES.values(), ids=PENALTIES)
def test_weight_zero_on_clean_inputs_is_the_plain_training_bit_for_bit(penalty):
    robust = Minimax(ProjectedGradientAscent(BALL), penalty, weight=0.0, placement="clean")
    found, _ = train(bare, robust, 3, one_by_one)
    for a, b in zip(plain(bare, 3, one_by_one), found, strict=True):
        np.testing.assert_array_equal(a, b)


@every_host
def test_no_weight_and_no_radius_are_every_hosts_own_training(host):
    """Jitted, up to the order in which the compiler adds."""
    still = ProjectedGradientAscent(Ball("linf", 0.0))
    found, _ = train(host, Minimax(still, AAJR(), weight=0.0))
    for a, b in zip(plain(host, 10, jax.jit), found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
        assert float(jnp.abs(a).max()) > 1e-3


def test_a_weight_makes_the_policy_less_sensitive():
    attack = ProjectedGradientAscent(BALL)
    _, policy_of = bare()
    sizes = []
    for weight in (0.0, 1.0):
        robust = Minimax(attack, AAJR(fraction=1.0, interval=1), weight=weight)
        policy = policy_of(train(bare, robust, 30)[0])
        sizes.append(float(AAJR(fraction=1.0)(policy, attack(policy, X, KEY), KEY)))
    assert sizes[1] < 0.7 * sizes[0]


def test_the_state_goes_on_exactly():
    """Ten updates are five and five from the state in between, and the running mean is in it."""
    robust = Minimax(ProjectedGradientAscent(BALL), AAJR(direction="gradient", interval=1))
    state = robust.init(KEY)
    values, states = [], []
    for update in range(4):
        weight = jnp.ones((5, 3)) * (update + 1)
        result = robust(lambda x, w=weight: jnp.tanh(x @ w), X, jnp.mean, state=state)
        values.append(float(result.penalty))
        state = result.state
        states.append(state)
    again = robust(lambda x: jnp.tanh(x @ jnp.ones((5, 3)) * 4), X, jnp.mean, state=states[2])
    assert int(state.update) == 4
    assert float(again.state.gradient_scale) == float(state.gradient_scale) > 0
    assert not np.array_equal(jax.random.key_data(states[0].key), jax.random.key_data(state.key))


def test_a_schedule_and_an_attacked_share():
    robust = Minimax(
        ProjectedGradientAscent(BALL),
        AAJR(fraction=1.0, interval=1),
        weight=optax.linear_schedule(0.0, 1.0, 2),
        placement="clean",
        attack_fraction=0.25,
    )
    state = robust.init(KEY)
    for expected in (0.0, 0.5, 1.0):
        result = robust(jnp.tanh, X, jnp.mean, {"row": Y}, state=state)
        assert float(result.diagnostics["weight"]) == expected
        total = float(result.task + expected * result.penalty)
        assert float(result.total) == pytest.approx(total)
        assert result.trajectory.origin.shape == (16, 5)
        assert result.trajectory.reference.data["row"].shape == (16,)
        state = result.state


def test_mixed_is_the_mean_of_both():
    losses = {
        placement: Minimax(ProjectedGradientAscent(BALL), placement=placement)
        for placement in ("clean", "adversarial", "mixed")
    }
    value = {
        name: float(robust(jnp.tanh, X, jnp.mean, state=robust.init(KEY)).task)
        for name, robust in losses.items()
    }
    assert value["clean"] != value["adversarial"]
    assert value["mixed"] == pytest.approx((value["clean"] + value["adversarial"]) / 2)
