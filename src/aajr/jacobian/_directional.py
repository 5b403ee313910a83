"""Estimators of the directional derivative J v, in which both outputs stay attached to θ.

A one-sided difference with a detached clean branch has the right value and a wrong gradient, so
no estimator here detaches an output.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from aajr._checks import check_choice, check_same_shape
from aajr._modes import Policy
from aajr._shared import Estimator as Estimator
from aajr.jacobian._decomposed import decomposed
from aajr.jacobian._steps import difference_step, full_precision


def directional_derivative(
    policy: Policy, x: Tensor, v: Tensor, estimator: Estimator = "forward_difference"
) -> tuple[Tensor, Tensor]:
    r"""Output π(x) and J(x) v, differentiable in the parameters of the policy.

    ==================== ============================================== ==========
    estimator            formula                                        error
    ==================== ============================================== ==========
    forward_mode         :math:`J v` (dual numbers)                     exact
    double_backward      :math:`\nabla_w (J^\top w)^\top v`             exact
    forward_difference   :math:`(\pi(x+h\hat v)-\pi(x))/h`              O(h)
    central_difference   :math:`(\pi(x+h\hat v)-\pi(x-h\hat v))/2h`     O(h²)
    secant               :math:`\pi(x+v)-\pi(x)`                        O(‖v‖²)
    ==================== ============================================== ==========

    Differences are taken along the unit vector v̂ and multiplied by ‖v‖. With r = u max(1, ‖x ⊙ v̂‖),
    the resolution of x along v, h is 4√r (one-sided; 1.4e-3 in float32) or 2∛r (central). Features
    that v does not change have no influence on h. u is the machine epsilon of the coarsest
    precision in which the policy computes; autocast is off during the estimate. The secant uses v
    as the whole displacement. The output of the central difference is the mean of its branches,
    which differs from π(x) by O(h²). The exact estimators compute layer and instance normalisation
    from means and variances, because the derivatives of the fused kernels are wrong.

    Args:
        policy: map from ``[batch, *event]`` to ``[batch, *output]``, independent between rows.
        x: points, ``[batch, *event]``.
        v: directions, ``[batch, *event]``; zero gives zero.
        estimator: name of the estimator.

    Returns:
        π(x) and J v, both ``[batch, *output]``.

    Raises:
        ValueError: unknown estimator, shapes or dtypes that differ; with ``double_backward``, a
            policy detached from its input; with a difference, a policy that draws noise or keeps
            state.

    Warns:
        ResolutionWarning: a difference is mostly rounding; see :func:`difference_step`.

    Example:
        >>> import torch
        >>> x, v = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0]])
        >>> directional_derivative(torch.square, x, v, "forward_mode")[1]
        tensor([[2., 0.]])

    Source: Pearlmutter, Fast exact multiplication by the Hessian, 1994 (forward mode);
    Townsend, A new trick for calculating Jacobian vector products, 2017 (double backward).
    """
    check_choice("estimator", estimator, tuple(ESTIMATORS))
    check_same_shape("v", v, "x", x)
    if v.dtype != x.dtype:
        raise ValueError(f"v has dtype {v.dtype} but x has {x.dtype}; convert v with .to(x)")
    with full_precision(x):
        return ESTIMATORS[estimator](policy, x, v)


def _forward_mode(policy: Policy, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    result: tuple[Tensor, Tensor] = torch.func.jvp(decomposed(policy), (x,), (v,))  # type: ignore[assignment]
    return result


def _double_backward(policy: Policy, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        output = decomposed(policy)(x)
        cotangent = torch.zeros_like(output, requires_grad=True)
        pulled = input_gradient(output, x, cotangent, create_graph=True)
        if not pulled.requires_grad:  # a piecewise constant policy: J = 0
            return output, torch.zeros_like(output)
        (product,) = torch.autograd.grad(pulled, cotangent, v, create_graph=True)
    return output, product


def _forward_difference(policy: Policy, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    step = difference_step(policy, x, v, order=1)
    near, far = policy(torch.cat([x, x + step.displacement])).chunk(2)
    return near, step.slope(near, far)


def _central_difference(policy: Policy, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    step = difference_step(policy, x, v, order=2)
    back, ahead = policy(torch.cat([x - step.displacement, x + step.displacement])).chunk(2)
    return (back + ahead) / 2, step.slope(back, ahead) / 2


def _secant(policy: Policy, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    near, far = policy(torch.cat([x, x + v])).chunk(2)
    return near, far - near


ESTIMATORS: dict[str, Callable[[Policy, Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "forward_mode": _forward_mode,
    "double_backward": _double_backward,
    "forward_difference": _forward_difference,
    "central_difference": _central_difference,
    "secant": _secant,
}


def input_gradient(
    output: Tensor,
    x: Tensor,
    cotangent: Tensor,
    *,
    create_graph: bool = False,
    retain_graph: bool = False,
) -> Tensor:
    """The vector-Jacobian product Jᵀ w, in the shape of x.

    Args:
        output: π(x), ``[batch, *output]``, computed from ``x`` with autograd on.
        x: inputs that require a gradient, ``[batch, *event]``.
        cotangent: w, ``[batch, *output]``.
        create_graph: whether the product can be differentiated further.
        retain_graph: whether ``output`` can be differentiated again.

    Raises:
        ValueError: the output does not depend on x through autograd.

    Example:
        >>> x = torch.tensor([[1.0, 2.0]], requires_grad=True)
        >>> input_gradient(x.square(), x, torch.ones(1, 2))
        tensor([[2., 4.]])
    """
    gradient = None
    if output.requires_grad:
        (gradient,) = torch.autograd.grad(
            output,
            x,
            cotangent,
            create_graph=create_graph,
            retain_graph=create_graph or retain_graph,
            allow_unused=True,
        )
    if gradient is None:
        raise ValueError(
            "the output does not depend on the input through autograd; remove .detach(), "
            "torch.no_grad() and non-differentiable steps from the policy and the objective"
        )
    return gradient
