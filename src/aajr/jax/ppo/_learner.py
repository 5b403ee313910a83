"""One update of PPO as a pure function: advantages, epochs and minibatches in one program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

from aajr.jax._adversary import Adversary
from aajr.jax._functions import Policy
from aajr.jax._minimax import Minimax, MinimaxState
from aajr.jax._penalty import Penalty
from aajr.jax._pytree import pytree
from aajr.jax.ppo import _networks as networks
from aajr.jax.ppo._config import PPOConfig
from aajr.jax.ppo._moments import Moments
from aajr.jax.ppo._player import Player
from aajr.jax.ppo._recurrent import sparing_memory, unrolled

Robust = Minimax | Callable[[Policy], Minimax]
"""A robust loss, or a function that makes one from V, ``[rows, features]`` to ``[rows, 1]``."""


@pytree("params", "adam", "robust", "observations", "returns", "discounted", "key")
@dataclass(frozen=True, eq=False)
class Learner:
    """All that a run needs to go on, but for the environments.

    Attributes:
        params: see :data:`aajr.jax.ppo._networks.Params`.
        adam: state of the optimiser.
        robust: state of the robust loss; None without one.
        observations: mean and variance of observations.
        returns: the same of discounted returns; rewards are divided by their σ.
        discounted: discounted return of every environment so far, ``[environments]``.
        key: source of all further randomness.
    """

    params: networks.Params
    adam: optax.OptState
    robust: MinimaxState | None
    observations: Moments
    returns: Moments
    discounted: Array
    key: Array

    @property
    def player(self) -> Player:
        """The policy with the statistics of its observations."""
        return Player(self.params, self.observations)


@pytree("observation", "memory", "action", "reward", "ended", "cut", "counts")
@dataclass(frozen=True, eq=False)
class Rollout:
    """What was played, ``[steps, environments, ...]``.

    Attributes:
        observation: raw observations, one more than steps.
        memory: the policy's memory at every one of them; empty without an LSTM.
        action: drawn actions, before they were clipped.
        reward: rewards.
        ended: 1 where the episode ended.
        cut: 1 where time was up.
        counts: 0 at steps that only began an episode anew, else 1.
    """

    observation: Array
    memory: Array
    action: Array
    reward: Array
    ended: Array
    cut: Array
    counts: Array


@pytree("x", "memory", "action", "log_prob", "advantage", "target", "counts")
@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of a rollout that PPO learns from, ``[windows, steps, ...]``."""

    x: Array
    memory: Array
    action: Array
    log_prob: Array
    advantage: Array
    target: Array
    counts: Array


def init_learner(
    config: PPOConfig, features: int, actions: int, robust: Robust | None, seed: int
) -> Learner:
    """The learner before the first update."""
    keys = jax.random.split(jax.random.key(seed), 3)
    params = networks.init_params(
        keys[0], features, actions, config.hidden, config.log_std, config.scale, config.memory
    )
    return Learner(
        params=params,
        adam=_optimizer(config).init(params),
        robust=None if robust is None else _made(robust, params).init(keys[1]),
        observations=Moments.empty((features,)),
        returns=Moments.empty(()),
        discounted=jnp.zeros(config.environments),
        key=keys[2],
    )


def check_robust(robust: Robust) -> None:
    """Raise ValueError unless it is a robust loss, or a function that makes one from V."""
    known = isinstance(robust, Minimax)
    if not known and (isinstance(robust, Penalty | Adversary) or not callable(robust)):
        raise ValueError(
            f"robust={robust!r} is not allowed; give a Minimax of aajr.jax, a function of V that "
            "returns one, or None"
        )


def update(
    config: PPOConfig, robust: Robust | None, learner: Learner, rollout: Rollout
) -> tuple[Learner, dict[str, Array]]:
    """Learn from a rollout.

    Args:
        config: settings.
        robust: adversary and penalty around PPO's surrogate; None for plain PPO.
        learner: the learner that played the rollout.
        rollout: what was played.

    Returns:
        The learner after, and means over the minibatches of named numbers.
    """
    if robust is None or isinstance(robust, Minimax):
        return _update(config, None, robust, learner, rollout)
    return _update(config, robust, None, learner, rollout)


@partial(jax.jit, static_argnames=("config", "of_value"))
def _update(
    config: PPOConfig,
    of_value: Callable[[Policy], Minimax] | None,
    fixed: Minimax | None,
    learner: Learner,
    rollout: Rollout,
) -> tuple[Learner, dict[str, Array]]:
    """The update; a Minimax is data for JAX, a function that makes one is not."""
    robust = fixed if of_value is None else of_value
    rows, learner = _prepared(config, learner, rollout)
    key, own = jax.random.split(learner.key)
    carry = replace(learner, key=key)

    def minibatch(carry: Learner, chosen: Array) -> tuple[Learner, dict[str, Array]]:
        part = jax.tree.map(lambda leaf: leaf[chosen], rows)
        gradient, (state, told) = jax.grad(_loss, has_aux=True)(
            carry.params, config, robust, part, carry.robust
        )
        change, adam = _optimizer(config).update(gradient, carry.adam)
        params = optax.apply_updates(carry.params, change)
        return replace(carry, params=params, adam=adam, robust=state), told

    def epoch(carry: Learner, key: Array) -> tuple[Learner, dict[str, Array]]:
        windows = config.rows // config.span
        order = jax.random.permutation(key, windows).reshape(config.minibatches, -1)
        return lax.scan(minibatch, carry, order)

    carry, told = lax.scan(epoch, carry, jax.random.split(own, config.epochs))
    return carry, jax.tree.map(jnp.mean, told)


