"""Norms of the whole Jacobian, for penalties in all directions."""

from __future__ import annotations

import torch
from torch import Tensor

from aajr._checks import check_count, check_mask
from aajr._modes import Policy
from aajr._vectors import per_row, unit
from aajr.geometry import Euclidean, Metric
from aajr.jacobian._directional import Estimator, directional_derivative, input_gradient
from aajr.jacobian._steps import full_precision


def frobenius_squared(
    policy: Policy,
    x: Tensor,
    generator: torch.Generator,
    *,
    metric: Metric | None = None,
    projections: int = 1,
    mask: Tensor | None = None,
) -> Tensor:
    r"""Unbiased estimate of ‖J‖²_F = tr(Jᵀ M J) by random output projections.

    .. math:: \|J\|_{F,M}^2 = \mathbb{E}_w \|J^\top w\|^2, \qquad w \sim \mathcal N(0, M).

    Args:
        policy: map from ``[batch, *event]`` to ``[batch, *output]``, independent between rows.
        x: points, ``[batch, *event]``.
        generator: source of the projections.
        metric: M; Euclidean by default.
        projections: number of projections; the variance falls with it.
        mask: True for input features to count, broadcastable to the event; all by default.

    Returns:
        ``[batch]``, differentiable in the parameters.

    Example:
        >>> import torch
        >>> g = torch.Generator().manual_seed(0)
        >>> value = frobenius_squared(lambda x: 2 * x, torch.zeros(1, 3), g, projections=4000)
        >>> bool((value - 12).abs() < 0.5)
        True

    Source: Hoffman, Roberts and Yaida, Robust learning with Jacobian regularization, 2019.
    """
    check_count("projections", projections)
    check_mask("mask", mask, x)
    metric = metric or Euclidean()
    with torch.enable_grad(), full_precision(x):
        x = x.detach().requires_grad_()
        output = policy(x)
        total = torch.zeros(x.shape[0], dtype=x.dtype, device=x.device)
        for _ in range(projections):
            noise = torch.randn(
                output.shape, generator=generator, device=output.device, dtype=output.dtype
            )
            pulled = input_gradient(output, x, metric.factor(output, noise), create_graph=True)
            pulled = pulled if mask is None else pulled * mask.to(pulled)
            total = total + pulled.square().flatten(1).sum(1)
    return total / projections


def spectral_squared(
    policy: Policy,
    x: Tensor,
    generator: torch.Generator,
    *,
    metric: Metric | None = None,
    iterations: int = 5,
    mask: Tensor | None = None,
    estimator: Estimator = "double_backward",
) -> Tensor:
    r"""‖J‖₂² in the metric M by power iteration on Jᵀ M J, which approaches it from below.

    Args:
        policy: map from ``[batch, *event]`` to ``[batch, *output]``, independent between rows.
        x: points, ``[batch, *event]``.
        generator: source of the first direction.
        metric: M; Euclidean by default.
        iterations: power iterations.
        mask: True for input features to count, broadcastable to the event; all by default.
        estimator: estimator of J v.

    Returns:
        ``[batch]``, differentiable in the parameters with the top direction held constant.

    Example:
        >>> import torch
        >>> g = torch.Generator().manual_seed(0)
        >>> weight = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
        >>> spectral_squared(lambda x: x @ weight, torch.zeros(1, 2), g, iterations=20).round()
        tensor([9.])

    Source: Yoshida and Miyato, Spectral norm regularization, 2017.
    """
    check_count("iterations", iterations)
    check_mask("mask", mask, x)
    metric = metric or Euclidean()
    v = _unit(torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype), mask)
    for _ in range(iterations):
        v = _unit(_gram_product(policy, x, v, metric, estimator), mask)
    output, product = directional_derivative(policy, x, v, estimator)
    return metric.squared_norm(output, product)


def _gram_product(
    policy: Policy, x: Tensor, v: Tensor, metric: Metric, estimator: Estimator
) -> Tensor:
    with torch.enable_grad(), full_precision(x):
        output, product = directional_derivative(policy, x, v, estimator)
        cotangent = metric.apply(output, product).detach()
        x = x.detach().requires_grad_()
        return input_gradient(policy(x), x, cotangent).detach()


def _unit(v: Tensor, mask: Tensor | None) -> Tensor:
    return unit(v if mask is None else v * mask.to(v), per_row(v))
