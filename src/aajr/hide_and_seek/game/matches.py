"""Hide-and-seek as an environment of the arena: hiders under attack, against frozen seekers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from aajr._checks import check_count
from aajr._seeds import derive
from aajr.arena.agents.actors import Actor
from aajr.arena.environments.episodes import score
from aajr.arena.records.evaluation import Score
from aajr.arena.spaces.heads import sample_heads
from aajr.arena.threats import FARTHEST, Claims, Threat
from aajr.hide_and_seek.game import (
    HideAndSeek,
    HideAndSeekConfig,
    hiders_success,
)
from aajr.hide_and_seek.game.actions import BINS, from_bins
from aajr.hide_and_seek.game.items import lying_teammates, observed_items, reporting_sources
from aajr.hide_and_seek.game.observation import observation_size
from aajr.hide_and_seek.game.threats import attackable_features


@dataclass(frozen=True, eq=False)
class Match:
    """A match: the game, the frozen seekers, the number of episodes, and a seed.

    It is an :class:`aajr.arena.environments.protocols.Environment`. The same seed gives the same
    initial states for every policy, attack and ε.

    Attributes:
        config: the game.
        opponents: frozen seekers; the episodes are split evenly among them.
        episodes: number of episodes, all played in one batch.
        seed: seed of the initial states and of the seekers' sampled actions.
    """

    config: HideAndSeekConfig
    opponents: Sequence[Actor]
    episodes: int
    seed: int

    def __post_init__(self) -> None:
        check_count("episodes", self.episodes)
        if not self.opponents:
            raise ValueError("opponents is empty; give at least one frozen seeker")

    @property
    def features(self) -> int:
        """Size of a hider's observation."""
        return observation_size(self.config, "hider")

    @property
    def agents(self) -> int:
        """Number of hiders."""
        return self.config.n_hiders

    @property
    def steps(self) -> int:
        """Length of an episode."""
        return self.config.max_steps

    @property
    def facts(self) -> dict[str, Any]:
        """The game, as JSON values."""
        return self.config.facts

    @property
    def items(self) -> Tensor:
        """Groups of a hider's features, see :func:`~.items.observed_items`."""
        return observed_items(self.config, "hider")

    @property
    def sources(self) -> Tensor:
        """Radio source of each feature, see :func:`~.items.reporting_sources`."""
        return reporting_sources(self.config)

    @property
    def liars(self) -> int:
        """How many sources may lie to a hider at one step; 0 without a radio."""
        return 0 if self.config.radio is None else self.config.radio.liars

    @property
    def claims(self) -> Claims:
        """Least and greatest value that a source can report: positions in the arena."""
        return -FARTHEST, FARTHEST

    def attackable(self, threat: Threat) -> Tensor:
        """Features of a hider's observation that the adversary may change."""
        return attackable_features(self.config, "hider", threat)

    def told(self, liars: Sequence[int]) -> Tensor:
        """Features that lying teammates can forge, see :func:`~.items.lying_teammates`."""
        return lying_teammates(self.config, "hider", liars)

    def resized(self, episodes: int, seed: int) -> Match:
        """The same match with another number of episodes and another seed."""
        return replace(self, episodes=episodes, seed=seed)

    def reset(self) -> RunningMatch:
        """Start all episodes."""
        return RunningMatch(self)


