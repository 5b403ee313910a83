"""Sensitivities at the attack's points, all from one dense Jacobian per state."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aajr._modes import Policy, evaluating
from aajr._seeds import derive
from aajr._vectors import unit
from aajr.certification._attacks import AttackResult, Attacks


@dataclass(frozen=True, eq=False)
class Sensitivities:
    """Norms in output units per input unit, each ``[batch]``.

    Attributes:
        random: root mean square of ‖J r‖₂ over random unit r on attackable features.
        aligned: ‖J v‖₂ along the attack direction v = ∇F/‖∇F‖₂; NaN where ∇F is zero.
        spectral: ‖J‖₂ on attackable features.
        spectral_all: ‖J‖₂ on all features.
    """

    random: Tensor
    aligned: Tensor
    spectral: Tensor
    spectral_all: Tensor


def depends_on_input(policy: Policy, x: Tensor) -> bool:
    """Whether autograd sees any path from the input to the output."""
    with torch.enable_grad(), evaluating(policy):
        point = x[:1].detach().requires_grad_()
        output = policy(point)
        if not output.requires_grad:
            return False
        (gradient,) = torch.autograd.grad(output.sum(), point, allow_unused=True)
    return gradient is not None


def sensitivities(attacks: Attacks, gradient_attack: AttackResult) -> Sensitivities:
    """Sensitivities at the worst points that the gradient attack found."""
    worst = gradient_attack.worst
    allowed = attacks.ball.attackable(worst).flatten(1)
    generator = torch.Generator(device=worst.device).manual_seed(derive(attacks.seed, "directions"))
    with torch.enable_grad(), evaluating(attacks.policy):
        point = worst.detach().requires_grad_()
        output = attacks.policy(point)
        loss = attacks.objective(output, gradient_attack.reference)
        (gradient,) = torch.autograd.grad(loss.sum(), point, retain_graph=True)
        jacobian = _jacobian(output, point)
    v = unit(gradient.flatten(1) * allowed, (1,))
    aligned = (jacobian @ v.unsqueeze(-1)).flatten(1).norm(dim=1)
    shape = (*allowed.shape, attacks.budget.random_directions)
    noise = torch.randn(shape, generator=generator, device=worst.device, dtype=worst.dtype)
    r = unit(noise * allowed.unsqueeze(-1), (1,))
    return Sensitivities(
        random=(jacobian @ r).square().sum(1).mean(1).sqrt(),
        aligned=torch.where(v.abs().amax(1) > 0, aligned, torch.nan),
        spectral=torch.linalg.matrix_norm(jacobian * allowed.unsqueeze(1), ord=2),
        spectral_all=torch.linalg.matrix_norm(jacobian, ord=2),
    )


def _jacobian(output: Tensor, point: Tensor) -> Tensor:
    """J of every row, ``[batch, outputs, features]``, one backward pass for each output."""
    columns = output.flatten(1).unbind(1)
    rows = [
        torch.autograd.grad(column.sum(), point, retain_graph=True, allow_unused=True)[0]
        for column in columns
    ]
    zero = torch.zeros_like(point)
    return torch.stack([(zero if row is None else row).flatten(1) for row in rows], 1).detach()
