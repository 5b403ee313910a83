"""Estimators of the directional derivative J v, and second directional derivatives."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from aajr._errors import ResolutionWarning
from aajr._shared import Estimator as Estimator
from aajr.jax._checks import check_array, check_choice, check_same_shape, is_traced
from aajr.jax._functions import Policy, length, over_rows, per_row, unit
from aajr.jax._inspection import inspect


def directional_derivative(
    policy: Policy, x: Array, v: Array, estimator: Estimator = "forward_difference"
) -> tuple[Array, Array]:
    r"""Output π(x) and J(x) v, differentiable in the parameters of the policy.

    ==================== ============================================== ==========
    estimator            formula                                        error
    ==================== ============================================== ==========
    forward_mode         :math:`J v` (``jax.jvp``)                      exact
    double_backward      :math:`\nabla_w (J^\top w)^\top v`             exact
    forward_difference   :math:`(\pi(x+h\hat v)-\pi(x))/h`              O(h)
    central_difference   :math:`(\pi(x+h\hat v)-\pi(x-h\hat v))/2h`     O(h²)
    secant               :math:`\pi(x+v)-\pi(x)`                        O(‖v‖²)
    ==================== ============================================== ==========

    Differences are taken along the unit vector v̂ and multiplied by ‖v‖. With the resolution
    r = u max(1, ‖x ⊙ v̂‖₂) of a row, h is 4√r (one-sided; 1.4e-3 in float32) or 2∛r (central);
    u is the machine epsilon of the coarsest precision in which the policy computes. The secant
    takes v as the whole displacement. The output of the central difference is the mean of its
    branches, which differs from π(x) by O(h²). The change of an output of -inf, a masked action, is
    zero.

    Args:
        policy: map from ``[batch, *event]`` to ``[batch, *output]``, independent between rows.
        x: points, ``[batch, *event]``.
        v: directions, ``[batch, *event]``; zero gives zero.
        estimator: name of the estimator.

    Returns:
        π(x) and J v, both ``[batch, *output]``.

    Raises:
        ValueError: unknown estimator, shapes or dtypes that differ, a policy that is random,
            keeps state or couples rows.

    Warns:
        ResolutionWarning: outside jit, if rounding explains half of the differences.

    Example:
        >>> import jax.numpy as jnp
        >>> x, v = jnp.array([[1.0, 2.0]]), jnp.array([[1.0, 0.0]])
        >>> directional_derivative(jnp.square, x, v, "forward_mode")[1]
        Array([[2., 0.]], dtype=float32)

    Source: Pearlmutter, Fast exact multiplication by the Hessian, 1994 (forward mode);
    Townsend, A new trick for calculating Jacobian vector products, 2017 (double backward).
    """
    check_choice("estimator", estimator, tuple(ESTIMATORS))
    check_array("x", x)
    check_array("v", v)
    check_same_shape("v", v, "x", x)
    if v.dtype != x.dtype:
        raise ValueError(f"v has dtype {v.dtype} but x has {x.dtype}; use v.astype(x.dtype)")
    return ESTIMATORS[estimator](policy, x, v, inspect(policy, x))


def _forward_mode(policy: Policy, x: Array, v: Array, _: float) -> tuple[Array, Array]:
    return jax.jvp(policy, (x,), (v,))


def _double_backward(policy: Policy, x: Array, v: Array, _: float) -> tuple[Array, Array]:
    output, pull = jax.vjp(policy, x)
    _, push = jax.vjp(lambda cotangent: pull(cotangent)[0], jnp.zeros_like(output))
    return output, push(v)[0]


def _forward_difference(policy: Policy, x: Array, v: Array, epsilon: float) -> tuple[Array, Array]:
    direction, resolution = _resolution(x, v, epsilon)
    h = 4 * jnp.sqrt(resolution)
    near, far = jnp.split(policy(jnp.concatenate([x, x + h * direction])), 2)
    change = difference(near, far, epsilon)
    return near, change * over_rows(length(v, per_row(v)) / h, near)


def _central_difference(policy: Policy, x: Array, v: Array, epsilon: float) -> tuple[Array, Array]:
    direction, resolution = _resolution(x, v, epsilon)
    h = 2 * jnp.cbrt(resolution)
    back, ahead = jnp.split(policy(jnp.concatenate([x - h * direction, x + h * direction])), 2)
    change = difference(back, ahead, epsilon)
    return (back + ahead) / 2, change * over_rows(length(v, per_row(v)) / (2 * h), back)


def _secant(policy: Policy, x: Array, v: Array, epsilon: float) -> tuple[Array, Array]:
    near, far = jnp.split(policy(jnp.concatenate([x, x + v])), 2)
    return near, difference(near, far, epsilon)


ESTIMATORS: dict[str, Callable[[Policy, Array, Array, float], tuple[Array, Array]]] = {
    "forward_mode": _forward_mode,
    "double_backward": _double_backward,
    "forward_difference": _forward_difference,
    "central_difference": _central_difference,
    "secant": _secant,
}


def directional_curvature(policy: Policy, x: Array, v: Array) -> tuple[Array, Array, Array]:
    r"""π(x), J(x) v and the second-order term :math:`D^2\pi(x)[v,v]`, all exact.

    .. math:: \pi(x+tv) = \pi(x) + t\,Jv + \tfrac12 t^2\,D^2\pi[v,v] + O(t^3)

    The curvature of a piecewise linear policy is zero almost everywhere; its kinks do not show.

    Args:
        policy: map from ``[batch, *event]`` to ``[batch, *output]``, independent between rows.
        x: points, ``[batch, *event]``.
        v: directions, ``[batch, *event]``.

    Returns:
        Three arrays in the shape of the output.

    Raises:
        ValueError: shapes that differ.

    Example:
        >>> import jax.numpy as jnp
        >>> x, v = jnp.array([[2.0]]), jnp.array([[3.0]])
        >>> [value.item() for value in directional_curvature(lambda x: x**3, x, v)]
        [8.0, 36.0, 108.0]

    Source: Bettencourt, Johnson and Duvenaud, Taylor-mode automatic differentiation, 2019, for
    nested forward mode and its cost.
    """
    check_array("x", x)
    check_array("v", v)
    check_same_shape("v", v, "x", x)

    def along(point: Array) -> tuple[Array, Array]:
        return jax.jvp(policy, (point,), (v,))

    (output, first), (_, second) = jax.jvp(along, (x,), (v,))
    return output, first, second


def difference(near: Array, far: Array, epsilon: float) -> Array:
    """``far - near``, 0 where an action is masked by -inf.

    Warns:
        ResolutionWarning: outside jit, if rounding by ``epsilon`` explains half of the change.
    """
    change = jnp.where(jnp.isneginf(near), 0.0, far - near)
    if not is_traced(change):
        _warn_if_unresolved(np.asarray(near, np.float64), np.asarray(change, np.float64), epsilon)
    return change


def _warn_if_unresolved(near: np.ndarray, change: np.ndarray, epsilon: float) -> None:
    rounding = epsilon * float(np.linalg.norm(near[np.isfinite(near)]))
    if 0 < float(np.linalg.norm(change)) < 2 * rounding:
        warnings.warn(
            "a difference of the policy's outputs is mostly rounding (machine epsilon "
            f"{epsilon:.1g}); use estimator='forward_mode', or compute the policy in a finer dtype",
            ResolutionWarning,
            stacklevel=6,
        )


def _resolution(x: Array, v: Array, epsilon: float) -> tuple[Array, Array]:
    """v̂ and r; r keeps dimensions of one, so that it broadcasts."""
    dims = per_row(x)
    direction = unit(v, dims)
    return direction, epsilon * jnp.maximum(length(x * direction, dims), 1.0)