def advantages(config: PPOConfig, values: Array, reward: Array, ended: Array, cut: Array) -> Array:
    """Generalised advantages, ``[steps, environments]``.

    Args:
        config: gives γ and λ.
        values: V of every step and of the one after the last, ``[steps + 1, environments]``; after
            an end in time the next step still shows the last state, whose V counts.
        reward: rewards, as all that follows ``[steps, environments]``.
        ended: 1 where the episode ended.
        cut: 1 where time was up.

    Example:
        >>> config, zeros = PPOConfig(discount=0.5, trace=1.0), jnp.zeros((2, 1))
        >>> reward = jnp.array([[1.0], [2.0]])
        >>> advantages(config, jnp.zeros((3, 1)), reward, zeros, zeros).tolist()
        [[2.0], [2.0]]

    Source: Schulman et al., High-dimensional continuous control using generalized advantage
    estimation, 2016, https://arxiv.org/abs/1506.02438.
    """
    error = reward + config.discount * (1 - ended) * values[1:] - values[:-1]
    going = config.discount * config.trace * (1 - jnp.maximum(ended, cut))

    def back(after: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        advantage = now[0] + now[1] * after
        return advantage, advantage

    _, found = lax.scan(back, jnp.zeros_like(error[0]), (error, going), reverse=True)
    return found


def _prepared(config: PPOConfig, learner: Learner, rollout: Rollout) -> tuple[Rows, Learner]:
    """Rows in the learner's units, and the learner that has seen the rollout."""
    x = learner.observations.standard(rollout.observation)
    returns, discounted = _discounted(config, learner.discounted, rollout)
    seen = learner.returns.seen(returns.reshape(-1), rollout.counts.reshape(-1))
    read = jnp.concatenate([x, rollout.memory], -1)
    values = networks.value(learner.params, read)
    advantage = advantages(config, values, seen.scaled(rollout.reward), rollout.ended, rollout.cut)
    output = networks.policy(learner.params, read[:-1])
    log_prob = networks.log_probability(output, rollout.action)
    counts = rollout.counts
    mean = _mean(advantage, counts)
    spread = jnp.sqrt(_mean(jnp.square(advantage - mean), counts))
    scaled = (advantage - mean) / (spread + 1e-8)
    target, memory = values[:-1] + advantage, rollout.memory[:-1]
    rows = Rows(x[:-1], memory, rollout.action, log_prob, scaled, target, counts)
    rows = jax.tree.map(partial(_windows, config.span), rows)
    raw = rollout.observation[:-1].reshape(-1, x.shape[-1])
    observations = learner.observations.seen(raw, counts.reshape(-1))
    return rows, replace(learner, observations=observations, returns=seen, discounted=discounted)


def _discounted(config: PPOConfig, start: Array, rollout: Rollout) -> tuple[Array, Array]:
    """Discounted returns of the running episodes at every step, and those after the last."""

    def step(total: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        reward, over = now
        total = config.discount * total + reward
        return total * (1 - over), total

    over = jnp.maximum(rollout.ended, rollout.cut)
    after, returns = lax.scan(step, start, (rollout.reward, over))
    return returns, after


def _windows(span: int, leaf: Array) -> Array:
    """``[steps, environments, ...]`` as ``[windows, span, ...]``."""
    steps, *rest = leaf.shape
    apart = leaf.reshape(steps // span, span, *rest).swapaxes(1, 2)
    return apart.reshape(steps // span * rest[0], span, *rest[1:])


def _loss(
    params: networks.Params,
    config: PPOConfig,
    robust: Robust | None,
    rows: Rows,
    state: MinimaxState | None,
) -> tuple[Array, tuple[MinimaxState | None, dict[str, Array]]]:
    """Loss of a minibatch, the state of the robust loss after, and named numbers."""
    policy = partial(networks.policy, params)
    read = unrolled(params, rows.x, rows.memory[:, 0], rows.counts)
    rows = jax.tree.map(jnp.concatenate, replace(rows, x=read))

    def surrogate(output: Array) -> Array:
        ratio = jnp.exp(networks.log_probability(output, rows.action) - rows.log_prob)
        near = jnp.clip(ratio, 1 - config.clip, 1 + config.clip)
        gain = jnp.minimum(ratio * rows.advantage, near * rows.advantage)
        return -_mean(gain + config.entropy * networks.entropy(output), rows.counts)

    if robust is None or state is None:
        loss, told = surrogate(policy(rows.x)), {}
    else:
        data = {"action": rows.action, "advantage": rows.advantage}
        found = _made(robust, params)(policy, rows.x, surrogate, data, state=state)
        loss, state = found.total, found.state
        told = {"penalty": found.penalty, **found.diagnostics}
    error = _mean(jnp.square(networks.value(params, rows.x) - rows.target), rows.counts)
    total = loss + config.value_weight * error
    return total, (state, {"loss": loss, "value_error": error, **told})


def _made(robust: Robust, params: networks.Params) -> Minimax:
    """The robust loss, made from the present V if it is a function; it spares the memory."""
    constant = lax.stop_gradient(params)
    made = (
        robust
        if isinstance(robust, Minimax)
        else robust(lambda rows: networks.value(constant, rows)[:, None])
    )
    return sparing_memory(made, networks.features(params), networks.memories(params))


def _mean(values: Array, counts: Array) -> Array:
    return (values * counts).sum() / jnp.maximum(counts.sum(), 1.0)


def _optimizer(config: PPOConfig) -> optax.GradientTransformation:
    rate = optax.linear_schedule(config.learning_rate, 0.0, config.minibatch_updates)
    return optax.chain(
        optax.clip_by_global_norm(config.max_gradient_norm), optax.adam(rate, eps=1e-5)
    )
