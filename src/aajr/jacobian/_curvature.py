"""Second directional derivatives by nested forward mode."""

from __future__ import annotations

import torch
from torch import Tensor

from aajr._checks import check_same_shape
from aajr._modes import Policy
from aajr.jacobian._decomposed import decomposed
from aajr.jacobian._steps import full_precision


def directional_curvature(policy: Policy, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r"""π(x), J(x) v and the second-order term :math:`D^2\pi(x)[v,v]`, all exact.

    .. math:: \pi(x+tv) = \pi(x) + t\,Jv + \tfrac12 t^2\,D^2\pi[v,v] + O(t^3)

    A piecewise linear policy has curvature zero almost everywhere; its kinks are not measured.

    Args:
        policy: map from ``[batch, *event]`` to ``[batch, *output]``, independent between rows.
        x: points, ``[batch, *event]``.
        v: directions, ``[batch, *event]``.

    Returns:
        Three tensors in the shape of the output.

    Raises:
        ValueError: shapes that differ; an operation without forward-mode derivatives.

    Example:
        >>> import torch
        >>> x, v = torch.tensor([[2.0]]), torch.tensor([[3.0]])
        >>> directional_curvature(lambda x: x**3, x, v)
        (tensor([[8.]]), tensor([[36.]]), tensor([[108.]]))

    Source: Bettencourt, Johnson and Duvenaud, Taylor-mode automatic differentiation, 2019, on
    nested forward mode and its cost.
    """
    check_same_shape("v", v, "x", x)
    written_out = decomposed(policy)

    def along(point: Tensor) -> tuple[Tensor, Tensor]:
        result: tuple[Tensor, Tensor] = torch.func.jvp(written_out, (point,), (v,))  # type: ignore[assignment]
        return result

    try:
        with full_precision(x):
            values, slopes = torch.func.jvp(along, (x,), (v,))  # type: ignore[misc]
    except RuntimeError as error:
        if not any(word in str(error) for word in ("forward", "jvp")):
            raise
        raise ValueError(
            f"the policy uses an operation without forward-mode derivatives ({error}); use an "
            "eager kernel"
        ) from error
    (output, first), (_, second) = values, slopes
    return output, first, second
