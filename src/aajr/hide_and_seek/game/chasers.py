"""Scripted seekers: they divide the hiders among themselves and walk to them."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from aajr.arena.agents.actors import Actor
from aajr.hide_and_seek.game.actions import BINS, from_bins
from aajr.hide_and_seek.game.config import HideAndSeekConfig
from aajr.hide_and_seek.game.observation import MATE, OPPONENT, observation_layout, observation_size

_SHARPNESS = 12.0
"""How fast the logits fall off around the wanted speed: a standard deviation of 0.2 of the top
speed."""


class Chasers(Actor):
    """Scripted seekers: each walks to the nearest of the hiders that no other seeker is closer to.

    If another seeker is closer to every hider, it walks to the hider nearest to itself. A seeker
    reads all positions from its observation; a radio with ``tracked=True`` puts the hiders'
    positions there. Moves are sampled from a distribution around the direction to the hider, so
    that no seeker stays stuck behind a corner. Chasers need no training, are the same for every
    seed, and never give up on a hider that stands still.

    Args:
        config: the game. It needs a radio with ``tracked=True``, and ``observe_nearest=0``, so that
            seekers observe everybody.

    Raises:
        ValueError: seekers do not observe where everybody is in this game.

    Example:
        >>> from aajr.hide_and_seek.game import HideAndSeekConfig, Radio
        >>> chasers = Chasers(HideAndSeekConfig(radio=Radio()))
        >>> chasers(torch.zeros(2, 5, chasers.features)).shape
        torch.Size([2, 5, 26])
    """

    def __init__(self, config: HideAndSeekConfig) -> None:
        if config.radio is None or not config.radio.tracked or config.observe_nearest:
            raise ValueError(
                f"radio={config.radio} with observe_nearest={config.observe_nearest} hides the "
                "hiders from the seekers; give a radio with tracked=True and observe_nearest=0"
            )
        super().__init__(observation_size(config, "seeker"), BINS, hidden=())
        self.network = _Chase(config)


class _Chase(nn.Module):
    """Map a seeker's observation to logits around the direction in which it walks."""

    def __init__(self, config: HideAndSeekConfig) -> None:
        super().__init__()
        layout = observation_layout(config, "seeker")
        self._mates, self._hiders = layout["teammates"], layout["opponents"]

    def forward(self, observation: Tensor) -> Tensor:
        way = self._way(observation)
        wanted = way / way.abs().amax(-1, keepdim=True).clamp_min(1e-6)
        speeds, idle = (part.to(wanted) for part in _fixed(wanted.device))
        move = -_SHARPNESS * (wanted.unsqueeze(-1) - speeds).square()
        idle = idle.expand(*wanted.shape[:-1], 2)
        return torch.cat([move.flatten(-2), idle, idle], -1)

    def _way(self, observation: Tensor) -> Tensor:
        """Offset from each seeker to the hider that it chases, ``[..., 2]``."""
        lead = observation.shape[:-1]
        mates = observation[..., self._mates].reshape(*lead, -1, MATE)
        hiders = observation[..., self._hiders].reshape(*lead, -1, OPPONENT)[..., :2]
        own = hiders.norm(dim=-1)
        theirs = (hiders.unsqueeze(-3) - mates.unsqueeze(-2)).norm(dim=-1)
        mine = (own.unsqueeze(-2) <= theirs).all(-2)
        mine = mine | ~mine.any(-1, keepdim=True)
        chosen = own.masked_fill(~mine, torch.inf).argmin(-1)
        return hiders.gather(-2, chosen[..., None, None].expand(*lead, 1, 2)).squeeze(-2)


@functools.cache
def _fixed(device: torch.device) -> tuple[Tensor, Tensor]:
    """The speed of every bin, and the logits of the heads grab and lock, which stay unused."""
    bins = torch.arange(BINS[0], device=device)
    speeds = from_bins(torch.stack([bins, bins, bins * 0, bins * 0], -1))[:, 0]
    return speeds, torch.tensor([0.0, -20.0], device=device)
