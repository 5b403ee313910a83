"""The threat set Δ = {δ : ‖δ/s‖_p ≤ ε}, masked and boxed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from aajr.jax._checks import (
    check_batch,
    check_choice,
    check_finite,
    check_key,
    check_number,
    check_same_shape,
    is_array,
    is_traced,
)
from aajr.jax._functions import unit
from aajr.jax._projection import project_ellipsoid_in_box, project_sphere
from aajr.jax._pytree import pytree

Norm = Literal["l2", "linf"]


@pytree("epsilon", "scale", "mask", "coalition", "low", "high")
@dataclass(frozen=True, eq=False)
class Ball:
    """Perturbations δ with ‖δ/s‖_p ≤ ε on the attackable features, and x + δ in a valid box.

    A sample's last ``event_dims`` dimensions share one budget. On ``[batch, agents, features]``,
    1 gives every agent a ball of its own and 2 one joint ball for the team (for ``linf`` they are
    the same set). A pytree: ε and the arrays may be traced, norm and ``event_dims`` are static.

    Attributes:
        norm: ``"l2"`` or ``"linf"``.
        epsilon: radius ε in units of ``scale``.
        scale: s, input units per unit of ε, positive, broadcastable to the event; ones by default.
        mask: True where the adversary may change a feature, broadcastable to the event.
        coalition: True for the agents the adversary holds, ``[agents]`` or ``[batch, agents]``.
        low: least valid input; a clean input outside the box stays admissible.
        high: greatest valid input.
        event_dims: trailing dimensions that share one budget.

    Raises:
        ValueError: an unknown norm, ε < 0, a scale that is not positive, a mask that is not
            boolean, crossed bounds.

    Example:
        >>> import jax.numpy as jnp
        >>> ball = Ball("linf", 0.5, mask=jnp.array([True, False]))
        >>> ball.project(jnp.array([[0.8, 0.8]]), jnp.zeros((1, 2)))
        Array([[0.5, 0. ]], dtype=float32)
    """

    norm: Norm
    epsilon: float | Array
    scale: Array | None = None
    mask: Array | None = None
    coalition: Array | None = None
    low: Array | float | None = None
    high: Array | float | None = None
    event_dims: int = 1

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, ("l2", "linf"))
        check_number("epsilon", self.epsilon)
        if self.event_dims not in (1, 2):
            raise ValueError(f"event_dims={self.event_dims!r} is not allowed; give 1 or 2")
        for name in ("scale", "mask", "coalition"):
            value = getattr(self, name)
            if value is not None and not is_array(value):
                raise ValueError(f"{name} is a {type(value).__name__}; give a jax.Array")
        for name in ("mask", "coalition"):
            value = getattr(self, name)
            if value is not None and value.dtype != bool:
                raise ValueError(f"{name} has dtype {value.dtype}; give a boolean array")
        self._check_scale()
        self._check_box()

    def with_epsilon(self, epsilon: float | Array) -> Ball:
        """The same set with another radius."""
        return replace(self, epsilon=epsilon)

    def attackable(self, x: Array) -> Array:
        """1 where the adversary may act and 0 elsewhere, in x's shape ``[batch, *event]``."""
        allowed = jnp.ones_like(x)
        if self.mask is not None:
            allowed = allowed * _expanded("mask", self.mask, x)
        if self.coalition is not None:
            allowed = allowed * _expanded("coalition", self.coalition[..., None], x)
        return allowed

    def size(self, delta: Array) -> Array:
        """‖δ/s‖_p over the budget's dimensions: ``[batch, *event]`` to ``[batch, ...]``."""
        scaled = jnp.abs(delta / self._scale(delta))
        if self.norm == "linf":
            return scaled.max(self._dims)
        return jnp.sqrt(jnp.square(scaled).sum(self._dims))

    def project(self, delta: Array, x: Array) -> Array:
        """Euclidean projection of δ on the set around x; both ``[batch, *event]``, constants.

        Source: Boyd and Vandenberghe, Convex Optimization, section 8.1.
        """
        check_same_shape("delta", delta, "x", x)
        check_finite("delta", delta)
        delta = lax.stop_gradient(delta * self.attackable(x))
        low, high = self._faces(x)
        scale = self._scale(x)
        if self.norm == "linf":
            reach = self.epsilon * scale
            return jnp.clip(delta, jnp.maximum(low, -reach), jnp.minimum(high, reach))
        if self.scale is None and self.low is None and self.high is None:
            return project_sphere(self._flat(delta), self.epsilon).reshape(delta.shape)
        positive = jnp.where(self.epsilon > 0, self.epsilon, 1.0)
        rows = (self._flat(value) for value in (scale, low, high))
        inside = project_ellipsoid_in_box(self._flat(delta), positive, *rows)
        return jnp.where(self.epsilon > 0, inside.reshape(delta.shape), 0.0)

    def project_scaled(self, delta: Array, x: Array) -> Array:
        """argmin_z ‖(z - δ)/s‖₂ in the set around x: the projection that suits steepest steps.

        In an l2 ball with unequal scales, steepest steps and the Euclidean projection come to rest
        where s²g, not g, is normal to the ball; that is no maximum. Otherwise both projections
        agree.
        """
        if self.norm == "linf" or self.scale is None:
            return self.project(delta, x)
        scale = self._scale(x)
        low, high = self._faces(x)
        boxed = self.low is not None or self.high is not None
        sphere = replace(
            self,
            scale=None,
            low=low / scale if boxed else None,
            high=high / scale if boxed else None,
        )
        return sphere.project(delta / scale, jnp.zeros_like(x)) * scale

    def sample(self, x: Array, key: Array) -> Array:
        """δ uniform in the set around x, ``[batch, *event]``.

        An l2 ball that a valid box cuts is sampled uniformly without the box, then projected.
        """
        check_key(key)
        if self.norm == "linf":
            return self.from_uniform(jax.random.uniform(key, x.shape, x.dtype), x)
        first, second = jax.random.split(key)
        rows = (math.prod(x.shape[: -self.event_dims]),)
        noise = jax.random.normal(first, x.shape, x.dtype)
        return self.from_normal(noise, jax.random.uniform(second, rows, x.dtype), x)

    def from_uniform(self, uniform: Array, x: Array) -> Array:
        """The sample of an ``linf`` ball that numbers in [0, 1], ``[batch, *event]``, stand for."""
        reach = self.epsilon * self._scale(x)
        low, high = self._faces(x)
        low, high = jnp.maximum(low, -reach), jnp.minimum(high, reach)
        return (low + (high - low) * uniform) * self.attackable(x)

    def from_normal(self, noise: Array, uniform: Array, x: Array) -> Array:
        """The sample of an ``l2`` ball in a direction, at a share of the volume, ``[budgets]``."""
        allowed = self.attackable(x)
        direction = self._flat(unit(noise * allowed, self._dims))
        count = jnp.maximum(self._flat(allowed).sum(-1), 1.0)
        inside = direction * (uniform ** (1 / count))[:, None]
        return self.project(inside.reshape(x.shape) * self.epsilon * self._scale(x), x)

    def steepest(self, gradient: Array) -> Array:
        """argmax_d ⟨g, d⟩ subject to ‖d/s‖_p ≤ 1: s²g/‖sg‖₂ or s·sign(g); zero stays zero."""
        scale = self._scale(gradient)
        if self.norm == "linf":
            return scale * jnp.sign(gradient)
        return scale * unit(scale * gradient, self._dims)

    def diameter(self, x: Array) -> Array:
        """sup ‖δ - δ'‖₂ without the valid box, for each budget of x, ``[batch, ...]``."""
        reach = 2 * self.epsilon * self._scale(x) * self.attackable(x)
        if self.norm == "l2":
            return reach.max(self._dims)
        return jnp.sqrt(jnp.square(reach).sum(self._dims))

    def check(self, x: Array) -> None:
        """Raise ValueError unless x is a finite batch that this ball fits."""
        check_batch("x", x)
        if x.ndim <= self.event_dims:
            raise ValueError(
                f"x has shape {x.shape} but event_dims={self.event_dims}; "
                "give [batch, agents, features] or use event_dims=1"
            )
        self._scale(x), self._faces(x)
        allowed = self.attackable(x)
        if not is_traced(allowed) and not np.asarray(allowed).any():
            raise ValueError("mask and coalition leave no attackable feature; allow at least one")

    def _scale(self, x: Array) -> Array:
        return jnp.ones_like(x) if self.scale is None else _expanded("scale", self.scale, x)

    def _faces(self, x: Array) -> tuple[Array, Array]:
        low = self._face("low", -math.inf, x) - x
        high = self._face("high", math.inf, x) - x
        return jnp.minimum(low, 0.0), jnp.maximum(high, 0.0)

    def _face(self, name: str, default: float, x: Array) -> Array:
        value = getattr(self, name)
        return jnp.full_like(x, default) if value is None else _expanded(name, value, x)

    def _check_scale(self) -> None:
        if self.scale is None or is_traced(self.scale):
            return
        scale = np.asarray(self.scale)
        if not ((scale > 0) & np.isfinite(scale)).all():
            raise ValueError(
                f"scale holds {scale.min():g}; give positive finite values, and "
                "protect features with mask"
            )

    def _check_box(self) -> None:
        if is_traced(self.low) or is_traced(self.high):
            return
        low = np.asarray(-math.inf if self.low is None else self.low)
        high = np.asarray(math.inf if self.high is None else self.high)
        if np.isnan(low).any() or np.isnan(high).any():
            raise ValueError("low or high holds NaN; give numbers, or infinity for no bound")
        try:
            crossed = np.any(low > high)
        except ValueError:
            raise ValueError(
                f"low of shape {low.shape} and high of shape {high.shape} do not "
                "broadcast; give both the shape of one sample"
            ) from None
        if crossed:
            raise ValueError(f"low={self.low} exceeds high={self.high} somewhere; swap them")

    @property
    def _dims(self) -> tuple[int, ...]:
        return tuple(range(-self.event_dims, 0))

    def _flat(self, value: Array) -> Array:
        return value.reshape(-1, math.prod(value.shape[-self.event_dims :]))


def _expanded(name: str, value: Array | float, x: Array) -> Array:
    try:
        return jnp.broadcast_to(jnp.asarray(value, x.dtype), x.shape)
    except ValueError:
        raise ValueError(
            f"{name} of shape {jnp.shape(value)} does not fit x of shape {x.shape}; "
            "give a shape that broadcasts to one sample"
        ) from None
