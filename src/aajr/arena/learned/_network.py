"""The policy of a learned adversary."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchrl.modules import IndependentNormal

from aajr._checks import check_number
from aajr.arena.agents import mlp


class Attacker(nn.Module):
    """A map from observations ``[..., features]`` to a Gaussian over commands ``[..., commands]``.

    A command is the attacker's action: a perturbation before squashing (SA-RL), or a
    direction in the victim's output space (PA-AD).

    Args:
        features: size of the observation.
        commands: size of a command.
        hidden: sizes of the hidden layers.
        deviation: initial standard deviation, the same in every state.
        generator: source of the initial weights.
    """

    def __init__(
        self,
        features: int,
        commands: int,
        hidden: Sequence[int],
        deviation: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        check_number("deviation", deviation, exclusive=True)
        self.network = mlp(features, commands, hidden, generator)
        self.log_deviation = nn.Parameter(torch.full((commands,), math.log(deviation)))

    def forward(self, observation: Tensor) -> Tensor:
        """The mean command."""
        mean: Tensor = self.network(observation)
        return mean

    def parameters_of(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the command."""
        mean = self(observation)
        return mean, self.log_deviation.exp().expand_as(mean)

    @torch.no_grad()
    def sample(self, observation: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A sampled command ``[..., commands]`` and its log-probability ``[...]``."""
        mean, deviation = self.parameters_of(observation)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
        command = mean + deviation * noise
        log_prob: Tensor = IndependentNormal(mean, deviation).log_prob(command)
        return command, log_prob
