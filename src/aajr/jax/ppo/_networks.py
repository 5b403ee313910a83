"""Policy and value function: tanh networks, and a Gaussian of one spread for all states."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

Params = dict[str, Any]
"""``actor`` and ``critic``, lists of weights and biases, and ``log_std``, ``[actions]``."""


def init_params(
    key: Array,
    features: int,
    actions: int,
    hidden: Sequence[int],
    log_std: float,
    scale: float = 0.01,
) -> Params:
    """Orthogonal weights.

    Args:
        key: source of the weights.
        features: size of an observation.
        actions: number of actions.
        hidden: units of the hidden layers.
        log_std: log standard deviation of every action.
        scale: size of the policy's last layer; with a small one it starts near 0.
    """
    for_actor, for_critic = jax.random.split(key)
    return {
        "actor": _layers(for_actor, (features, *hidden, actions), scale),
        "critic": _layers(for_critic, (features, *hidden, 1), 1.0),
        "log_std": jnp.full((actions,), log_std, float),
    }


def policy(params: Params, x: Array) -> Array:
    """Mean and log standard deviation of the actions, ``[rows, features]`` to ``[rows, 2a]``.

    Example:
        >>> params = init_params(jax.random.key(0), 3, 2, (8,), -1.0)
        >>> policy(params, jnp.zeros((1, 3)))
        Array([[ 0.,  0., -1., -1.]], dtype=float32)
    """
    mean = _network(params["actor"], x)
    return jnp.concatenate([mean, jnp.broadcast_to(params["log_std"], mean.shape)], -1)


def value(params: Params, x: Array) -> Array:
    """V of observations, ``[rows, features]`` to ``[rows]``."""
    return _network(params["critic"], x)[..., 0]


def log_probability(output: Array, action: Array) -> Array:
    """Log-density of actions ``[rows, a]`` under outputs ``[rows, 2a]``, ``[rows]``."""
    mean, log_std = jnp.split(output, 2, -1)
    z = (action - mean) * jnp.exp(-log_std)
    return -(0.5 * jnp.square(z) + log_std + 0.5 * math.log(2 * math.pi)).sum(-1)


def entropy(output: Array) -> Array:
    """Entropy of the actions, ``[rows, 2a]`` to ``[rows]``."""
    _, log_std = jnp.split(output, 2, -1)
    return (log_std + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)


def _layers(key: Array, sizes: tuple[int, ...], last: float) -> list[dict[str, Array]]:
    pairs = list(pairwise(sizes))
    scales = [math.sqrt(2)] * (len(pairs) - 1) + [last]
    keys = jax.random.split(key, len(pairs))
    return [
        {"weight": scale * jax.nn.initializers.orthogonal()(k, pair), "bias": jnp.zeros(pair[1])}
        for k, pair, scale in zip(keys, pairs, scales, strict=True)
    ]


def _network(layers: list[dict[str, Array]], x: Array) -> Array:
    *inner, outer = layers
    for layer in inner:
        x = jnp.tanh(x @ layer["weight"] + layer["bias"])
    return x @ outer["weight"] + outer["bias"]
