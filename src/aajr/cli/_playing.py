"""States for ``aajr audit``: observations of a team in whole episodes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from aajr.arena.agents.actors import Actor
from aajr.arena.training.collection import FrozenTeam, Player, collect
from aajr.hide_and_seek.game import HideAndSeekConfig, Team, make_torchrl_env
from aajr.hide_and_seek.game.actions import BINS
from aajr.hide_and_seek.training.trainer import load_actor

_EPISODES = 16


def played_states(
    game: HideAndSeekConfig,
    actor: Actor,
    team: Team,
    opponents: Sequence[Path],
    count: int,
    seed: int,
) -> Tensor:
    """Observations of a team's members, ``[count, features]``, drawn from whole episodes."""
    other: Team = "seeker" if team == "hider" else "hider"
    members = game.n_hiders if team == "hider" else game.n_seekers
    episodes = max(_EPISODES, math.ceil(count / (game.max_steps * members)))
    generator = torch.Generator().manual_seed(seed)
    rivals = [load_actor(path, other) for path in opponents]
    players: dict[str, Player] = {
        team: lambda view: {"action": actor.head.act(actor(view))},
        other: FrozenTeam(rivals, generator) if rivals else _random_team(generator),
    }
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        env = make_torchrl_env(game, episodes, seed)
        rows = collect(env, players, game.max_steps, seed)[team, "observation"].flatten(0, 2)
    return rows[torch.randperm(len(rows), generator=generator)[:count]]


def _random_team(generator: torch.Generator) -> Player:
    bins = torch.tensor(BINS)

    def act(observation: Tensor) -> dict[str, Tensor]:
        uniform = torch.rand(*observation.shape[:-1], len(bins), generator=generator)
        return {"action": (uniform * bins).long()}

    return act
