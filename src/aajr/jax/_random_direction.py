"""Random directions: the cost of AAJR without the alignment."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import jax
from jax import Array

from aajr.jax._checks import check_choice, check_mask
from aajr.jax._directional import ESTIMATORS, Estimator, directional_derivative
from aajr.jax._functions import Policy, joined
from aajr.jax._penalty import JacobianPenalty, given
from aajr.jax._pytree import pytree
from aajr.jax._running_mean import RunningMean
from aajr.jax._trajectory import Trajectory


@pytree("mask", "gradient_scale")
@dataclass(frozen=True, eq=False, kw_only=True)
class RandomDirection(JacobianPenalty):
    r"""‖J r‖² with r uniform on the unit sphere; :math:`\mathbb{E}\|Jr\|^2 = \|J\|_F^2/n`.

    With n features allowed by the mask. Where every agent has a budget of its own, r is a unit
    vector for each, as v is in AAJR, and n counts one agent's features.

    Attributes:
        weight: ``one``, or ``gradient`` to weight samples by ‖g‖² over its running mean, which
            is the weight of AAJR's ``gradient`` without its direction.
        mask: True for input features r may use, broadcastable to the event; all by default.
        estimator: of J r.
        gradient_scale: the running mean for ``weight="gradient"``.
        fraction: share of the rows, an eighth by default, as in AAJR.
        interval: updates between two penalties, 8 by default, as in AAJR.

    Raises:
        ValueError: unknown names, a weight where there is no gradient.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from aajr.jax import Ball, UniformNoise
        >>> policy, key = lambda x: 3 * x, jax.random.key(0)
        >>> trajectory = UniformNoise(Ball("l2", 0.1))(policy, jnp.ones((8, 2)), key)
        >>> RandomDirection(estimator="forward_mode")(policy, trajectory, key).round()
        Array(9., dtype=float32)

    Source: the ablation of AAJR; without weights, the stochastic form of the Frobenius penalty.
    """

    weight: Literal["one", "gradient"] = "one"
    mask: Array | None = None
    estimator: Estimator = "forward_difference"
    gradient_scale: RunningMean = field(default_factory=RunningMean)
    fraction: float = 1 / 8
    interval: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("weight", self.weight, ("one", "gradient"))
        check_choice("estimator", self.estimator, tuple(ESTIMATORS))
        if self.weight == "gradient" and self.points == "origin":
            raise ValueError("points='origin' has no gradient to weight by; use 'last'")

    def observe(self, trajectory: Trajectory) -> RandomDirection:
        """The penalty with the running mean of ‖g‖² updated."""
        if self.weight != "gradient":
            return self
        scale = self.gradient_scale.update(self._squared_gradients(trajectory))
        return replace(self, gradient_scale=scale)

    def draw(self, trajectory: Trajectory, key: Array) -> Array:
        """Normal vectors in the direction of r, ``[points, batch, *event]``."""
        x = self.evaluation_points(trajectory)
        return jax.random.normal(key, x.shape, x.dtype)

    def per_sample(self, policy: Policy, trajectory: Trajectory, draws: Array | None) -> Array:
        """‖J r‖²_M, weighted, averaged over the points: ``[batch]``."""
        check_mask("mask", self.mask, trajectory.origin)
        x, noise = self.evaluation_points(trajectory), given(draws)
        r = trajectory.unit(noise if self.mask is None else noise * self.mask)
        output, product = directional_derivative(policy, joined(x), joined(r), self.estimator)
        values = self.metric.squared_norm(output, product).reshape(x.shape[:2])
        if self.weight == "gradient":
            values = values * self.gradient_scale.normalized(self._squared_gradients(trajectory))
        return values.mean(0)
