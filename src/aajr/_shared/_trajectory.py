"""The record of one inner maximisation, of tensors or arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

Array = TypeVar("Array", bound=Any)
Reference = TypeVar("Reference", bound=Any)
Self = TypeVar("Self", bound="Trajectory[Any, Any]")


@dataclass(frozen=True, eq=False)
class Trajectory(Generic[Array, Reference]):
    """Where the adversary went, and which way it pushed.

    Attributes:
        reference: clean inputs and outputs, and the batch's data.
        points: x + δ_k for k = 0..K, ``[K+1, batch, *event]``; constants for θ.
        gradients: g_k = ∇_x ℓ(π(x + δ_k)) on attackable features for k = 0..K-1,
            ``[K, batch, *event]``.
        losses: objective at the first points, ``[K or K+1, batch]``; the last point is scored
            only when the adversary had to choose between points.
        worst: the adversary's result, x + δ*, ``[batch, *event]``.
        event_dims: trailing dimensions that share one budget (see :class:`Ball`).
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
    forward_passes: Any = 0
    backward_passes: Any = 0
    curvature_passes: Any = 0
    outputs: Array | None = None

    @property
    def origin(self) -> Array:
        """Clean inputs x, ``[batch, *event]``."""
        return self.reference.inputs

    @property
    def steps(self) -> Array:
        """The steps really made, δ_{k+1} - δ_k with projection, ``[K, batch, *event]``."""
        return self.points[1:] - self.points[:-1]

    @property
    def moved(self) -> Array:
        """True for features that the adversary changed at any point, ``[batch, *event]``."""
        return (self.points != self.origin).any(0)

    @property
    def _budget_dims(self) -> tuple[int, ...]:
        return tuple(range(-self.event_dims, 0))

    def rows(self: Self, index: Any) -> Self:
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
