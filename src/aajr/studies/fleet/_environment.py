"""The fleet as an environment of the arena: all vehicles are protected, nobody opposes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from aajr._checks import check_count
from aajr.arena.agents.actors import Actor
from aajr.arena.threats import FARTHEST, Claims, Threat
from aajr.studies.fleet._world import Fleet, FleetConfig, velocity

WON = 0.8
"""Share of the vehicles that must arrive unhurt, for an episode to count as won."""


@dataclass(frozen=True, eq=False)
class Crossing:
    """Episodes of the fleet, an :class:`aajr.arena.environments.protocols.Environment`.

    Attributes:
        config: the world.
        episodes: number of episodes, all played in one batch.
        seed: seed of the starts and of the noise in the reports.
    """

    config: FleetConfig
    episodes: int
    seed: int
    opponents: Sequence[Actor] = ()

    def __post_init__(self) -> None:
        check_count("episodes", self.episodes)

    @property
    def features(self) -> int:
        """Size of a vehicle's observation."""
        return self.config.features

    @property
    def agents(self) -> int:
        """Number of vehicles."""
        return self.config.vehicles

    @property
    def steps(self) -> int:
        """Length of an episode."""
        return self.config.steps

    @property
    def facts(self) -> dict[str, Any]:
        """The world, as JSON values."""
        return asdict(self.config)

    @property
    def items(self) -> Tensor:
        """One item: the nearest vehicle, which all reports are about."""
        return self.sources.clamp_max(0)

    @property
    def sources(self) -> Tensor:
        """Source of each feature, -1 for none, ``[features]``."""
        return self.config.reporters

    @property
    def liars(self) -> int:
        """How many sources may lie to a vehicle in one step."""
        return self.config.liars

    @property
    def claims(self) -> Claims:
        """Least and greatest value that a source can report: positions in the arena."""
        return -FARTHEST, FARTHEST

    def attackable(self, threat: Threat) -> Tensor:
        """Features that the adversary may change: the reports, or all under ``full``."""
        reported = self.sources >= 0
        return torch.ones_like(reported) if threat == "full" else reported & (threat != "actions")

    def told(self, liars: Sequence[int]) -> Tensor:
        """Nothing: vehicles do not report to each other."""
        return torch.zeros(self.agents, self.features, dtype=torch.bool)

    def resized(self, episodes: int, seed: int) -> Crossing:
        """The same environment with another number of episodes and another seed."""
        return replace(self, episodes=episodes, seed=seed)

    def reset(self) -> RunningCrossing:
        """Start all episodes."""
        return RunningCrossing(self)


@dataclass(frozen=True, eq=False)
class Record:
    """The record of played episodes.

    Attributes:
        won: whether enough vehicles arrived unhurt, boolean ``[episodes]``.
        observation: observations, ``[episodes, steps, vehicles, features]``.
        action: actions, ``[episodes, steps, vehicles, heads]``.
        reward: rewards, ``[episodes, steps, vehicles]``.
        colliding: vehicles that collided in a step, boolean ``[episodes, steps, vehicles]``.
        arrived: vehicles that reached their goal, boolean ``[episodes, vehicles]``.
    """

    won: Tensor
    observation: Tensor
    action: Tensor
    reward: Tensor
    colliding: Tensor
    arrived: Tensor

    @property
    def played(self) -> Tensor:
        """All steps of all episodes, boolean ``[episodes, steps]``."""
        return torch.ones(self.reward.shape[:2], dtype=torch.bool)

    @property
    def collided(self) -> Tensor:
        """Vehicles that collided at least once, boolean ``[episodes, vehicles]``."""
        return self.colliding.any(1)

    @property
    def unhurt(self) -> Tensor:
        """Vehicles that arrived and never collided, boolean ``[episodes, vehicles]``."""
        return self.arrived & ~self.collided


class RunningCrossing:
    """Episodes in play. It records observations, actions, rewards and collisions."""

    def __init__(self, match: Crossing) -> None:
        self.match, self.fleet = match, Fleet(match.config)
        self.fleet.seed(match.seed)
        # step the scenario itself, because VMAS's environment loops over the agents
        self.fleet.env_make_world(match.episodes, torch.device("cpu"))
        self.fleet.reset_world_at()
        names = ("observation", "action", "reward", "colliding")
        self._frames: dict[str, list[Tensor]] = {name: [] for name in names}

    @property
    def running(self) -> Tensor:
        """Numbers of the running episodes: all of them, or none after their common end."""
        ended = len(self._frames["action"]) == self.match.steps
        return torch.arange(0 if ended else self.match.episodes)

    @property
    def observation(self) -> Tensor:
        """Current observations, ``[episodes, vehicles, features]``."""
        return self.fleet.observations

    def step(self, action: Tensor) -> None:
        """Play one step with actions ``[episodes, vehicles, heads]``."""
        self._frames["observation"].append(self.observation)
        self.fleet.act(velocity(action))
        self._frames["action"].append(action)
        self._frames["reward"].append(self.fleet.rewards)
        self._frames["colliding"].append(self.fleet.colliding)

    def record(self) -> Record:
        """The record of the finished episodes."""
        played = {name: torch.stack(values, 1) for name, values in self._frames.items()}
        unhurt = self.fleet.arrived & ~played["colliding"].any(1)
        won = unhurt.float().mean(-1) >= WON
        return Record(won=won, arrived=self.fleet.arrived.clone(), **played)
