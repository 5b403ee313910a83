"""Small actors for the tests of replays."""

import torch

from aajr.hide_and_seek.game.actors import team_actor
from aajr.hide_and_seek.game.observation import observation_layout


def make_actor(game, team, seed):
    """An untrained actor whose last layer is large enough to prefer some actions."""
    features = max(part.stop for part in observation_layout(game, team).values())
    actor = team_actor(features, (8,), generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        list(actor.parameters())[-2].mul_(100)
    return actor.requires_grad_(False)
