"""The reward of an adversary that leads its victim to states where it seldom is."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
from jax import Array, lax

from aajr.jax.ppo._learner import Rollout

NEAREST = 10
"""Number of neighbours over which distances are averaged."""


def rarity(states: Array, counts: Array) -> Array:
    r"""How seldom each state is, by the distance of its k = 10 nearest neighbours.

    .. math:: b_i = \log\Bigl(1 + \frac1k \sum_{j \in N_k(i)} \|z_i - z_j\|_2\Bigr),
        \quad z = x / \sigma(x)

    Args:
        states: x, ``[states, features]``.
        counts: 0 for states that are no neighbours and have no rarity, else 1, ``[states]``.

    Returns:
        ``[states]``.

    Example:
        >>> states = jnp.array([[0.0], [0.0], [0.0], [9.0]])
        >>> int(rarity(states, jnp.ones(4)).argmax())
        3

    Source: Zheng et al., Toward evaluating robustness of reinforcement learning with adversarial
    policy, 2024, https://arxiv.org/abs/2305.02605, the driver of state coverage.
    """
    z = (states - _mean(states, counts)) / _spread(states, counts)
    squares = jnp.square(z).sum(-1)
    apart = squares[:, None] + squares[None] - 2 * z @ z.T
    apart = jnp.sqrt(jnp.maximum(apart, 0.0))
    others = (counts[None] > 0) & ~jnp.eye(len(z), dtype=bool)
    known = jnp.minimum(NEAREST, counts.sum() - 1)
    near = -lax.top_k(jnp.where(others, -apart, -jnp.inf), min(NEAREST, len(z) - 1))[0]
    return jnp.log1p(jnp.where(near < jnp.inf, near, 0.0).sum(-1) / jnp.maximum(known, 1)) * counts


def with_coverage(rollout: Rollout, share: float) -> Rollout:
    r"""The adversary's rollout with the reward (1 - c) r/σ(r) + c (b' - mean b')/σ(b').

    r is the adversary's own reward, b' the rarity of the next state. The last step of an episode
    has no such bonus. Means and deviations are over the rollout, so the bonus is 0 on average, and
    an episode is no better for being longer.

    Args:
        rollout: what the adversary played.
        share: c in [0, 1]; 0 changes nothing.
    """
    return _mixed(rollout, share) if share else rollout


@jax.jit
def _mixed(rollout: Rollout, share: float) -> Rollout:
    going = (rollout.counts * (1 - jnp.maximum(rollout.ended, rollout.cut))).reshape(-1)
    after = rollout.observation[1:].reshape(len(going), -1)
    found = rarity(after, going)
    bonus = (found - _mean(found, going)) / _spread(found, going) * going
    reward = rollout.reward / _spread(rollout.reward.reshape(-1), rollout.counts.reshape(-1))
    mixed = (1 - share) * reward + share * bonus.reshape(reward.shape)
    return replace(rollout, reward=mixed)


def _mean(values: Array, counts: Array) -> Array:
    weight = counts.reshape(-1, *[1] * (values.ndim - 1))
    return (weight * values).sum(0) / jnp.maximum(counts.sum(), 1.0)


def _spread(values: Array, counts: Array) -> Array:
    """σ over the rows that count; 1 where it is 0."""
    spread = jnp.sqrt(_mean(jnp.square(values - _mean(values, counts)), counts))
    return jnp.where(spread > 1e-6 * jnp.abs(values).max(0), spread, 1.0)
