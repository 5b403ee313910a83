"""Sound bounds on a policy's output over a whole ball."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from aajr._checks import check_choice, check_count
from aajr.certification._linear import FlatConv
from aajr.certification._network import Network, read_network
from aajr.certification._region import Region, apply_rows, check_ball, region_around
from aajr.certification._rounding import interval_margins, relaxation_margins
from aajr.geometry import Ball

Method = Literal["crown", "ibp"]
_MEMORY = 256 * 2**20
MOST_MEMORY = 4 * 2**30
"""Bytes above which CROWN is not tried."""


@dataclass(frozen=True, eq=False)
class OutputBounds:
    """lower ≤ π(x + δ) ≤ upper for **every** δ of the ball.

    Attributes:
        lower: ``[batch, outputs]``.
        upper: ``[batch, outputs]``.
    """

    lower: Tensor
    upper: Tensor

    @property
    def width(self) -> Tensor:
        """``upper - lower``."""
        return self.upper - self.lower

    def farthest(self, output: Tensor) -> Tensor:
        """The largest ‖u - output‖₂ over the box of bounds, ``[batch]``."""
        return torch.maximum(self.upper - output, output - self.lower).norm(dim=1)


def certified_bounds(
    policy: Callable[[Tensor], Tensor],
    x: Tensor,
    ball: Ball,
    method: Method = "crown",
    batch_size: int | None = None,
) -> OutputBounds:
    r"""Bounds that hold for every δ in the ball, by bound propagation in float64.

    IBP sends boxes through the layers. CROWN propagates linear functions back through relaxations
    of the activations; its bounds are intersected with those of IBP, so they are never looser. Both
    are moved outwards by a bound on their rounding error, see the documentation. They hold for the
    function that the weights define; a float32 evaluation adds its own rounding.

    Args:
        policy: module of supported layers, see :func:`supported_network`.
        x: clean inputs, ``[batch, *event]``.
        ball: the threat set, with its scale, mask, coalition and valid box.
        method: ``crown``, or the cheaper and looser ``ibp``.
        batch_size: rows per batch; by default as many as fit 256 MiB.

    Returns:
        Bounds in float64, in x's order.

    Raises:
        ImportError: without the extra ``certify``.
        UnsupportedLayersError: a layer that is not covered.
        ValueError: NaN, shapes that do not fit, values too large for float64, a network that is
            too wide for CROWN.

    Example:
        >>> policy = nn.Linear(2, 1, bias=False)
        >>> _ = policy.weight.data.copy_(torch.tensor([[1.0, -2.0]]))
        >>> bounds = certified_bounds(policy, torch.zeros(1, 2), Ball("linf", 0.5))
        >>> bounds.lower.round(decimals=6), bounds.upper.round(decimals=6)
        (tensor([[-1.5000]], dtype=torch.float64), tensor([[1.5000]], dtype=torch.float64))

    Source: Zhang et al., Efficient neural network robustness certification with general activation
    functions, 2018, https://arxiv.org/abs/1811.00866 (CROWN); Gowal et al., On the effectiveness
    of interval bound propagation, 2018, https://arxiv.org/abs/1810.12715 (IBP).
    """
    check_ball(ball, x)
    propagator = Propagator(read_network(policy, x), method, batch_size)
    return propagator.bounds(x, ball)


class Propagator:
    """Bound propagation through one network, in batches that fit memory.

    Args:
        network: the network.
        method: ``crown`` or ``ibp``.
        batch_size: rows per batch; by default as many as fit 256 MiB.
    """

    def __init__(
        self, network: Network, method: Method = "crown", batch_size: int | None = None
    ) -> None:
        check_choice("method", method, ("crown", "ibp"))
        if batch_size is not None:
            check_count("batch_size", batch_size)
        self.network = network
        self.method = method
        needed = bytes_per_row(network.layers)
        if method == "crown" and needed > MOST_MEMORY:
            raise ValueError(
                f"CROWN would need about {needed / 2**30:.0f} GiB for one state of this network; "
                "use method='ibp'"
            )
        self.batch_size = batch_size or max(1, _MEMORY // needed)
        self._bound = _bound_model(network.layers)

    def bounds(self, x: Tensor, ball: Ball, epsilon: Tensor | None = None) -> OutputBounds:
        """Bounds on every output; ``epsilon`` ``[batch]`` replaces the ball's."""
        return self.forms(x, ball, None, epsilon)

    @torch.no_grad()
    def forms(
        self, x: Tensor, ball: Ball, forms: Tensor | None, epsilon: Tensor | None = None
    ) -> OutputBounds:
        """Bounds on C π(x + δ) for linear forms C, ``[batch, forms, outputs]``; for None, C = I.

        Bounds on a difference of outputs as one form are tighter than a difference of bounds.
        """
        self.network.rows(x)
        x = x.detach().double()
        radius = x.new_full((len(x),), ball.epsilon) if epsilon is None else epsilon.double()
        region = region_around(ball, x, radius)
        lower, upper = [], []
        for start in range(0, len(x), self.batch_size):
            part = slice(start, start + self.batch_size)
            chosen = None if forms is None else forms[part].double()
            least, greatest = self._chunk(region.rows(part), chosen)
            lower.append(least)
            upper.append(greatest)
        result = OutputBounds(torch.cat(lower), torch.cat(upper))
        if not bool((result.lower.isfinite() & result.upper.isfinite()).all()):
            raise ValueError(
                "the bounds hold NaN or infinite values: the network's values overflow float64; "
                "rescale its inputs or weights"
            )
        return result

    def _chunk(self, region: Region, forms: Tensor | None) -> tuple[Tensor, Tensor]:
        size = self._bound.propagate_size(region.size(-1))
        if forms is None:
            forms = torch.eye(size, dtype=region.dtype, device=region.device)
            forms = forms.expand(len(region), size, size)
        magnitude = torch.maximum(region.lower.abs(), region.upper.abs())
        lower, upper = self._interval(region, forms, magnitude)
        if self.method == "crown":
            least, greatest = self._crown(region, forms, magnitude)
            lower, upper = torch.maximum(lower, least), torch.minimum(upper, greatest)
        return lower, upper

    def _interval(self, region: Region, forms: Tensor, magnitude: Tensor) -> tuple[Tensor, Tensor]:
        box = self._bound.ibp(region)
        positive, negative = forms.clamp_min(0), forms.clamp_max(0)
        lower = apply_rows(positive, box.lower) + apply_rows(negative, box.upper)
        upper = apply_rows(positive, box.upper) + apply_rows(negative, box.lower)
        margin = _margin(forms, interval_margins(self.network.layers, magnitude))
        return lower - margin, upper + margin

    def _crown(self, region: Region, forms: Tensor, magnitude: Tensor) -> tuple[Tensor, Tensor]:
        from bound_propagation import LinearBounds

        start = (forms, forms.new_zeros(forms.shape[:2]))
        try:
            self._bound.crown_relax(region)
            bounds = self._bound.crown_backward(LinearBounds(region, start, start), False)
        finally:
            self._bound.clear_relaxation()
        lower, upper = region.concretize(bounds)
        margin = _margin(forms, relaxation_margins(self.network.layers, magnitude))
        return lower - margin, upper + margin


def _bound_model(layers: nn.Sequential) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*torch.jit.script.*")
            from aajr.certification._relaxations import bound_model
    except ImportError as error:
        raise ImportError(
            "certified bounds need the extra 'certify' (bound-propagation, GPL-3.0): "
            "pip install 'aajr[certify]'"
        ) from error
    return bound_model(layers)


def bytes_per_row(layers: nn.Sequential) -> int:
    """Approximate memory of CROWN per state: eight float64 matrices of the widest layer squared."""
    matrices = (layer for layer in layers if isinstance(layer, nn.Linear | FlatConv))
    widest = max((max(m.in_features, m.out_features) for m in matrices), default=64)
    return 8 * 8 * widest**2


def _margin(forms: Tensor, error: Tensor) -> Tensor:
    """Twice the error: half for the bound, half for a forward pass that is compared with it."""
    error = error + torch.finfo(error.dtype).tiny
    return 2 * (1 + 1e-12) * apply_rows(forms.abs(), error)
