"""Adversarially-aligned Jacobian regularisation."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import jax.numpy as jnp
from jax import Array

from aajr.jax._checks import check_choice, check_number
from aajr.jax._directional import ESTIMATORS, Estimator, difference, directional_derivative
from aajr.jax._functions import Policy, joined, wide
from aajr.jax._inspection import inspect
from aajr.jax._penalty import JacobianPenalty, along
from aajr.jax._pytree import pytree
from aajr.jax._running_mean import RunningMean
from aajr.jax._trajectory import Trajectory


@pytree("gamma", "gradient_scale")
@dataclass(frozen=True, eq=False, kw_only=True)
class AAJR(JacobianPenalty):
    r"""Sensitivity only along the directions in which the adversary pushes.

    .. math:: R = \operatorname{mean}_{x,k} \|J(x + \delta_k)\, v_k\|_M^2

    v_k and δ_k are constants for θ. The write-up prints :math:`J^\top v`; with
    :math:`J = \partial\pi/\partial x` of shape outputs × inputs the quantity is :math:`J v`.

    Attributes:
        direction: v_k. ``unit`` is g_k/‖g_k‖₂; ``step`` is the direction really moved,
            projection and sign included; ``gradient`` is g_k itself, the write-up's formula,
            which weights samples by how much they can be hurt. Its penalty is divided by a
            running mean of ‖g‖² over whole batches, so that one λ means the same as with
            ``unit``; :meth:`observe` carries that mean to the next update.
        gamma: if given, the hinge (max(0, ‖Jv‖ - γ))², zero inside the admissible class.
        estimator: of J v. ``secant`` reads the whole step and needs ``direction="step"``.
        gradient_scale: the running mean for ``gradient``.
        points: where J is taken, see :class:`JacobianPenalty`; at the ``origin`` along the last
            direction.
        fraction: share of the rows, an eighth by default.
        interval: updates of a training run between two penalties, 8 by default.

    Raises:
        ValueError: unknown names, γ ≤ 0, combinations that have no meaning.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from aajr.jax import Ball, ProjectedGradientAscent
        >>> weight, key = jnp.array([[3.0, 0.0], [0.0, 50.0]]), jax.random.key(0)
        >>> policy = lambda x: x @ weight
        >>> first = lambda output, reference: output[:, 0]
        >>> attack = ProjectedGradientAscent(Ball("l2", 0.1), first)
        >>> trajectory = attack(policy, jnp.zeros((8, 2)), key)
        >>> AAJR(estimator="forward_mode")(policy, trajectory, key)
        Array(9., dtype=float32)

    Source: Adversarially-aligned Jacobian regularization, https://arxiv.org/abs/2603.04378.
    """

    direction: Literal["unit", "step", "gradient"] = "unit"
    gamma: float | None = None
    estimator: Estimator = "forward_difference"
    gradient_scale: RunningMean = field(default_factory=RunningMean)
    fraction: float = 1 / 8
    interval: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("direction", self.direction, ("unit", "step", "gradient"))
        check_choice("estimator", self.estimator, tuple(ESTIMATORS))
        if self.points == "origin" and self.estimator == "secant":
            raise ValueError(
                "points='origin' is not where estimator='secant' steps; use 'last' or 'trajectory'"
            )
        if self.gamma is not None:
            check_number("gamma", self.gamma, exclusive=True)
        if self.estimator == "secant" and self.direction != "step":
            raise ValueError(
                f"estimator='secant' spans the step made, direction={self.direction!r} does not; "
                "use direction='step'"
            )

    def observe(self, trajectory: Trajectory) -> AAJR:
        """The penalty with the running mean of ‖g‖² updated."""
        if self.direction != "gradient":
            return self
        scale = self.gradient_scale.update(self._squared_gradients(trajectory))
        return replace(self, gradient_scale=scale)

    def per_sample(
        self, policy: Policy, trajectory: Trajectory, draws: Array | None = None
    ) -> Array:
        """‖J v‖²_M, or its hinge, averaged over the points: ``[batch]``."""
        values = self._squared_norms(policy, trajectory)
        if self.direction == "gradient":
            values = self.gradient_scale.normalized(values)
        if self.gamma is not None:
            # the clamp keeps the square root's gradient finite where the hinge is idle
            outside = jnp.maximum(values, self.gamma**2)
            values = jnp.square(jnp.sqrt(outside) - self.gamma)
        return values.mean(0)

    def _squared_norms(self, policy: Policy, trajectory: Trajectory) -> Array:
        if self.estimator == "secant":
            return self._secant(policy, trajectory)
        x = self.evaluation_points(trajectory)
        v = along(self._directions(trajectory), self.points)
        output, product = directional_derivative(policy, joined(x), joined(v), self.estimator)
        return self.metric.squared_norm(output, product).reshape(x.shape[:2])

    def _directions(self, trajectory: Trajectory) -> Array:
        if self.direction == "gradient":
            return trajectory.gradients
        source = trajectory.steps if self.direction == "step" else trajectory.gradients
        return trajectory.unit(source)

    def _secant(self, policy: Policy, trajectory: Trajectory) -> Array:
        step = along(trajectory.steps, self.points)
        length = jnp.square(wide(step)).sum(tuple(range(2, step.ndim)))
        if trajectory.outputs is not None:
            kept = joined(along(trajectory.outputs[:-1], self.points))
            moved = joined(along(trajectory.outputs[1:], self.points))
            epsilon = inspect(policy, trajectory.origin)
            start, change = kept, difference(kept, moved, epsilon)
        else:
            x = joined(self.evaluation_points(trajectory))
            start, change = directional_derivative(policy, x, joined(step), "secant")
        squared = self.metric.squared_norm(start, change).reshape(length.shape)
        return jnp.where(length > 0, squared / jnp.where(length > 0, length, 1.0), 0.0)
