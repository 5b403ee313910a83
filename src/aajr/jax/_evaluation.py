"""The objective at perturbed points, a bounded number of rows at a time."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from aajr.jax._directional import directional_curvature
from aajr.jax._functions import Policy, with_constant_closure
from aajr.jax._objectives import checked_loss
from aajr.jax._rows import Part, in_parts
from aajr.jax._trajectory import Objective, Reference


def loss_at(policy: Policy, objective: Objective, point: Array, reference: Reference) -> Array:
    """ℓ(π(point)), constant for the parameters, ``[batch]``."""

    def losses(part: Part) -> Array:
        return _loss_of(policy, objective, part(reference))(part(point))

    return in_parts(losses, len(point))


def loss_and_gradient(
    policy: Policy, objective: Objective, point: Array, reference: Reference, keep: bool = False
) -> tuple[Array, Array, Array | None]:
    """ℓ(π(point)) ``[batch]`` and its gradient ``[batch, *event]``, constant for the parameters.

    The third value is the output, differentiable in the parameters, or None unless ``keep``.
    """

    def found(part: Part) -> tuple[Array, Array, Array | None]:
        losses, pull = jax.vjp(_loss_of(policy, objective, part(reference)), part(point))
        output = policy(part(point)) if keep else None
        return losses, pull(jnp.ones_like(losses))[0], output

    return in_parts(found, len(point))


def curvature_at(
    policy: Policy, objective: Objective, point: Array, d: Array, reference: Reference
) -> Array:
    """dᵀ∇²ℓ(π(point)) d, ``[batch]``."""

    def curvature(part: Part) -> Array:
        loss = _loss_of(policy, objective, part(reference))
        return directional_curvature(loss, part(point), part(d))[2]

    return in_parts(curvature, len(point))


def _loss_of(
    policy: Policy, objective: Objective, reference: Reference
) -> Callable[[Array], Array]:
    """ℓ(π(·)) with the parameters held constant."""

    def loss(point: Array) -> Array:
        return checked_loss(objective, policy(point), reference)

    return with_constant_closure(loss, reference.inputs)
