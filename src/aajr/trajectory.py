"""The record of one inner maximisation, shared by adversaries and penalties."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from aajr import _shared
from aajr._vectors import length, unit


@dataclass(frozen=True, eq=False)
class Reference:
    """What an objective may compare an attacked output with; one row per sample.

    Attributes:
        inputs: clean inputs x, ``[batch, *event]``.
        outputs: clean outputs π(x), detached, ``[batch, *output]``. They may be evaluated at first
            use, so an objective that does not read them saves a pass.
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
        """Whether the outputs have already been evaluated."""
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


MEMORY = "memory"
"""Name of the data that a policy with ``remembers = True`` reads beside its input, row by row."""


def output_at(policy: Callable[..., Tensor], point: Tensor, reference: Reference) -> Tensor:
    """π(point) of the reference's samples; a policy that remembers reads their memory too.

    Args:
        policy: map from ``[batch, *event]``; if its ``remembers`` is True, from inputs and
            ``data["memory"]`` of the same rows.
        point: ``[batch, *event]``.
        reference: the samples.
    """
    if getattr(policy, "remembers", False):
        return policy(point, reference.data[MEMORY])
    return policy(point)


Objective = Callable[[Tensor, Reference], Tensor]
"""What the adversary maximises: (output ``[batch, *output]``, reference) to losses ``[batch]``."""


@_shared.documented
@dataclass(frozen=True, eq=False)
class Trajectory(_shared.Trajectory[Tensor, Reference]):
    """The second directional derivatives in ``curvature_passes`` are taken by double backward."""

    def norm(self, value: Tensor) -> Tensor:
        """Euclidean norm over the budget's dimensions, which are kept with size 1 to broadcast."""
        return length(value, self._budget_dims)

    def unit(self, value: Tensor) -> Tensor:
        """``value / ‖value‖`` over the budget's dimensions; zero stays zero."""
        return unit(value, self._budget_dims)
