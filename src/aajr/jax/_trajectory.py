"""The record of one inner maximisation, shared by adversaries and penalties."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import jax
from jax import Array

from aajr.jax._checks import check_instance
from aajr.jax._functions import length, unit
from aajr.jax._pytree import pytree


@pytree("inputs", "outputs", "data")
@dataclass(frozen=True, eq=False)
class Reference:
    """What an objective may compare an attacked output with; one row per sample.

    Attributes:
        inputs: clean inputs x, ``[batch, *event]``.
        outputs: clean outputs π(x), constants, ``[batch, *output]``.
        data: further arrays with one row per sample (actions, advantages, targets, states).
    """

    inputs: Array
    outputs: Array
    data: Mapping[str, Array] = field(default_factory=dict)

    def rows(self, index: Array) -> Reference:
        """The reference of the chosen samples; ``index`` is ``[chosen]``."""
        return jax.tree.map(lambda value: value[index], self)


Objective = Callable[[Array, Reference], Array]
"""What the adversary maximises: (output ``[batch, *output]``, reference) to losses ``[batch]``."""


@pytree(
    "reference",
    "points",
    "gradients",
    "losses",
    "worst",
    "forward_passes",
    "backward_passes",
    "curvature_passes",
    "outputs",
)
@dataclass(frozen=True, eq=False)
class Trajectory:
    """Where the adversary went, and which way it pushed.

    Attributes:
        reference: clean inputs and outputs, and the batch's data.
        points: x + δ_k for k = 0..K, ``[K+1, batch, *event]``; constants for θ.
        gradients: g_k = ∇_x ℓ(π(x + δ_k)) on attackable features for k = 0..K-1,
            ``[K, batch, *event]``.
        losses: objective at the first points, ``[K or K+1, batch]``; the last point is scored
            only when the adversary had to choose between points.
        worst: the point the adversary settled on, x + δ*, ``[batch, *event]``.
        event_dims: trailing dimensions that share one budget (see :class:`aajr.jax.Ball`).
        forward_passes: policy evaluations, in units of the whole batch.
        backward_passes: gradient evaluations, likewise.
        curvature_passes: second directional derivatives, likewise.
        outputs: π(x + δ_k) attached to the parameters, ``[K+1, batch, *output]``, if kept.
    """

    reference: Reference
    points: Array
    gradients: Array
    losses: Array
    worst: Array
    event_dims: int = 1
    forward_passes: float | Array = 0
    backward_passes: float | Array = 0
    curvature_passes: float | Array = 0
    outputs: Array | None = None

    @property
    def origin(self) -> Array:
        """Clean inputs x, ``[batch, *event]``."""
        return self.reference.inputs

    @property
    def steps(self) -> Array:
        """The steps really made, δ_{k+1} - δ_k with projection, ``[K, batch, *event]``."""
        return self.points[1:] - self.points[:-1]

    def norm(self, value: Array) -> Array:
        """Euclidean norm over the budget's dimensions, kept as ones, so that it broadcasts."""
        return length(value, self._budget_dims)

    def unit(self, value: Array) -> Array:
        """``value / ‖value‖`` over the budget's dimensions; zero stays zero."""
        return unit(value, self._budget_dims)

    @property
    def _budget_dims(self) -> tuple[int, ...]:
        return tuple(range(-self.event_dims, 0))

    def rows(self, index: Array) -> Trajectory:
        """The trajectory of the chosen samples; ``index`` is ``[chosen]``."""
        return replace(
            self,
            reference=self.reference.rows(index),
            points=self.points[:, index],
            gradients=self.gradients[:, index],
            losses=self.losses[:, index],
            worst=self.worst[index],
            outputs=None if self.outputs is None else self.outputs[:, index],
        )


def check_trajectory(trajectory: Trajectory) -> None:
    """Raise ValueError unless this is what an adversary returned."""
    check_instance("trajectory", trajectory, Trajectory, "what an adversary of aajr.jax returned")
