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
"""``actor`` and ``critic``, lists of weights and biases, and ``log_std``, ``[actions]``.

A layer with ``recurrent`` weights is an LSTM. Rows of a policy with a memory are observations
followed by the LSTMs' states, first the actor's, then the critic's.
"""

UNIT_MEMORIES = 4
"""Numbers in the memory for every unit of an LSTM: h and c, of the actor and of the critic."""

Layers = list[dict[str, Array]]


def init_params(
    key: Array,
    features: int,
    actions: int,
    hidden: Sequence[int],
    log_std: float,
    scale: float = 0.01,
    memory: int = 0,
) -> Params:
    """Orthogonal weights.

    Args:
        key: source of the weights.
        features: size of an observation.
        actions: number of actions.
        hidden: units of the hidden layers.
        log_std: log standard deviation of every action.
        scale: size of the policy's last layer; with a small one it starts near 0.
        memory: units of the LSTM after the hidden layers; 0 for none.
    """
    for_actor, for_critic = jax.random.split(key)
    return {
        "actor": _layers(for_actor, (features, *hidden), memory, actions, scale),
        "critic": _layers(for_critic, (features, *hidden), memory, 1, 1.0),
        "log_std": jnp.full((actions,), log_std, float),
    }


def policy(params: Params, rows: Array) -> Array:
    """Mean and log standard deviation of the actions, ``[rows, features]`` to ``[rows, 2a]``.

    Example:
        >>> params = init_params(jax.random.key(0), 3, 2, (8,), -1.0)
        >>> policy(params, jnp.zeros((1, 3)))
        Array([[ 0.,  0., -1., -1.]], dtype=float32)
    """
    mean, _ = _network(params["actor"], *_parts(params, rows)[:2])
    return jnp.concatenate([mean, jnp.broadcast_to(params["log_std"], mean.shape)], -1)


def value(params: Params, rows: Array) -> Array:
    """V of observations, ``[rows, features]`` to ``[rows]``."""
    x, _, state = _parts(params, rows)
    return _network(params["critic"], x, state)[0][..., 0]


def features(params: Params) -> int:
    """Size of an observation."""
    return int(params["actor"][0]["weight"].shape[0])


def memories(params: Params) -> int:
    """Numbers that follow an observation in a row: the states of the LSTMs."""
    return _state_size(params["actor"]) + _state_size(params["critic"])


def remember(params: Params, rows: Array) -> Array:
    """The states after rows ``[rows, features + memories]``, ``[rows, memories]``."""
    x, *states = _parts(params, rows)
    after = (
        _network(params[name], x, state)[1]
        for name, state in zip(("actor", "critic"), states, strict=True)
    )
    return jnp.concatenate([*after], -1)


def log_probability(output: Array, action: Array) -> Array:
    """Log-density of actions ``[rows, a]`` under outputs ``[rows, 2a]``, ``[rows]``."""
    mean, log_std = jnp.split(output, 2, -1)
    z = (action - mean) * jnp.exp(-log_std)
    return -(0.5 * jnp.square(z) + log_std + 0.5 * math.log(2 * math.pi)).sum(-1)


def entropy(output: Array) -> Array:
    """Entropy of the actions, ``[rows, 2a]`` to ``[rows]``."""
    _, log_std = jnp.split(output, 2, -1)
    return (log_std + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)


def _layers(key: Array, inner: tuple[int, ...], memory: int, outputs: int, last: float) -> Layers:
    """Tanh layers, an LSTM if there is one, and the last layer."""
    pairs = [*pairwise(inner), (memory or inner[-1], outputs)]
    scales = [math.sqrt(2)] * (len(pairs) - 1) + [last]
    keys = jax.random.split(key, len(pairs))
    *hidden, outer = (
        {"weight": scale * jax.nn.initializers.orthogonal()(k, pair), "bias": jnp.zeros(pair[1])}
        for k, pair, scale in zip(keys, pairs, scales, strict=True)
    )
    between = [_lstm(key, inner[-1], memory)] if memory else []
    return [*hidden, *between, outer]


def _lstm(key: Array, inputs: int, units: int) -> dict[str, Array]:
    """Weights of the gates i, f, g, o, each orthogonal; it starts with biases of 0."""
    init, keys = jax.nn.initializers.orthogonal(), jax.random.split(jax.random.fold_in(key, 1), 8)
    weight = [init(k, (inputs, units)) for k in keys[:4]]
    recurrent = [init(k, (units, units)) for k in keys[4:]]
    return {
        "weight": jnp.concatenate(weight, -1),
        "recurrent": jnp.concatenate(recurrent, -1),
        "bias": jnp.zeros(4 * units),
    }


def _state_size(layers: Layers) -> int:
    return sum(2 * layer["recurrent"].shape[0] for layer in layers if "recurrent" in layer)


def _parts(params: Params, rows: Array) -> tuple[Array, Array, Array]:
    """Observations, and the states of the actor and of the critic."""
    seen = features(params)
    first = seen + _state_size(params["actor"])
    return rows[..., :seen], rows[..., seen:first], rows[..., first:]


def _network(layers: Layers, x: Array, state: Array) -> tuple[Array, Array]:
    """Outputs, and the LSTM's state after; without one the state stays."""
    *inner, outer = layers
    for layer in inner:
        if "recurrent" in layer:
            x, state = _recalled(layer, x, state)
        else:
            x = jnp.tanh(x @ layer["weight"] + layer["bias"])
    return x @ outer["weight"] + outer["bias"], state


def _recalled(layer: dict[str, Array], x: Array, state: Array) -> tuple[Array, Array]:
    """Output h and state (h, c) after a step of the LSTM.

    Source: Hochreiter and Schmidhuber, Long short-term memory, 1997; with forget gates.
    """
    before, cell = jnp.split(state, 2, -1)
    sums = x @ layer["weight"] + before @ layer["recurrent"] + layer["bias"]
    enter, forget, new, leave = jnp.split(sums, 4, -1)
    cell = jax.nn.sigmoid(forget) * cell + jax.nn.sigmoid(enter) * jnp.tanh(new)
    output = jax.nn.sigmoid(leave) * jnp.tanh(cell)
    return output, jnp.concatenate([output, cell], -1)
