"""Where hiders with a radio believe that the nearest seeker is."""

from __future__ import annotations

import torch
from torch import Tensor

from aajr.arena.agents.actors import Actor
from aajr.hide_and_seek.game import HideAndSeekConfig, observation_layout

_CELLS = 25
"""Number of positions tried along each side of the arena."""


@torch.no_grad()
def believed_place(actor: Actor, shown: Tensor, config: HideAndSeekConfig) -> Tensor:
    """Find the seeker position that best explains each hider's current action distribution.

    The search uses a grid of positions in the arena and no gradient. For each position it sets all
    reports to that position. It keeps the position whose action distribution has the least
    divergence from the current one.

    Args:
        actor: the hiders' policy.
        shown: observations that the hiders get, ``[hiders, features]``.
        config: the game, with a radio whose sources report the nearest seeker.

    Returns:
        Positions relative to each hider, ``[hiders, 2]``.

    Raises:
        ValueError: the game has no such radio.

    Example:
        >>> from aajr.hide_and_seek.game import RADIO_GAME
        >>> from aajr.hide_and_seek.game.actors import team_actor
        >>> actor = team_actor(56)
        >>> believed_place(actor, torch.zeros(5, 56), RADIO_GAME).shape
        torch.Size([5, 2])
    """
    radio = config.radio
    if radio is None or radio.content != "nearest":
        raise ValueError(f"radio={radio} does not report one place; give content='nearest'")
    part = observation_layout(config, "hider")["reports"]
    side = torch.linspace(-1, 1, _CELLS)
    grid = torch.cartesian_prod(side, side)
    places = grid.unsqueeze(1) - shown[:, :2]  # the first two features are the hider's own position
    views = shown.expand(len(grid), -1, -1).clone()
    views[..., part] = places.repeat(1, 1, radio.sources)
    outputs = actor(views)
    now = actor(shown).expand_as(outputs)
    apart = actor.metric.divergence(now.flatten(0, 1), outputs.flatten(0, 1))
    best = apart.reshape(len(grid), -1).argmin(0)
    return places[best, torch.arange(len(shown))]
