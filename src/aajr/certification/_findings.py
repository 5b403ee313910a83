"""Warnings about an audit's numbers: masked gradients, and an ε in another unit."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aajr.certification._attacks import AttackResult
from aajr.certification._quantities import Finding
from aajr.geometry import Ball

SHARE = 0.05
"""Masked gradients are reported if they occur on at least this share of the states."""
_EXCESS = 1.01


class EpsilonUnitWarning(UserWarning):
    """ε exceeds the range of the data, so it may be in another unit."""


@dataclass(frozen=True)
class GradientStatus:
    """Whether the results of gradient attacks on this policy can be trusted.

    Attributes:
        findings: reasons not to trust them; empty if there are none.
        zero_share: share of the states on which the attack's gradient was zero throughout.
        beaten_share: share of the states on which an attack without gradients gained over 1 % more.
        note: text shown instead of the numbers; empty if they can be trusted.
    """

    findings: tuple[Finding, ...]
    zero_share: float | None
    beaten_share: float | None
    note: str


def cut_off() -> GradientStatus:
    """The status of a policy through which autograd cannot differentiate."""
    text = (
        "Autograd finds no path from the input to the output (.detach(), torch.no_grad() or a step "
        "without a gradient), so gradient attacks could not run. Remove what stops the gradient, "
        "or use only the numbers of the black-box attacks."
    )
    return GradientStatus((Finding("gradient_cut_off", text),), None, None, "not available")


def gradient_status(gradient: AttackResult, without: tuple[AttackResult, ...]) -> GradientStatus:
    """The status of the gradient attack, from a comparison with attacks without gradients."""
    best = torch.stack([found.gain for found in without]).amax(0)
    smallest = 1e3 * torch.finfo(best.dtype).eps * best.abs().amax()
    beaten = best > _EXCESS * gradient.gain.clamp_min(0) + smallest
    zero_share, beaten_share = (
        float(gradient.zero_gradient.double().mean()),
        float(beaten.double().mean()),
    )
    findings = []
    if zero_share >= SHARE:
        findings.append(
            Finding(
                "zero_gradients",
                f"The attack's gradient is exactly zero on {zero_share:.0%} of the states (masked "
                "gradients, for instance by rounding, a step function or saturation). That the "
                "gradient attack finds little there proves nothing.",
            )
        )
    if beaten_share >= SHARE:
        findings.append(
            Finding(
                "black_box_beats_gradient",
                f"An attack without gradients gains over 1 % more than the gradient attack on "
                f"{beaten_share:.0%} of the states: the gradients mislead (masked gradients), or "
                "the gradient attack is too weak; raise its steps and restarts and look again.",
            )
        )
    note = "not to be trusted" if findings else ""
    return GradientStatus(tuple(findings), zero_share, beaten_share, note)


def epsilon_finding(ball: Ball, x: Tensor, unit: str) -> Finding | None:
    """A finding if ε exceeds the range of most attackable features that vary over the states."""
    allowed = ball.attackable(x).flatten(1).amax(0) > 0
    rows = x.flatten(1)
    spread = rows.amax(0) - rows.amin(0)
    scale = torch.ones_like(x) if ball.scale is None else ball.scale.to(x).expand_as(x)
    reach = ball.epsilon * scale.flatten(1).amax(0)
    varying = allowed & (spread > 0)
    if not bool(varying.any()) or (reach > spread)[varying].double().mean() <= 0.5:
        return None
    text = (
        f"ε reaches {float(reach[varying].median()):.4g} {unit} (median over the attackable "
        f"features), but these features themselves range over only "
        f"{float(spread[varying].median()):.4g} in the states. ε may be in another unit than the "
        "data; rescale it, or give the ball a scale."
    )
    return Finding("epsilon_exceeds_range", text)
