"""Masked gradients: whether the result of an attack by gradients can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aajr._checks import check_number, check_same_shape
from aajr._modes import Policy, evaluating
from aajr._vectors import length, unit
from aajr.adversaries._evaluation import losses_of_many
from aajr.trajectory import Objective, Trajectory

_EXCESS = 1.01
_PROBE = 0.01


@dataclass(frozen=True)
class MaskedGradients:
    """Evidence that the gradients of a policy are misleading, as shares of the samples.

    Attributes:
        zero_share: gradient exactly zero at every point the attack visited.
        beaten_share: the black-box attack gained over 1 % more than the gradient attack.
        misleading_share: a short step along some gradient lowered the objective.
        findings: one sentence for each share at or above the threshold; empty if the gradients
            can be trusted.
    """

    zero_share: float
    beaten_share: float
    misleading_share: float
    findings: tuple[str, ...]


@torch.no_grad()
def masked_gradients(
    policy: Policy,
    objective: Objective,
    gradient_attack: Trajectory,
    black_box_attack: Trajectory,
    threshold: float = 0.05,
) -> MaskedGradients:
    """Compare an attack by gradients with one without, at the same clean inputs.

    With a correct gradient g ≠ 0, a short enough step along g raises the objective. The length of
    the step tried is a hundredth of the greatest distance of the attack's points from x.

    Args:
        policy: the victim.
        objective: ℓ, what both attacks maximised.
        gradient_attack: trajectory of an attack by gradients, for instance
            :class:`aajr.AutoPGD`.
        black_box_attack: trajectory of an attack by queries, for instance :class:`aajr.Square`.
        threshold: smallest share of the samples that is reported as a finding.

    Returns:
        The shares and the findings.

    Raises:
        ValueError: the trajectories start from different inputs, a threshold outside (0, 1].

    Example:
        >>> import torch
        >>> from aajr import AutoPGD, Ball, Square
        >>> objective = lambda output, reference: output.sum(1)
        >>> mountain = lambda x: torch.where(x > 0.2, x + 1, -x)
        >>> ball, x, g = Ball("linf", 0.3), torch.zeros(8, 3), torch.Generator().manual_seed(0)
        >>> climbed = AutoPGD(ball, objective, random_start=False)(mountain, x, g)
        >>> searched = Square(ball, objective)(mountain, x, g)
        >>> report = masked_gradients(mountain, objective, climbed, searched)
        >>> report.beaten_share, report.zero_share
        (1.0, 0.0)

    Source: Athalye et al., Obfuscated gradients give a false sense of security, 2018,
    https://arxiv.org/abs/1802.00420; Carlini et al., On evaluating adversarial robustness, 2019,
    https://arxiv.org/abs/1902.06705.
    """
    check_number("threshold", threshold, exclusive=True, maximum=1.0)
    x = gradient_attack.origin
    check_same_shape("the black-box attack's x", black_box_attack.origin, "the gradient's x", x)
    if not torch.equal(black_box_attack.origin, x):
        raise ValueError("the attacks have different clean inputs; run both at the same x")
    reference = gradient_attack.reference
    with evaluating(policy):
        points = torch.stack([x, gradient_attack.worst, black_box_attack.worst])
        clean, gradient, black_box = losses_of_many(policy, objective, points, reference)
        misleading = _misleading(policy, objective, gradient_attack)
    gain, best = (gradient - clean).clamp_min(0), black_box - clean
    zero = (gradient_attack.gradients == 0).flatten(2).all(2).all(0)
    beaten = best > _EXCESS * gain + _rounding(torch.stack([clean, gradient, black_box])).amax(0)
    shares = tuple(float(rows.double().mean()) for rows in (zero, beaten, misleading))
    findings = tuple(
        f"{reason} on {share:.0%} of the samples"
        for share, reason in zip(shares, _REASONS, strict=True)
        if share >= threshold
    )
    return MaskedGradients(shares[0], shares[1], shares[2], findings)


_REASONS = (
    "the gradient is exactly zero",
    "an attack without gradients gains over 1 % more than the attack by gradients",
    "a short step along the gradient lowers the objective",
)


def _misleading(policy: Policy, objective: Objective, attack: Trajectory) -> Tensor:
    """Rows in which a short step along some gradient lowered the objective, ``[batch]``."""
    x, points = attack.origin, attack.points[:-1]
    dims = tuple(range(1, x.ndim))
    reach = torch.stack([length(point - x, dims) for point in attack.points]).amax(0)
    probes = torch.stack(
        [
            point + _PROBE * reach * unit(gradient, dims)
            for point, gradient in zip(points, attack.gradients, strict=True)
        ]
    )
    before = losses_of_many(policy, objective, points, attack.reference)
    after = losses_of_many(policy, objective, probes, attack.reference)
    return (after < before - _rounding(before)).any(0)


def _rounding(losses: Tensor) -> Tensor:
    return 64 * torch.finfo(losses.dtype).eps * losses.abs().clamp_min(1e-6)
