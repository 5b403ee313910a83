"""The record of one inner maximisation, shared by adversaries and penalties."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import jax
from jax import Array

from aajr import _shared
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
@_shared.documented
@dataclass(frozen=True, eq=False)
class Trajectory(_shared.Trajectory[Array, Reference]):
    """A pytree of arrays; ``event_dims`` is static."""

    def norm(self, value: Array) -> Array:
        """Euclidean norm over the budget's dimensions, which become ones, so that it broadcasts."""
        return length(value, self._budget_dims)

    def unit(self, value: Array) -> Array:
        """``value / ‖value‖`` over the budget's dimensions; zero stays zero."""
        return unit(value, self._budget_dims)


def check_trajectory(trajectory: Trajectory) -> None:
    """Raise ValueError unless ``trajectory`` is a trajectory of this package."""
    check_instance("trajectory", trajectory, Trajectory, "what an adversary of aajr.jax returned")
