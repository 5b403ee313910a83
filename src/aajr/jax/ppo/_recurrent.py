"""What a policy with an LSTM needs in training: its memory in every row, which stays unattacked."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from aajr.jax._ball import Ball
from aajr.jax._penalty import Penalty
from aajr.jax.ppo import _networks as networks

Robust = TypeVar("Robust")

_NEUTRAL = {"mask": True, "scale": 1.0, "low": -np.inf, "high": np.inf}
"""Settings with a number for every feature, and the number that a feature of the memory gets."""


def unrolled(params: networks.Params, x: Array, memory: Array, counts: Array) -> Array:
    """Rows with the memory that the present weights have in them.

    The gradient goes through the memory, back to the start of the window.

    Args:
        params: weights.
        x: normalised observations, ``[windows, steps, features]``.
        memory: at the start of every window, ``[windows, memories]``.
        counts: 0 at steps that only began an episode anew, ``[windows, steps]``; the memory is
            empty after them.

    Returns:
        ``[windows, steps, features + memories]``.
    """
    if not memory.shape[-1]:
        return x

    def step(memory: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        rows = jnp.concatenate([now[0], memory], -1)
        return networks.remember(params, rows) * now[1][:, None], rows

    _, rows = lax.scan(step, memory, (x.swapaxes(0, 1), counts.swapaxes(0, 1)))
    return rows.swapaxes(0, 1)


def sparing_memory(robust: Robust, features: int, memories: int) -> Robust:
    """A robust loss for rows that end with a memory: no ball and no penalty reaches it.

    Args:
        robust: a Minimax, or any part of it.
        features: size of an observation.
        memories: size of the memory; 0 changes nothing.

    Example:
        >>> from aajr.jax import Ball
        >>> sparing_memory(Ball("linf", 0.1), 2, 1).mask.tolist()
        [True, True, False]
    """
    if not memories or not is_dataclass(robust) or isinstance(robust, type):
        return robust
    known = {one.name: getattr(robust, one.name) for one in fields(robust) if one.init}
    found: dict[str, Any]
    if isinstance(robust, Ball) or (isinstance(robust, Penalty) and "mask" in known):
        found = {
            name: _lengthened(known[name], memories, fill)
            for name, fill in _NEUTRAL.items()
            if name in known
        }
        allowed = jnp.arange(features + memories) < features
        found["mask"] = allowed if found["mask"] is None else allowed & found["mask"]
    else:
        found = {name: sparing_memory(one, features, memories) for name, one in known.items()}
    return replace(robust, **found)


def _lengthened(setting: Any, memories: int, fill: Any) -> Any:
    """A setting with a number for every feature of the memory too; others stay."""
    if setting is None or not np.ndim(setting) or np.shape(setting)[-1] == 1:
        return setting
    widths = [(0, 0)] * (np.ndim(setting) - 1) + [(0, memories)]
    return jnp.pad(jnp.asarray(setting), widths, constant_values=fill)
