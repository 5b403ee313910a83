"""An adversary that attacks another map than the policy."""

from __future__ import annotations

from dataclasses import dataclass, replace

from jax import Array

from aajr.jax._adversary import Adversary
from aajr.jax._ball import Ball
from aajr.jax._checks import check_callable, check_instance
from aajr.jax._functions import Policy
from aajr.jax._pytree import pytree
from aajr.jax._rows import in_parts
from aajr.jax._trajectory import Reference, Trajectory


@pytree("adversary")
@dataclass(frozen=True, eq=False)
class AttackOn(Adversary):
    """Runs an adversary on another map of the same input; the victim is never queried.

    With the map x ↦ V(x) and the objective :class:`aajr.jax.LeastValue` it is the attack on a
    critic that reads the perturbed input: the policy gets the input with the lowest V.

    The points, gradients and losses are those of the map; the reference is the victim's. The
    backward passes are the map's.

    Attributes:
        target: the map, ``[batch, *event]`` to ``[batch, *output]``.
        adversary: the search, with its ball and objective.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from aajr.jax import LeastValue, ProjectedGradientAscent
        >>> search = ProjectedGradientAscent(Ball("linf", 0.5), LeastValue())
        >>> attack = AttackOn(lambda x: x.sum(1, keepdims=True), search)
        >>> attack(jnp.tanh, jnp.zeros((1, 2)), jax.random.key(0)).worst
        Array([[-0.5, -0.5]], dtype=float32)

    Source: Huang et al., Adversarial attacks on neural network policies, 2017,
    https://arxiv.org/abs/1702.02284; Zhang et al., 2020, https://arxiv.org/abs/2003.08938.
    """

    target: Policy
    adversary: Adversary

    def __post_init__(self) -> None:
        check_callable("target", self.target, "a map from inputs [batch, ...] to [batch, ...]")
        check_instance("adversary", self.adversary, Adversary, "an adversary of aajr.jax")

    @property
    def ball(self) -> Ball:  # type: ignore[override]
        """The threat set of the search."""
        return self.adversary.ball

    def draw(self, x: Array, key: Array) -> Array:
        """The draws of the search."""
        return self.adversary.draw(x, key)

    def run(self, policy: Policy, reference: Reference, draws: Array) -> Trajectory:
        """Attack the map in place of the policy."""
        x = reference.inputs
        outputs = in_parts(lambda part: self.target(part(x)), len(x))
        found = self.adversary.run(self.target, replace(reference, outputs=outputs), draws)
        return replace(
            found, reference=reference, outputs=None, forward_passes=1, curvature_passes=0
        )
