"""The policy of a learned adversary."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from aajr._checks import check_number
from aajr.arena.agents.actors import mlp
from aajr.arena.attacks.learned._coalitions import Commands, draw_coalition


class Attacker(nn.Module):
    """A map from observations ``[..., features]`` to a Gaussian over commands ``[..., commands]``.

    A command is the attacker's action: a perturbation before squashing (SA-RL), or a
    direction in the victim's output space (PA-AD). If the attacker also chooses sources, a score
    for every source follows the command, and the sources that lie are drawn by their scores, see
    :func:`~aajr.arena.attacks.learned._coalitions.draw_coalition`.

    Args:
        features: size of the observation.
        commands: size of a command.
        hidden: sizes of the hidden layers.
        deviation: initial standard deviation, the same in every state.
        generator: source of the initial weights.
        sources: number of sources that it scores.
        liars: number of them that it draws.
    """

    def __init__(
        self,
        features: int,
        commands: int,
        hidden: Sequence[int],
        deviation: float,
        generator: torch.Generator,
        sources: int = 0,
        liars: int = 0,
    ) -> None:
        super().__init__()
        check_number("deviation", deviation, exclusive=True)
        self.commands, self.sources, self.liars = commands, sources, liars
        self.network = mlp(features, commands + sources, hidden, generator)
        self.log_deviation = nn.Parameter(torch.full((commands,), math.log(deviation)))

    def forward(self, observation: Tensor) -> Tensor:
        """The mean command and the scores of the sources, ``[..., commands + sources]``."""
        found: Tensor = self.network(observation)
        return found

    def parameters_of(self, observation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and standard deviation of the command, and the scores of the sources."""
        mean, scores = self(observation).split([self.commands, self.sources], -1)
        return mean, self.log_deviation.exp().expand_as(mean), scores

    @torch.no_grad()
    def sample(
        self, observation: Tensor, generator: torch.Generator, kept: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw a command, followed by 1 for every source that lies and 0 for the others.

        Args:
            observation: ``[..., features]``.
            generator: source of the draw.
            kept: True where the liars were drawn before, ``[...]``; no source is drawn there.

        Returns:
            The draw ``[..., commands + sources]`` and its log-probability ``[...]``.
        """
        mean, deviation, scores = self.parameters_of(observation)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
        command = mean + deviation * noise
        if self.sources:
            chosen = draw_coalition(scores, self.liars, generator)
            chosen = chosen if kept is None else chosen & ~kept.unsqueeze(-1)
            command = torch.cat([command, chosen.to(command)], -1)
        return command, Commands(mean, deviation, scores).log_prob(command)
