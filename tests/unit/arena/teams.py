"""Small trained-looking teams on disk, for tests of evaluation."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from aajr.arena.agents.actors import Actor
from aajr.arena.training.checkpoints import save_checkpoint
from aajr.hide_and_seek.game import HideAndSeekConfig
from aajr.hide_and_seek.game.actors import team_actor
from aajr.hide_and_seek.training.config import PenaltyConfig, TrainConfig

GAME = HideAndSeekConfig(n_hiders=3, n_seekers=2, n_boxes=2, max_steps=6)
FEATURES = {"hider": 7 + 2 * 5 + 2 * 2 + 2 * 3, "seeker": 7 + 2 * 5 + 1 * 2 + 3 * 3}


def random_actor(seed: int, features: int, sharpness: float = 100.0) -> Actor:
    actor = team_actor(features, (16, 16), generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        actor.network[-1].weight.mul_(sharpness)
    return actor.requires_grad_(False)


def save_team(
    path: Path,
    seed: int,
    *,
    teams: tuple[str, ...] = ("hider",),
    weight: float = 0.0,
    game: HideAndSeekConfig = GAME,
) -> Path:
    """A checkpoint as `aajr train` writes it, of random networks."""
    penalty = PenaltyConfig("aajr", weight) if weight else PenaltyConfig()
    config = dataclasses.asdict(TrainConfig(env=game, seed=seed, learners=teams))
    config["penalty"] = dataclasses.asdict(penalty)
    config["ppo"]["hidden"] = [16, 16]
    tensors = {}
    for index, team in enumerate(teams):
        actor = random_actor(100 * seed + index, FEATURES[team])
        tensors |= {f"{team}.actor.{k}": v for k, v in actor.state_dict().items()}
    save_checkpoint(path, tensors, {"config": config, "iteration": 1})
    return path
