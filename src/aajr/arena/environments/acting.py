"""An environment whose adversary changes what an agent does, not what it sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Generic, cast

import torch
from torch import Tensor

from aajr._seeds import derive
from aajr.arena.environments.episodes import AttackedTeam
from aajr.arena.environments.frames import Frames
from aajr.arena.environments.protocols import (
    AgentLike,
    Environment,
    Latest,
    Played,
    Running,
    Stepping,
)
from aajr.arena.environments.wrapping import Wrapping
from aajr.arena.threats import Claims, Threat


@dataclass(frozen=True, eq=False)
class WithActions(Wrapping[Played]):
    """An environment that shows, behind each observation, the action that an agent has chosen.

    What is then played is the action that is given to ``step``. So whoever changes the shown
    action, and passes it on, changes what the agent does. The threat ``actions`` is all of the
    shown action; of every other threat it is no part. The agent itself sees the truth, and a
    recurrent one remembers it. If actions are choices, the shown action comes last, behind a copy
    that is trusted and a random number of [0, 1) for each choice, as
    :class:`~aajr.arena.spaces.chances.ChanceHead` reads them.

    Attributes:
        environment: the environment.
        agent: the agent.

    Example:
        >>> from aajr.arena.agents.actors import Actor
        >>> from aajr.arena.environments.gymnasium import GymnasiumEnvironment
        >>> cart = GymnasiumEnvironment("CartPole-v1", episodes=2, seed=0)
        >>> WithActions(cart, Actor(4, (2,))).feature_names[4:]
        ('chosen[0]', 'chosen[1]', 'chance[0]', 'action[0]', 'action[1]')
    """

    environment: Environment[Played]
    agent: AgentLike

    liars = 0
    claims: ClassVar[Claims] = (None, None)

    @cached_property
    def numbers(self) -> int:
        """Size of a shown action."""
        head = self.agent.head
        return head.relaxed(torch.zeros(1, head.outputs)).shape[-1]

    @property
    def choices(self) -> int:
        """Number of choices that an action consists of; 0 if it consists of numbers."""
        return len(getattr(self.agent.head, "sizes", ()))

    @property
    def trusted(self) -> int:
        """Number of features before the action that may be changed."""
        copied = self.numbers + self.choices if self.choices else 0
        return self.environment.features + copied

    @property
    def features(self) -> int:
        """Size of an observation with all that stands behind it."""
        return self.trusted + self.numbers

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names of the environment's features and of the numbers of the action."""
        seen = range(self.environment.features)
        names: Sequence[str] | None = getattr(self.environment, "feature_names", None)
        behind = [("action", self.numbers)]
        if self.choices:
            behind = [("chosen", self.numbers), ("chance", self.choices), *behind]
        added = (f"{name}[{index}]" for name, size in behind for index in range(size))
        return (*(names or (f"[{index}]" for index in seen)), *added)

    @property
    def items(self) -> Tensor:
        """Every number of the action is an item; what is seen is trusted."""
        return torch.cat([torch.full((self.trusted,), -1), torch.arange(self.numbers)])

    @property
    def sources(self) -> Tensor:
        """Source of each feature: -1 for none."""
        return torch.full((self.features,), -1)

    @property
    def facts(self) -> Mapping[str, Any]:
        """The environment's settings and the threat, as JSON values."""
        return {**self.environment.facts, "threat": "actions"}

    def attackable(self, threat: Threat) -> Tensor:
        """Features that the adversary may change: the action under ``actions``."""
        if threat == "actions":
            return self.items >= 0
        seen = self.environment.attackable(threat)
        return torch.cat([seen, seen.new_zeros(self.features - len(seen))])

    def told(self, liars: Sequence[int]) -> Tensor:
        """Features that lying teammates report to others; no part of an action."""
        told = self.environment.told(liars)
        return torch.cat([told, told.new_zeros(len(told), self.features - told.shape[1])], 1)

    def resized(self, episodes: int, seed: int) -> WithActions[Played]:
        """A copy with another number of episodes and another seed."""
        return replace(self, environment=self.environment.resized(episodes, seed))

    def reset(self) -> Running[Played]:
        """Start all episodes."""
        return _Running(self)


class _Running(Generic[Played]):
    """Episodes that are being played."""

    def __init__(self, whole: WithActions[Played]) -> None:
        self._whole, self._inner = whole, whole.environment.reset()
        self._team = AttackedTeam(whole.agent, None, torch.Generator().manual_seed(0))
        self._shown = Frames()
        self._chances = _chances(whole)
        self.observation = self._seen()

    @property
    def running(self) -> Tensor:
        """Numbers of the running episodes."""
        return self._inner.running

    @property
    def latest(self) -> Latest:
        """What the latest step brought; no action is shown after the end of an episode."""
        if not hasattr(type(self._inner), "latest"):
            raise ValueError(
                f"{type(self._whole.environment).__name__} does not tell rewards before its end; "
                "give an environment of Gymnasium"
            )
        found = cast(Stepping, self._inner).latest
        going = ~(found.terminated | found.truncated)
        shown = found.observation.new_zeros(*found.observation.shape[:2], self._whole.features)
        shown[..., : self._whole.environment.features] = found.observation
        shown[going] = self.observation
        return replace(found, observation=shown)

    def step(self, action: Tensor) -> None:
        """Play one step with actions ``[running, agents, actions]``."""
        self._inner.step(action)
        self.observation = self._seen()

    def record(self) -> Played:
        """The record of the episodes, in which the chosen actions are seen too."""
        record: Any = self._inner.record()
        _, (observation,) = self._shown.padded(self._whole.episodes)
        found: Played = replace(record, observation=observation)
        return found

    @torch.no_grad()
    def _seen(self) -> Tensor:
        """The observations with the chosen actions behind them."""
        episodes = self._inner.running
        if not len(episodes):
            return torch.zeros(0, self._whole.agents, self._whole.features)
        seen, head = self._inner.observation, self._whole.agent.head
        action = head.encode(self._team(seen, episodes)).to(seen)
        trusted = [action, self._chances[episodes, len(self._shown)]] if self._whole.choices else []
        shown = torch.cat([seen, *trusted, action], -1)
        self._shown.add(episodes, shown)
        return shown


def _chances(whole: WithActions[Any]) -> Tensor:
    """Numbers of [0, 1) for every choice, ``[episodes, steps, agents, choices]``."""
    size = (whole.steps, whole.agents, whole.choices)
    sources = (derive(whole.seed, "chance", index) for index in range(whole.episodes))
    drawn = [torch.rand(size, generator=torch.Generator().manual_seed(s)) for s in sources]
    return torch.stack(drawn)
