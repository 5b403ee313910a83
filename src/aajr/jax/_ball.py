"""The threat set Δ = {δ : ‖δ/s‖_p ≤ ε}, masked and boxed."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from aajr import _shared
from aajr._errors import ResolutionWarning
from aajr.jax._checks import check_batch, check_finite, check_key, check_same_shape, is_traced
from aajr.jax._functions import limits, per_row, unit, wide
from aajr.jax._projection import project_ellipsoid_in_box, project_sphere
from aajr.jax._pytree import pytree
from aajr.jax._rounding import moved, rounded_down, towards_zero


@pytree("epsilon", "scale", "mask", "coalition", "low", "high")
@_shared.documented
@dataclass(frozen=True, eq=False)
class Ball(_shared.Ball["float | Array", Array]):
    """Images are ``[batch, height, width, channels]``.

    A pytree: ε and the arrays may be traced, norm and ``event_dims`` are static.

    Example:
        >>> import jax.numpy as jnp
        >>> ball = Ball("linf", 0.5, mask=jnp.array([True, False]))
        >>> ball.project(jnp.array([[0.8, 0.8]]), jnp.zeros((1, 2)))
        Array([[0.5, 0. ]], dtype=float32)
    """

    _arrays = (Array, np.ndarray)
    _wanted = "jax.Array"

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
        scaled = jnp.abs(wide(delta) / self._scale(delta))
        if self.norm == "linf":
            return scaled.max(self._dims)
        return jnp.sqrt(jnp.square(scaled).sum(self._dims))

    def perturbed(self, x: Array, delta: Array) -> Array:
        """x + δ rounded towards x, so that the rounded point stays in the ball and the box."""
        point = moved(x, delta)
        unboxed = self.low is None and self.high is None
        if unboxed or x.dtype != wide(x).dtype:  # δ is in the box already
            return point
        low, high = self._face("low", -math.inf, x), self._face("high", math.inf, x)
        return jnp.clip(point, jnp.minimum(low, x), jnp.maximum(high, x))

    def holds(self, point: Array, x: Array) -> Array:
        """Whether a point is in the set around x, up to rounding, ``[batch]``."""
        delta = wide(point) - wide(x)
        rounding = 4 * float(limits(x).eps) * (jnp.abs(wide(x)) + jnp.abs(delta))
        low, high = self._faces(x)
        allowed = (low - rounding <= delta) & (delta <= high + rounding)
        allowed &= (self.attackable(x) > 0) | (jnp.abs(delta) <= rounding)
        # another order of operations may round differently
        near = self.size(delta) <= (1 + 1e-3) * self.epsilon + self.size(rounding)
        return allowed.all(per_row(allowed)) & near.all(per_row(near))

    def project(self, delta: Array, x: Array) -> Array:
        """Euclidean projection of δ on the set around x, both ``[batch, *event]``; a constant.

        Source: Boyd and Vandenberghe, Convex Optimization, section 8.1.
        """
        check_same_shape("delta", delta, "x", x)
        self._check_event(x)
        check_finite("delta", delta)
        delta = wide(lax.stop_gradient(delta * self.attackable(x)))
        return towards_zero(self._projected(delta, x), x.dtype)

    def _projected(self, delta: Array, x: Array) -> Array:
        low, high = self._faces(x)
        if self.norm == "linf":
            reach = self._reach(x)
            return jnp.clip(delta, jnp.maximum(low, -reach), jnp.minimum(high, reach))
        epsilon = rounded_down(self.epsilon, delta.dtype)
        if self.scale is None and self.low is None and self.high is None:
            return project_sphere(self._flat(delta), epsilon).reshape(delta.shape)
        positive = jnp.where(epsilon > 0, epsilon, 1.0)
        rows = (self._flat(value) for value in (self._scale(x), low, high))
        inside = project_ellipsoid_in_box(self._flat(delta), positive, *rows)
        return jnp.where(epsilon > 0, inside.reshape(delta.shape), 0.0)

    def project_scaled(self, delta: Array, x: Array) -> Array:
        """argmin_z ‖(z - δ)/s‖₂ in the set around x: the projection that suits steepest steps.

        In an l2 ball with unequal scales, steepest steps with the Euclidean projection converge to
        a point where s²g, not g, is normal to the ball, which is not a maximum. In other balls the
        two projections agree.
        """
        if self.norm == "linf" or self.scale is None:
            return self.project(delta, x)
        scale, delta = self._scale(x), wide(delta)
        low, high = self._faces(x)
        boxed = self.low is not None or self.high is not None
        sphere = replace(
            self,
            scale=None,
            low=low / scale if boxed else None,
            high=high / scale if boxed else None,
        )
        inside = sphere.project(delta / scale, jnp.zeros_like(delta)) * scale
        return towards_zero(inside, x.dtype)

    def sample(self, x: Array, key: Array) -> Array:
        """δ uniform in the set around x, ``[batch, *event]``.

        An l2 ball that a valid box cuts is sampled uniformly without the box, then projected.
        """
        check_key(key)
        self._check_event(x)
        if self.norm == "linf":
            return self.from_uniform(jax.random.uniform(key, x.shape, x.dtype), x)
        first, second = jax.random.split(key)
        rows = (math.prod(x.shape[: -self.budget_dims]),)
        noise = jax.random.normal(first, x.shape, x.dtype)
        return self.from_normal(noise, jax.random.uniform(second, rows, x.dtype), x)

    def from_uniform(self, uniform: Array, x: Array) -> Array:
        """Map numbers in [0, 1], ``[batch, *event]``, to a sample of an ``linf`` ball."""
        reach = self._reach(x)
        low, high = self._faces(x)
        low, high = jnp.maximum(low, -reach), jnp.minimum(high, reach)
        inside = jnp.clip(low + (high - low) * uniform, low, high)
        return towards_zero(inside * self.attackable(x), x.dtype)

    def from_normal(self, noise: Array, uniform: Array, x: Array) -> Array:
        """Map normal ``[batch, *event]`` and uniform ``[budgets]`` noise to an ``l2`` sample."""
        allowed = wide(self.attackable(x))
        direction = self._flat(unit(noise * allowed, self._dims))
        count = jnp.maximum(self._flat(allowed).sum(-1), 1.0)
        inside = direction * (uniform ** (1 / count))[:, None]
        return self.project(inside.reshape(x.shape) * self.epsilon * self._scale(x), x)

    def steepest(self, gradient: Array) -> Array:
        """argmax_d ⟨g, d⟩ subject to ‖d/s‖_p ≤ 1: s²g/‖sg‖₂ or s·sign(g); zero stays zero."""
        scale = self._scale(gradient)
        if self.norm == "linf":
            steepest = scale * jnp.sign(gradient)
        else:
            steepest = scale * unit(scale * gradient, self._dims)
        return steepest.astype(gradient.dtype)

    def diameter(self, x: Array) -> Array:
        """sup ‖δ - δ'‖₂ without the valid box, for each budget of x, ``[batch, ...]``."""
        self._check_event(x)
        reach = 2 * self.epsilon * self._scale(x) * self.attackable(x)
        if self.norm == "l2":
            return reach.max(self._dims)
        return jnp.sqrt(jnp.square(reach).sum(self._dims))

    def check(self, x: Array) -> None:
        """Raise ValueError unless x is a finite batch that this ball fits."""
        check_batch("x", x)
        self._check_event(x)
        self._scale(x), self._faces(x)
        allowed = self.attackable(x)
        if is_traced(allowed):
            return
        if not np.asarray(allowed).any():
            raise ValueError("mask and coalition leave no attackable feature; allow at least one")
        if not is_traced(x) and not is_traced(self.epsilon) and self.epsilon > 0:
            self._warn_if_unresolved(x, allowed)

    def _warn_if_unresolved(self, x: Array, allowed: Array) -> None:
        spacing = float(limits(x).eps) * jnp.abs(wide(x))
        coarse = (wide(allowed) > 0) & (self._reach(x) < 4 * spacing)
        if not is_traced(coarse) and coarse.any():
            size = float(jnp.abs(wide(x)).max(where=coarse, initial=0.0))
            warnings.warn(
                f"epsilon={float(self.epsilon):g} is less than four units in the last place of x, "
                f"which reaches {size:g} in {x.dtype}: points round towards x and may not move; "
                "scale or centre x, or use a finer dtype",
                ResolutionWarning,
                stacklevel=4,
            )

    def _scale(self, x: Array) -> Array:
        """s in x's shape, in float32 at least."""
        like = wide(x)
        return jnp.ones_like(like) if self.scale is None else _expanded("scale", self.scale, like)

    def _reach(self, x: Array) -> Array:
        """How far each feature may move in an ``linf`` ball: ε s, rounded down."""
        epsilon = rounded_down(self.epsilon, wide(x).dtype)
        reach = epsilon * self._scale(x)
        return reach if self.scale is None else jnp.nextafter(reach, jnp.zeros_like(reach))

    def _faces(self, x: Array) -> tuple[Array, Array]:
        """The box around x as bounds of δ, in float32 at least."""
        low = self._face("low", -math.inf, x) - wide(x)
        high = self._face("high", math.inf, x) - wide(x)
        return jnp.minimum(low, 0.0), jnp.maximum(high, 0.0)

    def _face(self, name: str, default: float, x: Array) -> Array:
        value, like = getattr(self, name), wide(x)
        return jnp.full_like(like, default) if value is None else _expanded(name, value, like)

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

    def _flat(self, value: Array) -> Array:
        return value.reshape(-1, math.prod(value.shape[-self.budget_dims :]))


def _expanded(name: str, value: Array | float, x: Array) -> Array:
    try:
        return jnp.broadcast_to(jnp.asarray(value, x.dtype), x.shape)
    except ValueError:
        raise ValueError(
            f"{name} of shape {jnp.shape(value)} does not fit x of shape {x.shape}; "
            "give a shape that broadcasts to one sample"
        ) from None
