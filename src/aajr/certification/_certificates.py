"""The certified numbers of an audit."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aajr.certification._bounds import Propagator
from aajr.certification._lipschitz import chain_lipschitz
from aajr.certification._radius import radius_within
from aajr.certification._region import euclidean_radius, unit_reach
from aajr.geometry import Ball


@dataclass(frozen=True, eq=False)
class Certificates:
    """Bounds over the whole ball, for all states.

    Attributes:
        change: upper bound of ‖π(x + δ) - π(x)‖₂, the least of the next three, ``[batch]``.
        change_crown: the bound from CROWN, intersected with IBP, ``[batch]``.
        change_ibp: the bound from IBP, ``[batch]``.
        change_lipschitz: the bound from the Lipschitz constant in the ball's scale, ``[batch]``.
        lipschitz: global Lipschitz constant on attackable features.
        lipschitz_all: global Lipschitz constant on all features.
        radius: radius within which no action can change, ``[batch]``; None without heads.
    """

    change: Tensor
    change_crown: Tensor
    change_ibp: Tensor
    change_lipschitz: Tensor
    lipschitz: float
    lipschitz_all: float
    radius: Tensor | None


def certify(
    propagator: Propagator, x: Tensor, ball: Ball, heads: tuple[int, ...], steps: int
) -> Certificates:
    """Compute all bounds around x; without heads there is no radius."""
    network = propagator.network
    output = network(network.rows(x))
    interval = Propagator(network, "ibp", propagator.batch_size)
    crown, ibp = (p.bounds(x, ball).farthest(output) for p in (propagator, interval))
    reach = unit_reach(ball, x)
    slope = chain_lipschitz(network.layers, reach)
    lipschitz = slope * euclidean_radius(ball, x)
    radius = radius_within(propagator, x, ball, heads, steps) if heads else None
    return Certificates(
        change=torch.stack([crown, ibp, lipschitz]).amin(0),
        change_crown=crown,
        change_ibp=ibp,
        change_lipschitz=lipschitz,
        lipschitz=chain_lipschitz(network.layers, (reach > 0).double()),
        lipschitz_all=chain_lipschitz(network.layers),
        radius=radius,
    )
