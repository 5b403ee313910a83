"""Seekers by hand: they divide the hiders among themselves and walk to them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aajr.arena.agents import Actor
from aajr.hide_and_seek.game.actions import BINS, from_bins
from aajr.hide_and_seek.game.config import HideAndSeekConfig
from aajr.hide_and_seek.game.observation import MATE, OPPONENT, observation_layout, observation_size

_SHARPNESS = 12.0
"""Falling off of the logits around the wish: a deviation of 0.2 of the greatest speed."""


class Chasers(Actor):
    """Seekers that walk to the nearest hider to whom no fellow seeker is nearer.

    A seeker that is nearest to nobody walks to the nearest hider all the same. It reads positions
    from its observation alone, where a radio's ``tracked`` puts those of all hiders. The wish to
    move is blurred, so that nobody stays caught behind a corner. Chasers need no training, are the
    same for every seed, and do not tire of a hider who stands still.

    Args:
        config: the game, with a radio that tells the seekers where the hiders are; everybody is
            observed.

    Raises:
        ValueError: a game in which seekers do not observe where everybody is.

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
    """From a seeker's observation to logits around its way."""

    def __init__(self, config: HideAndSeekConfig) -> None:
        super().__init__()
        layout = observation_layout(config, "seeker")
        self._mates, self._hiders = layout["teammates"], layout["opponents"]

    def forward(self, observation: Tensor) -> Tensor:
        way = self._way(observation)
        wish = way / way.abs().amax(-1, keepdim=True).clamp_min(1e-6)
        bins = torch.arange(BINS[0], device=wish.device)
        speeds = from_bins(torch.stack([bins, bins, bins * 0, bins * 0], -1))[:, 0]
        move = -_SHARPNESS * (wish.unsqueeze(-1) - speeds).square()
        idle = wish.new_tensor([0.0, -20.0]).expand(*wish.shape[:-1], 2)
        return torch.cat([move.flatten(-2), idle, idle], -1)

    def _way(self, observation: Tensor) -> Tensor:
        """To the hider that each seeker goes for, ``[..., 2]``."""
        lead = observation.shape[:-1]
        mates = observation[..., self._mates].reshape(*lead, -1, MATE)
        hiders = observation[..., self._hiders].reshape(*lead, -1, OPPONENT)[..., :2]
        own = hiders.norm(dim=-1)
        theirs = (hiders.unsqueeze(-3) - mates.unsqueeze(-2)).norm(dim=-1)
        mine = (own.unsqueeze(-2) <= theirs).all(-2)
        mine = mine | ~mine.any(-1, keepdim=True)
        chosen = own.masked_fill(~mine, torch.inf).argmin(-1)
        return hiders.gather(-2, chosen[..., None, None].expand(*lead, 1, 2)).squeeze(-2)
