"""Estimators of the directional derivative J v, and second directional derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array

from aajr.jax._checks import check_choice, check_same_shape
from aajr.jax._functions import Policy, length, limits, over_rows, per_row, unit

Estimator = Literal[
    "forward_mode", "double_backward", "forward_difference", "central_difference", "secant"
]


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

    Differences are taken along the unit vector and multiplied by ‖v‖. With machine epsilon ε, h is
    4√ε (one-sided; 1.4e-3 in float32) or 2∛ε (central), times the root mean square of x where
    that exceeds 1. The secant takes v as the whole displacement. The output of the central
    difference is the mean of its branches, which differs from π(x) by O(h²).

    Args:
        policy: map from ``[batch, *event]`` to ``[batch, *output]``, independent between rows.
        x: points, ``[batch, *event]``.
        v: directions, ``[batch, *event]``; zero gives zero.
        estimator: name of the estimator.

    Returns:
        π(x) and J v, both ``[batch, *output]``.

    Raises:
        ValueError: unknown estimator, shapes or dtypes that differ.

    Example:
        >>> import jax.numpy as jnp
        >>> x, v = jnp.array([[1.0, 2.0]]), jnp.array([[1.0, 0.0]])
        >>> directional_derivative(jnp.square, x, v, "forward_mode")[1]
        Array([[2., 0.]], dtype=float32)

    Source: Pearlmutter, Fast exact multiplication by the Hessian, 1994 (forward mode);
    Townsend, A new trick for calculating Jacobian vector products, 2017 (double backward).
    """
    check_choice("estimator", estimator, tuple(ESTIMATORS))
    check_same_shape("v", v, "x", x)
    if v.dtype != x.dtype:
        raise ValueError(f"v has dtype {v.dtype} but x has {x.dtype}; use v.astype(x.dtype)")
    return ESTIMATORS[estimator](policy, x, v)


def _forward_mode(policy: Policy, x: Array, v: Array) -> tuple[Array, Array]:
    return jax.jvp(policy, (x,), (v,))


def _double_backward(policy: Policy, x: Array, v: Array) -> tuple[Array, Array]:
    output, pull = jax.vjp(policy, x)
    _, push = jax.vjp(lambda cotangent: pull(cotangent)[0], jnp.zeros_like(output))
    return output, push(v)[0]


def _forward_difference(policy: Policy, x: Array, v: Array) -> tuple[Array, Array]:
    norm, direction, h = _difference_step(x, v, 4 * float(limits(x).eps) ** (1 / 2))
    near, far = jnp.split(policy(jnp.concatenate([x, x + h * direction])), 2)
    return near, (far - near) * over_rows(norm / h, near)


def _central_difference(policy: Policy, x: Array, v: Array) -> tuple[Array, Array]:
    norm, direction, h = _difference_step(x, v, 2 * float(limits(x).eps) ** (1 / 3))
    back, ahead = jnp.split(policy(jnp.concatenate([x - h * direction, x + h * direction])), 2)
    return (back + ahead) / 2, (ahead - back) * over_rows(norm / (2 * h), back)


def _secant(policy: Policy, x: Array, v: Array) -> tuple[Array, Array]:
    near, far = jnp.split(policy(jnp.concatenate([x, x + v])), 2)
    return near, far - near


ESTIMATORS: dict[str, Callable[[Policy, Array, Array], tuple[Array, Array]]] = {
    "forward_mode": _forward_mode,
    "double_backward": _double_backward,
    "forward_difference": _forward_difference,
    "central_difference": _central_difference,
    "secant": _secant,
}


def directional_curvature(policy: Policy, x: Array, v: Array) -> tuple[Array, Array, Array]:
    r"""π(x), J(x) v and the second-order term :math:`D^2\pi(x)[v,v]`, all exact.

    .. math:: \pi(x+tv) = \pi(x) + t\,Jv + \tfrac12 t^2\,D^2\pi[v,v] + O(t^3)

    A piecewise linear policy has no curvature almost everywhere, which says nothing of its kinks.

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
    check_same_shape("v", v, "x", x)

    def along(point: Array) -> tuple[Array, Array]:
        return jax.jvp(policy, (point,), (v,))

    (output, first), (_, second) = jax.jvp(along, (x,), (v,))
    return output, first, second


def _difference_step(x: Array, v: Array, relative: float) -> tuple[Array, Array, Array]:
    dims = per_row(x)
    size = jnp.maximum(jnp.sqrt(jnp.square(x).mean(dims, keepdims=True)), 1.0)
    return length(v, dims), unit(v, dims), relative * size
