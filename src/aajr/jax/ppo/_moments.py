"""Running mean and variance, by which observations and rewards are scaled."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array, lax

from aajr.jax._pytree import pytree

FARTHEST = 10.0
"""Scaled numbers are clipped to this size."""

LEAST = 1e-8
"""Added to every variance."""


@pytree("count", "mean", "variance")
@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and variance of all rows seen so far.

    Attributes:
        count: number of rows.
        mean: ``[features]`` or ``[]``.
        variance: in the shape of ``mean``.
    """

    count: Array
    mean: Array
    variance: Array

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> Moments:
        """Before the first row: mean 0, variance 1."""
        return cls(jnp.zeros(()), jnp.zeros(shape), jnp.ones(shape))

    def seen(self, rows: Array, counts: Array) -> Moments:
        """With further rows ``[rows, ...]``, of which those with ``counts`` 0 do not count.

        Source: Chan et al., Updating formulae and a pairwise algorithm for computing sample
        variances, 1979.
        """
        weight = counts.reshape(-1, *[1] * (rows.ndim - 1))
        new = counts.sum()
        safe = jnp.maximum(new, 1.0)
        mean = (weight * rows).sum(0) / safe
        variance = (weight * jnp.square(rows - mean)).sum(0) / safe
        total = jnp.maximum(self.count + new, 1.0)
        gap, share = mean - self.mean, new / total
        pooled = (1 - share) * self.variance + share * variance
        spread = pooled + (1 - share) * share * jnp.square(gap)
        return Moments(self.count + new, self.mean + share * gap, spread)

    def standard(self, rows: Array) -> Array:
        """(x - mean) / σ, clipped to ±10."""
        return self.scaled(rows - self.mean)

    def scaled(self, rows: Array) -> Array:
        """x / σ, clipped to ±10."""
        return jnp.clip(rows * lax.rsqrt(self.variance + LEAST), -FARTHEST, FARTHEST)

    @property
    def deviation(self) -> Array:
        """σ."""
        return jnp.sqrt(self.variance + LEAST)
