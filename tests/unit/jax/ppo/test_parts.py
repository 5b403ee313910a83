"""Moments, advantages, densities and one update of PPO against second implementations."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from aajr.jax import (
    AAJR,
    AttackOn,
    Ball,
    DiagonalGaussian,
    Divergence,
    LeastValue,
    Minimax,
    ProjectedGradientAscent,
    StateAdversarial,
    Surrogate,
)
from aajr.jax.ppo import (
    Moments,
    PPOConfig,
    Rollout,
    advantages,
    init_learner,
    log_probability,
    policy,
    update,
    value,
)
from aajr.jax.ppo._networks import entropy

FEATURES, ACTIONS = 3, 2
CONFIG = PPOConfig(
    steps=64, environments=4, rollout=8, epochs=1, minibatches=1, hidden=(8,), entropy=0.01
)
METRIC = DiagonalGaussian()


def attack(epsilon: float = 0.1) -> ProjectedGradientAscent:
    return ProjectedGradientAscent(Ball("linf", epsilon), Divergence(METRIC), steps=2)


def played(config: PPOConfig = CONFIG, seed: int = 0) -> Rollout:
    """A rollout of random numbers, with ends, cuts and steps that only begin an episode anew."""
    g = np.random.default_rng(seed)
    size = (config.rollout, config.environments)
    ended, cut = (g.random((2, *size)) < 0.15).astype(np.float32)
    cut *= 1 - ended
    counts = np.ones(size, np.float32)
    counts[1:] = 1 - np.maximum(ended, cut)[:-1]
    ended, cut = ended * counts, cut * counts
    counts[1:] = 1 - np.maximum(ended, cut)[:-1]

    def draw(*shape):
        return g.normal(size=shape).astype(np.float32)

    return Rollout(
        3 + 2 * draw(config.rollout + 1, config.environments, FEATURES),
        np.zeros((config.rollout + 1, config.environments, 0), np.float32),
        draw(*size, ACTIONS),
        draw(*size) * counts,
        ended,
        cut,
        counts,
    )


def learner(config: PPOConfig = CONFIG, robust: Minimax | None = None):
    made = init_learner(config, FEATURES, ACTIONS, robust, 0)
    ready = made.observations.seen(jnp.full((4, FEATURES), 3.0) + jnp.eye(4)[:, :3], jnp.ones(4))
    *inner, last = made.params["actor"]  # as small as it starts, it would hardly be sensitive
    actor = [*inner, {**last, "weight": 100 * last["weight"]}]
    return replace(made, observations=ready, params={**made.params, "actor": actor})


def test_moments_are_those_of_all_counted_rows():
    rows = np.random.default_rng(0).normal(5, 3, (300, 4)).astype(np.float32)
    counts = np.random.default_rng(1).integers(0, 2, 300).astype(np.float32)
    found = Moments.empty((4,))
    for part in np.split(np.arange(300), [7, 50, 51, 200]):
        found = found.seen(rows[part], counts[part])
    kept = rows[counts > 0].astype(np.float64)
    np.testing.assert_allclose(found.mean, kept.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found.variance, kept.var(0), rtol=1e-5)
    assert float(found.count) == len(kept)
    untouched = found.seen(rows[:5], np.zeros(5))
    np.testing.assert_array_equal(untouched.variance, found.variance)
    far = jnp.full((1, 4), 1e6)
    np.testing.assert_array_equal(found.standard(far), np.full((1, 4), 10.0))


def test_advantages_of_a_plain_loop():
    config, rollout = CONFIG, played()
    values = np.random.default_rng(2).normal(size=(config.rollout + 1, config.environments))
    found = advantages(config, values, rollout.reward, rollout.ended, rollout.cut)
    expected = np.zeros((config.rollout, config.environments))
    for e in range(config.environments):
        after = 0.0
        for t in reversed(range(config.rollout)):
            bootstrap = 0.0 if rollout.ended[t, e] else values[t + 1, e]
            error = rollout.reward[t, e] + config.discount * bootstrap - values[t, e]
            over = rollout.ended[t, e] or rollout.cut[t, e]
            after = error + (0.0 if over else config.discount * config.trace * after)
            expected[t, e] = after
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_density_and_entropy_are_those_of_torch():
    g = np.random.default_rng(0)
    output, action = g.normal(size=(5, 4)).astype(np.float32), g.normal(size=(5, 2))
    mean, log_std = torch.from_numpy(output).chunk(2, -1)
    normal = torch.distributions.Normal(mean, log_std.exp())
    expected = normal.log_prob(torch.from_numpy(action.astype(np.float32))).sum(-1)
    np.testing.assert_allclose(log_probability(output, action), expected, rtol=1e-5)
    np.testing.assert_allclose(entropy(output), normal.entropy().sum(-1), rtol=1e-5)


def by_torch(config: PPOConfig, start, rollout: Rollout):
    """Parameters after one full-batch update of Adam, written again in torch and float64."""

    def at(leaf):
        return torch.tensor(np.asarray(leaf), dtype=torch.float64)

    params = jax.tree.map(lambda leaf: at(leaf).requires_grad_(), start.params)
    mean, variance = at(start.observations.mean), at(start.observations.variance)
    x = ((at(rollout.observation) - mean) / (variance + 1e-8).sqrt()).clamp(-10, 10)

    def network(layers, x):
        for layer in layers[:-1]:
            x = torch.tanh(x @ layer["weight"] + layer["bias"])
        return x @ layers[-1]["weight"] + layers[-1]["bias"]

    def normal(x):
        return torch.distributions.Normal(network(params["actor"], x), params["log_std"].exp())

    reward, ended, cut = at(rollout.reward), at(rollout.ended), at(rollout.cut)
    counts, total, returns = at(rollout.counts), torch.zeros(config.environments), []
    for t in range(config.rollout):
        total = config.discount * total + reward[t]
        returns.append(total)
        total = total * (1 - torch.maximum(ended, cut)[t])
    kept = torch.stack(returns)[counts > 0]
    reward = (reward / (kept.var(correction=0) + 1e-8).sqrt()).clamp(-10, 10)
    values = network(params["critic"], x)[..., 0].detach()
    advantage, after = torch.zeros_like(reward), torch.zeros(config.environments)
    for t in reversed(range(config.rollout)):
        error = reward[t] + config.discount * (1 - ended[t]) * values[t + 1] - values[t]
        going = 1 - torch.maximum(ended, cut)[t]
        after = error + config.discount * config.trace * going * after
        advantage[t] = after
    target, known = values[:-1] + advantage, advantage[counts > 0]
    scaled = (advantage - known.mean()) / (known.std(correction=0) + 1e-8)
    action = at(rollout.action)
    new = normal(x[:-1])
    ratio = (new.log_prob(action).sum(-1) - new.log_prob(action).sum(-1).detach()).exp()
    gain = ratio * scaled + config.entropy * new.entropy().sum(-1)
    error = (network(params["critic"], x[:-1])[..., 0] - target).square()
    loss = (-gain + config.value_weight * error)[counts > 0].mean()
    leaves = jax.tree.leaves(params)
    gradients = torch.autograd.grad(loss, leaves)
    norm = torch.sqrt(sum(g.square().sum() for g in gradients))
    factor = min(1.0, config.max_gradient_norm / float(norm))
    for leaf, gradient in zip(leaves, gradients, strict=True):
        leaf.grad = factor * gradient
    torch.optim.Adam(leaves, config.learning_rate, eps=1e-5).step()
    return params


def test_an_update_is_that_of_a_second_implementation():
    start, rollout = learner(), played()
    found, told = update(CONFIG, None, start, rollout)
    expected = by_torch(CONFIG, start, rollout)
    for own, other in zip(jax.tree.leaves(found.params), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(own, other.detach(), rtol=1e-4, atol=2e-6)
    changed = [
        float(jnp.abs(a - b).max())
        for a, b in zip(jax.tree.leaves(found.params), jax.tree.leaves(start.params), strict=True)
    ]
    assert min(changed) > 1e-5
    assert set(told) == {"loss", "value_error"}


def test_steps_that_only_begin_an_episode_anew_teach_nothing():
    start, rollout = learner(), played()
    lies = np.where(rollout.counts[..., None] > 0, rollout.action, 99.0)
    one, _ = update(CONFIG, None, start, rollout)
    two, _ = update(CONFIG, None, start, replace(rollout, action=lies))
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(two.params), strict=True):
        np.testing.assert_array_equal(a, b)


def test_weight_zero_is_plain_ppo():
    config = replace(CONFIG, epochs=3, minibatches=4)
    robust = Minimax(attack(), AAJR(metric=METRIC), weight=0.0, placement="clean")
    one, _ = update(config, None, learner(config), played(config))
    two, _ = update(config, robust, learner(config, robust), played(config))
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(two.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("penalty", [AAJR, StateAdversarial])
def test_penalties_and_the_adversary_change_what_is_learned(penalty):
    robust = Minimax(attack(), penalty(metric=METRIC), weight=1.0, placement="clean")
    adversarial = Minimax(attack(), placement="adversarial")
    config = replace(CONFIG, epochs=4, minibatches=4)
    plain, _ = update(config, None, learner(config), played(config))
    actors = []
    for one in (robust, adversarial):
        after, told = update(config, one, learner(config, one), played(config))
        assert int(after.robust.update) == 16
        assert float(told["inner_gradient_norm_mean"]) > 0
        np.testing.assert_allclose(
            after.params["critic"][0]["bias"], plain.params["critic"][0]["bias"], atol=2e-3
        )
        actors.append(np.asarray(after.params["actor"][0]["weight"]))
    actors.append(np.asarray(plain.params["actor"][0]["weight"]))
    gaps = [np.abs(a - b).max() for a in actors for b in actors if a is not b]
    assert min(gaps) > 1e-5


def of_value(value) -> Minimax:
    """AAJR along what lowers V, at radius 0.2."""
    search = ProjectedGradientAscent(Ball("linf", 0.2), LeastValue(), steps=1)
    return Minimax(
        AttackOn(value, search), AAJR(metric=METRIC, interval=1, fraction=1.0), placement="clean"
    )


def test_a_robust_loss_may_depend_on_the_present_value():
    start, rollout = learner(CONFIG, of_value), played()
    found, told = update(CONFIG, of_value, start, rollout)

    def fixed(x):
        return value(start.params, x)[:, None]

    same, other = update(CONFIG, of_value(fixed), start, rollout)
    np.testing.assert_allclose(told["penalty"], other["penalty"], rtol=1e-4)
    plain, _ = update(CONFIG, None, start, rollout)
    pairs = zip(*(jax.tree.leaves(one.params) for one in (found, same, plain)), strict=True)
    gaps = []
    for own, again, without in pairs:
        np.testing.assert_allclose(own, again, rtol=1e-4, atol=1e-6)
        gaps.append(float(jnp.abs(own - without).max()))
    assert max(gaps) > 1e-5
    critics = [jax.tree.leaves(one.params["critic"]) for one in (found, plain)]
    assert all(np.allclose(a, b, atol=1e-4) for a, b in zip(*critics, strict=True))


def test_the_adversary_may_read_actions_and_advantages():
    objective = Surrogate(log_probability)
    search = ProjectedGradientAscent(Ball("linf", 0.2), objective, steps=1)
    robust = Minimax(search, AAJR(metric=METRIC, interval=1, fraction=1.0), placement="clean")
    start = learner(CONFIG, robust)
    _, told = update(CONFIG, robust, start, played())
    assert float(told["inner_gradient_norm_mean"]) > 0.01


def test_a_linear_policy_starts_at_the_scale_asked_for():
    config = replace(CONFIG, hidden=(), scale=2.0)
    params = init_learner(config, FEATURES, ACTIONS, None, 0).params
    (layer,) = params["actor"]
    np.testing.assert_allclose(layer["weight"].T @ layer["weight"], 4 * np.eye(2), atol=1e-5)
    x = jnp.eye(FEATURES)
    np.testing.assert_allclose(policy(params, x)[:, :ACTIONS], layer["weight"], atol=1e-6)


def test_policy_and_value_have_their_shapes():
    made = learner()
    x = jnp.zeros((5, FEATURES))
    assert policy(made.params, x).shape == (5, 2 * ACTIONS)
    assert value(made.params, x).shape == (5,)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"minibatches": 7}, "minibatches=7 does not divide the 2048 rows"),
        ({"steps": 100}, "steps=100"),
        ({"environments": 0}, "environments=0"),
        ({"discount": 1.5}, "discount=1.5"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"hidden": (0,)}, "hidden=0"),
        ({"scale": -1.0}, "scale=-1.0"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        PPOConfig(**settings)
