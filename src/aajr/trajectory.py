"""The record of one inner maximisation, shared by adversaries and penalties."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from aajr._vectors import length, unit


@dataclass(frozen=True, eq=False)
class Reference:
    """What an objective may compare an attacked output with; one row per sample.

    Attributes:
        inputs: clean inputs x, ``[batch, *event]``.
        outputs: clean outputs π(x), detached, ``[batch, *output]``. An objective that does not
            read them saves a pass: they may be evaluated at first use.
        data: further tensors with one row per sample (actions, advantages, targets, states).
    """

    inputs: Tensor
    outputs: Tensor
    data: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def deferred(
        cls, inputs: Tensor, evaluate: Callable[[], Tensor], data: Mapping[str, Tensor]
    ) -> Reference:
        """A reference whose outputs are evaluated when they are first read."""
        reference = cls(inputs, inputs, data)
        object.__delattr__(reference, "outputs")
        object.__setattr__(reference, "_evaluate", evaluate)
        return reference

    @property
    def evaluated(self) -> bool:
        """Whether the outputs are there already."""
        return "outputs" in vars(self)

    def __getattr__(self, name: str) -> Any:
        if name != "outputs" or "_evaluate" not in vars(self):
            raise AttributeError(f"Reference has no attribute {name!r}")
        object.__setattr__(self, "outputs", vars(self)["_evaluate"]())
        return self.outputs

    def rows(self, index: Tensor | slice) -> Reference:
        """The reference of the chosen samples; ``index`` is ``[chosen]``."""
        data = {name: value[index] for name, value in self.data.items()}
        if self.evaluated:
            return Reference(self.inputs[index], self.outputs[index], data)
        return Reference.deferred(self.inputs[index], lambda: self.outputs[index], data)


Objective = Callable[[Tensor, Reference], Tensor]
"""What the adversary maximises: (output ``[batch, *output]``, reference) to losses ``[batch]``."""


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
        event_dims: trailing dimensions that share one budget (see :class:`aajr.Ball`).
        forward_passes: policy evaluations, in units of the whole batch.
        backward_passes: gradient evaluations, likewise.
        curvature_passes: second directional derivatives by double backward, likewise.
        outputs: π(x + δ_k) attached to the parameters, ``[K+1, batch, *output]``, if kept.
    """

    reference: Reference
    points: Tensor
    gradients: Tensor
    losses: Tensor
    worst: Tensor
    event_dims: int = 1
    forward_passes: float = 0
    backward_passes: float = 0
    curvature_passes: float = 0
    outputs: Tensor | None = None

    @property
    def origin(self) -> Tensor:
        """Clean inputs x, ``[batch, *event]``."""
        return self.reference.inputs

    @property
    def steps(self) -> Tensor:
        """The steps really made, δ_{k+1} - δ_k with projection, ``[K, batch, *event]``."""
        return self.points[1:] - self.points[:-1]

    @property
    def moved(self) -> Tensor:
        """True for features that the adversary changed at any point, ``[batch, *event]``."""
        return (self.points != self.origin).any(0)

    def norm(self, value: Tensor) -> Tensor:
        """Euclidean norm over the budget's dimensions, kept as ones, so that it broadcasts."""
        return length(value, self._budget_dims)

    def unit(self, value: Tensor) -> Tensor:
        """``value / ‖value‖`` over the budget's dimensions; zero stays zero."""
        return unit(value, self._budget_dims)

    @property
    def _budget_dims(self) -> tuple[int, ...]:
        return tuple(range(-self.event_dims, 0))

    def rows(self, index: Tensor) -> Trajectory:
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
