"""Numbers that tell whether alignment can matter for a policy."""

from __future__ import annotations

import torch
from torch import Tensor

from aajr._modes import Policy, evaluating
from aajr.geometry import Euclidean, Metric
from aajr.jacobian import directional_derivative, frobenius_squared, spectral_squared
from aajr.trajectory import Trajectory


def diagnose(
    policy: Policy,
    trajectory: Trajectory,
    generator: torch.Generator,
    *,
    metric: Metric | None = None,
    projections: int = 8,
    mask: Tensor | None = None,
) -> dict[str, float]:
    """Whether alignment can matter here: how much of the Jacobian lies along the attack.

    Args:
        policy: map from ``[batch, *event]`` to ``[batch, *output]``.
        trajectory: what the adversary did; the Jacobian is taken at the last point where the
            adversary took a gradient.
        generator: source of the random projections.
        metric: geometry of the output; Euclidean by default.
        projections: random projections for ‖J‖²_F.
        mask: input features to count in ‖J‖_F and ‖J‖₂; all by default.

    Returns:
        Means over the batch: ``aligned`` ‖J v‖² for v = g/‖g‖; ``frobenius`` ‖J‖²_F;
        ``spectral`` ‖J‖₂²; ``alignment`` the ratio ‖Jv‖²/‖J‖²_F; ``stable_rank`` ‖J‖²_F/‖J‖₂². At a
        stable rank below about 2 a directional penalty cannot differ much from a global one. ‖J‖₂
        comes from power iteration, a lower bound, so the stable rank may be too large.

    Example:
        >>> import torch, aajr
        >>> g = torch.Generator().manual_seed(0)
        >>> policy = lambda x: x * torch.tensor([2.0, 1.0])
        >>> objective = lambda output, reference: output[:, 0]
        >>> attack = aajr.ProjectedGradientAscent(aajr.Ball("l2", 0.1), objective)
        >>> result = diagnose(policy, attack(policy, torch.ones(64, 2), g), g)
        >>> round(result["aligned"]), round(result["spectral"])
        (4, 4)
    """
    metric = metric or Euclidean()
    x, v = trajectory.points[-2], trajectory.unit(trajectory.gradients[-1])
    with evaluating(policy):
        output, product = directional_derivative(policy, x, v)
        aligned = metric.squared_norm(output, product).detach().mean()
        frobenius = frobenius_squared(
            policy, x, generator, metric=metric, projections=projections, mask=mask
        )
        spectral = spectral_squared(policy, x, generator, metric=metric, mask=mask)
    frobenius, spectral = frobenius.detach().mean(), spectral.detach().mean()
    tiny = torch.finfo(x.dtype).tiny
    return {
        "aligned": float(aligned),
        "frobenius": float(frobenius),
        "spectral": float(spectral),
        "alignment": float(aligned / frobenius.clamp_min(tiny)),
        "stable_rank": float(frobenius / spectral.clamp_min(tiny)),
    }
