"""Untrained actors for the game."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from aajr.arena.agents.actors import Actor
from aajr.hide_and_seek.game.actions import BINS

UNIT = "observation units (the arena's half width is 1)"


def team_actor(
    features: int,
    hidden: Sequence[int] = (64, 64),
    generator: torch.Generator | None = None,
    front: nn.Module | None = None,
) -> Actor:
    """Build an untrained actor that all members of a team share.

    See :class:`aajr.arena.agents.actors.Actor`.
    """
    return Actor(features, BINS, hidden, generator, UNIT, front)
