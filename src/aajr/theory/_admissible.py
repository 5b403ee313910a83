"""Membership in two classes: J bounded in all directions, or only along the attack."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from aajr._checks import check_choice, check_number
from aajr._modes import Policy, evaluating
from aajr._vectors import per_row, unit
from aajr.jacobian import directional_derivative
from aajr.trajectory import Trajectory


@dataclass(frozen=True, eq=False)
class Witness:
    """The point and direction with the largest sensitivity of a class.

    Attributes:
        sensitivity: ‖J v‖₂ there.
        point: x + δ, ``[*event]``.
        direction: v, a unit vector, ``[*event]``.
        sample: row of the batch.
        step: number k of the trajectory's point.
    """

    sensitivity: float
    point: Tensor
    direction: Tensor
    sample: int
    step: int


@dataclass(frozen=True, eq=False)
class Membership:
    """Whether a policy lies in Π_AAJR(γ) and Π_glob(γ) on the points of a trajectory.

    A witness above γ **disproves** membership. A witness below γ means that no point of the
    trajectory breaks the bound. This is measured and proves nothing about other points.

    Attributes:
        gamma: γ.
        aligned: largest ‖J(x + δ_k) v_k‖₂ over samples and points.
        spectral: largest ‖J(x + δ_k)‖₂ over the same points.
    """

    gamma: float
    aligned: Witness
    spectral: Witness

    @property
    def in_aligned(self) -> bool:
        """Whether no attack direction of the trajectory exceeds γ."""
        return self.aligned.sensitivity <= self.gamma

    @property
    def in_global(self) -> bool:
        """Whether no direction at the points of the trajectory exceeds γ."""
        return self.spectral.sensitivity <= self.gamma


@torch.no_grad()
def membership(
    policy: Policy,
    trajectory: Trajectory,
    gamma: float,
    direction: Literal["unit", "step"] = "unit",
) -> Membership:
    """Membership in Π_AAJR(γ) and Π_glob(γ) for given data and a given adversary, with witnesses.

    Args:
        policy: map from ``[batch, *event]`` to ``[batch, *output]``, independent between rows.
        trajectory: what the adversary did on the data.
        gamma: γ > 0, output units per input unit.
        direction: v_k, the gradient's direction (``unit``) or that of the step made (``step``).

    Returns:
        The two largest sensitivities with their witnesses. The spectral norm is exact, from dense
        Jacobians, which is practical up to a few thousand inputs.

    Raises:
        ValueError: γ ≤ 0, an unknown direction.

    Example:
        >>> import torch, aajr
        >>> policy = anisotropic_policy(1.0, 50.0)
        >>> first = lambda output, reference: output[:, 0]
        >>> attack = aajr.ProjectedGradientAscent(aajr.Ball("l2", 0.1), first)
        >>> found = membership(policy, attack(policy, torch.ones(8, 2), torch.Generator()), 1.0)
        >>> found.in_aligned, found.in_global, found.spectral.sensitivity
        (True, False, 50.0)
    """
    check_number("gamma", gamma, exclusive=True)
    check_choice("direction", direction, ("unit", "step"))
    points = trajectory.points[:-1]
    source = trajectory.gradients if direction == "unit" else trajectory.steps
    x = points.flatten(0, 1)
    v = unit(source.flatten(0, 1), per_row(x))
    with evaluating(policy):
        _, product = directional_derivative(policy, x, v, "forward_mode")
        norms, top = top_singular(policy, x)
    batch = points.shape[1]
    aligned = _witness(product.flatten(1).norm(dim=1), x, v, batch)
    return Membership(gamma, aligned, _witness(norms, x, top.reshape(x.shape), batch))


def top_singular(policy: Policy, x: Tensor, chunk: int = 256) -> tuple[Tensor, Tensor]:
    """‖J‖₂ and its right singular vector, exact from the dense Jacobian of every row.

    Args:
        policy: map from ``[batch, *event]`` to ``[batch, *output]``, independent between rows.
        x: points, ``[batch, *event]``.
        chunk: number of rows whose Jacobians are in memory at once.

    Returns:
        ``[batch]`` and ``[batch, features]``.
    """
    parts = [_top_singular(policy, part) for part in torch.split(x, chunk)]
    return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])


def _top_singular(policy: Policy, x: Tensor) -> tuple[Tensor, Tensor]:
    def row(value: Tensor) -> Tensor:
        return policy(value.unsqueeze(0)).flatten()

    jacobian: Tensor = torch.func.vmap(torch.func.jacrev(row))(x)
    _, values, right = torch.linalg.svd(jacobian.flatten(2), full_matrices=False)
    return values[:, 0], right[:, 0]


def _witness(norms: Tensor, x: Tensor, v: Tensor, batch: int) -> Witness:
    row = int(norms.argmax())
    return Witness(float(norms[row]), x[row], v[row], row % batch, row // batch)


def anisotropic_policy(gamma: float, other: float) -> Callable[[Tensor], Tensor]:
    """π(x) = diag(γ, M) x, policies which show that Π_AAJR is strictly larger than Π_glob.

    If the objective depends on the first output alone, ∇F = (±γ, 0)·ℓ', so v = (±1, 0) and
    ‖J v‖ = γ for every M, while ‖J‖₂ = max(γ, M).

    Args:
        gamma: γ, sensitivity of the output that the objective depends on.
        other: M, sensitivity of the other output.

    Returns:
        The policy ``[batch, 2]`` to ``[batch, 2]``.

    Example:
        >>> import torch
        >>> anisotropic_policy(1.0, 50.0)(torch.ones(1, 2))
        tensor([[ 1., 50.]])
    """
    check_number("gamma", gamma, exclusive=True)
    check_number("other", other)
    return lambda x: x * x.new_tensor([gamma, other])