@dataclass(frozen=True, eq=False)
class Record:
    """The record of one played match.

    Attributes:
        won: whether the hiders won each episode, boolean ``[episodes]``.
        observation: observations of the hiders, ``[episodes, steps, hiders, features]``.
        action: actions of the hiders, ``[episodes, steps, hiders, heads]``.
        reward: rewards of the hiders, ``[episodes, steps, hiders]``.
        sighted: 1 where a seeker sees the hider after a step, ``[episodes, steps, hiders]``.
        sighting: 1 where the seeker sees a hider after a step, ``[episodes, steps, seekers]``.
        opponent_action: actions of the seekers, ``[episodes, steps, seekers, heads]``.
        agents: positions at the start and after every step, hiders first,
            ``[episodes, steps + 1, agents, 2]``.
        boxes: centres at the same times, ``[episodes, steps + 1, boxes, 2]``.
        holder: index of the agent that holds a box, or -1, ``[episodes, steps + 1, boxes]``.
        lock: 0 unlocked, 1 locked by hiders, 2 by seekers, ``[episodes, steps + 1, boxes]``.
    """

    won: Tensor
    observation: Tensor
    action: Tensor
    reward: Tensor
    sighted: Tensor
    sighting: Tensor
    opponent_action: Tensor
    agents: Tensor
    boxes: Tensor
    holder: Tensor
    lock: Tensor

    @property
    def played(self) -> Tensor:
        """All steps of all episodes, boolean ``[episodes, steps]``."""
        return torch.ones(self.reward.shape[:2], dtype=torch.bool)

    @property
    def seen(self) -> Tensor:
        """1 where a hider is seen at the last step, ``[episodes, hiders]``."""
        return self.sighted[:, -1]


class RunningMatch:
    """A match in play. It records observations, actions, rewards and all positions."""

    def __init__(self, match: Match) -> None:
        self.match, self._game = match, HideAndSeek(match.config)
        self._generator = torch.Generator().manual_seed(match.seed)
        # step the scenario itself, because VMAS's environment loops over the agents
        self._game.seed(match.seed)
        self._game.env_make_world(match.episodes, torch.device("cpu"))
        self._game.reset_world_at()
        names = [part.name for part in fields(Record) if part.name != "won"]
        self._frames: dict[str, list[Tensor]] = {name: [] for name in names}
        self._keep_places()

    @property
    def observation(self) -> Tensor:
        """Current observations of the hiders, ``[episodes, hiders, features]``."""
        return self._game.views("hider")["observation"]

    @property
    def game(self) -> HideAndSeek:
        """The game in its current state."""
        return self._game

    @property
    def running(self) -> Tensor:
        """Indices of the running episodes: all of them, or none after their common end."""
        ended = len(self._frames["action"]) == self.match.steps
        return torch.arange(0 if ended else self.match.episodes)

    def step(self, action: Tensor) -> None:
        """Play one step with the hiders' actions, ``[episodes, hiders, heads]``."""
        frames = self._frames
        frames["observation"].append(self.observation)
        theirs = self._game.views("seeker")["observation"]
        answer = _seek(self.match, theirs, self._generator)
        self._game.act(from_bins(torch.cat([action, answer], 1)))
        hiders, seekers = self._game.views("hider"), self._game.views("seeker")
        frames["action"].append(action)
        frames["opponent_action"].append(answer)
        frames["reward"].append(hiders["reward"])
        frames["sighted"].append(hiders["seen"])
        frames["sighting"].append(seekers["seen"])
        self._keep_places()

    def record(self) -> Record:
        """The record of the finished match."""
        played = {name: torch.stack(values, 1) for name, values in self._frames.items()}
        required = self.match.config.hidden_for_success
        return Record(won=hiders_success(played["sighted"][:, -1], required), **played)

    def _keep_places(self) -> None:
        for name in ("agents", "boxes", "holder", "lock"):
            self._frames[name].append(getattr(self._game.state, name))


def _seek(match: Match, observation: Tensor, generator: torch.Generator) -> Tensor:
    shares = observation.tensor_split(len(match.opponents))
    return torch.cat(
        [
            sample_heads(actor(share), actor.heads, generator)
            for actor, share in zip(match.opponents, shares, strict=True)
        ]
    )


def floors(match: Match) -> dict[str, Score]:
    """Scores of hiders that do not move and of hiders that act at random."""
    generator = torch.Generator().manual_seed(derive(match.seed, "random"))

    def motionless(observation: Tensor, episodes: Tensor) -> Tensor:
        return torch.zeros(*observation.shape[:2], len(BINS), dtype=torch.long)

    def random(observation: Tensor, episodes: Tensor) -> Tensor:
        logits = torch.zeros(*observation.shape[:2], sum(BINS))
        return sample_heads(logits, BINS, generator)

    return {
        "motionless": score(match, motionless, "none", 0.0),
        "random": score(match, random, "none", 0.0),
    }
