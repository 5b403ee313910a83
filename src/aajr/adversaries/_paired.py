"""Ascent by antithetic pairs of queries."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from aajr._modes import Policy
from aajr.adversaries._estimated import Estimate, EstimatedAscent
from aajr.adversaries._evaluation import losses_of_many
from aajr.trajectory import Reference


@dataclass(frozen=True, eq=False)
class PairedQueries(EstimatedAscent):
    """ĝ = Σ_i ξ_i (F(x+σsξ_i) - F(x-σsξ_i)) / (2nσs), from 2n queries."""

    def noise(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """The ξ_i, of unit variance and zero off the attackable features; standard normal here."""
        return self._draws(x, generator)

    def estimate(
        self, policy: Policy, reference: Reference, point: Tensor, generator: torch.Generator
    ) -> Estimate:
        """The antithetic estimate."""
        noise, scale = self.noise(point, generator), self._scale(point)
        width = self.radius * self.ball.epsilon
        if width == 0:
            return Estimate(torch.zeros_like(point), 0, 0)
        places = torch.cat([point + width * scale * noise, point - width * scale * noise])
        up, down = losses_of_many(policy, self.objective, places, reference).chunk(2)
        slope = ((up - down) / (2 * width)).reshape(*up.shape, *[1] * (point.ndim - 1))
        return Estimate((slope * noise).mean(0) / scale, 2 * self.samples, 0)


@dataclass(frozen=True, eq=False)
class NES(PairedQueries):
    """Ascent by natural evolution strategies: ĝ = Σ_i ξ_i (F(x+σsξ_i) - F(x-σsξ_i)) / (2nσs).

    The ξ_i are standard normal; ĝ is an unbiased estimate of the gradient of F smoothed by that
    Gaussian, so it also works on step functions. It uses 2n queries.

    Attributes:
        ball: the threat set.
        objective: ℓ, (output, reference) to losses ``[batch]``.
        steps: number K of steps, each of 2n + 1 queries.
        samples: n, antithetic pairs per step.
        radius: σ in units of ε.
        step_size: η of the first step, ε by default; step k has η/√(k+1).
        restarts: searches, the first from δ = 0 and the others from uniform points.

    Example:
        >>> import torch
        >>> from aajr import Ball
        >>> attack = NES(Ball("linf", 0.5), lambda output, reference: output.sum(1))
        >>> trajectory = attack(torch.tanh, torch.zeros(1, 2), torch.Generator().manual_seed(0))
        >>> trajectory.worst, trajectory.forward_passes
        (tensor([[0.5000, 0.5000]]), 212)

    Source: Ilyas et al., Black-box adversarial attacks with limited queries and information,
    2018, https://arxiv.org/abs/1804.08598.
    """


@dataclass(frozen=True, eq=False)
class SPSA(PairedQueries):
    """Simultaneous perturbation: NES with ξ of independent signs.

    The signs have the least variance of all ξ for which ĝ is unbiased on linear F. The attributes
    are those of :class:`NES`.

    Example:
        >>> import torch
        >>> from aajr import Ball
        >>> attack = SPSA(Ball("linf", 0.5), lambda output, reference: output.sum(1))
        >>> attack(torch.tanh, torch.zeros(1, 2), torch.Generator().manual_seed(0)).worst
        tensor([[0.5000, 0.5000]])

    Source: Uesato et al., Adversarial risk and the dangers of evaluating against weak attacks,
    2018, https://arxiv.org/abs/1802.05666; Spall, 1992.
    """

    def noise(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Independent signs."""
        return self._draws(x, generator).sign()
