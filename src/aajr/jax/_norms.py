"""Norms of the whole Jacobian, for penalties that bound all directions."""

from __future__ import annotations

import jax
from jax import Array, lax

from aajr.jax._checks import check_array, check_count, check_key, check_mask
from aajr.jax._directional import Estimator, directional_derivative
from aajr.jax._functions import Policy, per_row, row_sum, unit, wide, with_constant_closure
from aajr.jax._inspection import inspect
from aajr.jax._metrics import Euclidean, Metric


def frobenius_squared(
    policy: Policy,
    x: Array,
    key: Array,
    *,
    metric: Metric | None = None,
    projections: int = 1,
    mask: Array | None = None,
) -> Array:
    r"""Unbiased estimate of ‖J‖²_F = tr(Jᵀ M J) by random output projections.

    .. math:: \|J\|_{F,M}^2 = \mathbb{E}_w \|J^\top w\|^2, \qquad w \sim \mathcal N(0, M).

    Args:
        policy: map from ``[batch, *event]`` to ``[batch, *output]``, independent between rows.
        x: points, ``[batch, *event]``.
        key: source of the projections.
        metric: M; Euclidean by default.
        projections: number of projections; the variance falls with it.
        mask: True for input features to count, broadcastable to the event; all by default.

    Returns:
        ``[batch]``, differentiable in the parameters.

    Raises:
        ValueError: no projection, a mask that does not fit, a policy that is random, keeps state
            or couples rows.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x, key = jnp.zeros((1, 3)), jax.random.key(0)
        >>> value = frobenius_squared(lambda x: 2 * x, x, key, projections=4000)
        >>> bool(abs(value - 12) < 0.5)
        True

    Source: Hoffman, Roberts and Yaida, Robust learning with Jacobian regularization, 2019.
    """
    check_count("projections", projections)
    check_key(key)
    check_array("x", x)
    inspect(policy, x)
    output = jax.eval_shape(policy, x)
    noise = jax.random.normal(key, (projections, *output.shape), output.dtype)
    return projected_squared(policy, x, noise, metric=metric, mask=mask)


def projected_squared(
    policy: Policy,
    x: Array,
    noise: Array,
    *,
    metric: Metric | None = None,
    mask: Array | None = None,
) -> Array:
    """Mean of ‖Jᵀ S w‖² over given projections w, ``[projections, batch, *output]``: ``[batch]``.

    :func:`frobenius_squared` with its draws as an argument.
    """
    check_mask("mask", mask, x)
    metric = metric or Euclidean()
    output, pull = jax.vjp(policy, x)

    def squared(w: Array) -> Array:
        pulled = wide(pull(metric.factor(output, w))[0])
        return row_sum(pulled * pulled if mask is None else pulled * pulled * mask)

    return jax.vmap(squared)(noise).mean(0)


def spectral_squared(
    policy: Policy,
    x: Array,
    key: Array,
    *,
    metric: Metric | None = None,
    iterations: int = 5,
    mask: Array | None = None,
    estimator: Estimator = "double_backward",
) -> Array:
    r"""‖J‖₂² in the metric M by power iteration on Jᵀ M J; a lower bound that converges to it.

    Args:
        policy: map from ``[batch, *event]`` to ``[batch, *output]``, independent between rows.
        x: points, ``[batch, *event]``.
        key: source of the first direction.
        metric: M; Euclidean by default.
        iterations: power iterations.
        mask: True for input features to count, broadcastable to the event; all by default.
        estimator: estimator of J v.

    Returns:
        ``[batch]``, differentiable in the parameters with the top direction held constant.

    Raises:
        ValueError: no iteration, a mask that does not fit, an unknown estimator.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> weight = jnp.array([[3.0, 0.0], [0.0, 1.0]])
        >>> x, key = jnp.zeros((1, 2)), jax.random.key(0)
        >>> spectral_squared(lambda x: x @ weight, x, key, iterations=20).round()
        Array([9.], dtype=float32)

    Source: Yoshida and Miyato, Spectral norm regularization, 2017.
    """
    check_key(key)
    check_array("x", x)
    start = jax.random.normal(key, x.shape, x.dtype)
    return iterated_squared(
        policy, x, start, metric=metric, iterations=iterations, mask=mask, estimator=estimator
    )


def iterated_squared(
    policy: Policy,
    x: Array,
    start: Array,
    *,
    metric: Metric | None = None,
    iterations: int = 5,
    mask: Array | None = None,
    estimator: Estimator = "double_backward",
) -> Array:
    """:func:`spectral_squared` from a given first direction, ``[batch, *event]``."""
    check_count("iterations", iterations)
    check_mask("mask", mask, x)
    metric = metric or Euclidean()

    def advance(v: Array) -> Array:
        output, product = directional_derivative(policy, x, v, estimator)
        _, pull = jax.vjp(policy, x)
        return _unit(pull(metric.apply(output, product))[0], mask)

    constant = with_constant_closure(advance, start)
    v = lax.fori_loop(0, iterations, lambda _, v: constant(v), _unit(start, mask))
    output, product = directional_derivative(policy, x, v, estimator)
    return metric.squared_norm(output, product)


def _unit(v: Array, mask: Array | None) -> Array:
    return unit(v if mask is None else v * mask, per_row(v))
