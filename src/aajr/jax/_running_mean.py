"""A running mean, so that a penalty's scale does not drift with the gradients'."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import jax.numpy as jnp
from jax import Array, lax

from aajr.jax._checks import check_number
from aajr.jax._pytree import pytree


@pytree("value")
@dataclass(frozen=True, eq=False)
class RunningMean:
    """Exponential running mean of a positive quantity, started at its first value.

    Attributes:
        decay: weight of the mean so far.
        value: the mean so far; NaN before the first update.

    Raises:
        ValueError: a decay outside [0, 1].

    Example:
        >>> import jax.numpy as jnp
        >>> mean = RunningMean(decay=0.5).update(jnp.array([2.0]))
        >>> mean.update(jnp.array([4.0])).value.item()
        3.0
    """

    decay: float = 0.99
    value: float | Array = math.nan

    def __post_init__(self) -> None:
        check_number("decay", self.decay, maximum=1.0)

    def update(self, sample: Array) -> RunningMean:
        """The running mean that includes the mean of another batch."""
        new = lax.stop_gradient(sample.mean())
        old = jnp.where(jnp.isnan(self.value), new, self.value)
        return replace(self, value=self.decay * old + (1 - self.decay) * new)

    def normalized(self, value: Array) -> Array:
        """``value`` over the mean, or as it is while the mean is zero or unknown."""
        known = jnp.asarray(self.value) > 0
        return jnp.where(known, value / jnp.where(known, self.value, 1.0), value)
