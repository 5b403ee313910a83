"""Where hiders with a radio believe the nearest seeker to be."""

from __future__ import annotations

import torch
from torch import Tensor

from aajr.arena.agents import Actor
from aajr.hide_and_seek.game import HideAndSeekConfig, observation_layout

_CELLS = 25
"""Places tried along each side of the arena."""


@torch.no_grad()
def believed_place(actor: Actor, shown: Tensor, config: HideAndSeekConfig) -> Tensor:
    """The place at which agreeing reports would make the policy act most nearly as it does.

    It takes no gradient: for each of a grid of places in the arena all reports are set to it, and
    the place of the least divergence from the policy's present output is kept.

    Args:
        actor: the hiders' policy.
        shown: what hiders are shown, ``[hiders, features]``.
        config: the game, with a radio whose sources report the nearest seeker.

    Returns:
        Places relative to each hider, ``[hiders, 2]``.

    Raises:
        ValueError: a game without such a radio.

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
    places = grid.unsqueeze(1) - shown[:, :2]  # an observation begins with one's own position
    views = shown.expand(len(grid), -1, -1).clone()
    views[..., part] = places.repeat(1, 1, radio.sources)
    outputs = actor(views)
    now = actor(shown).expand_as(outputs)
    apart = actor.metric.divergence(now.flatten(0, 1), outputs.flatten(0, 1))
    best = apart.reshape(len(grid), -1).argmin(0)
    return places[best, torch.arange(len(shown))]
