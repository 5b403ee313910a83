"""What the arena asks of an agent and of an environment; a game or a simulator implements it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from aajr.arena.threats import Threat
from aajr.geometry import Metric


class Agent(Protocol):
    """A policy: from what it sees to the parameters of a distribution, and from these to actions.

    :class:`aajr.arena.agents.Actor` is one, of categorical heads.
    """

    @property
    def metric(self) -> Metric:
        """Geometry of the outputs."""

    def __call__(self, observation: Tensor) -> Tensor:
        """Outputs ``[..., outputs]`` at observations ``[..., features]``, differentiable."""

    def act(self, outputs: Tensor) -> Tensor:
        """Its choice, ``[..., heads]``."""

    def explore(self, outputs: Tensor, share: float, generator: torch.Generator) -> Tensor:
        """Draws from its distribution, a share of them from a much wider one."""

    def encode(self, action: Tensor) -> Tensor:
        """Actions as a Q reads them."""


class Recorded(Protocol):
    """What is kept of played episodes; an environment may add what it likes."""

    @property
    def won(self) -> Tensor:
        """Episodes that the protected team won, boolean ``[episodes]``."""

    @property
    def observation(self) -> Tensor:
        """Of the protected team, ``[episodes, steps, agents, features]``."""

    @property
    def action(self) -> Tensor:
        """Likewise, ``[episodes, steps, agents, heads]``."""

    @property
    def reward(self) -> Tensor:
        """Likewise, ``[episodes, steps, agents]``."""


Played = TypeVar("Played", bound=Recorded)
Played_co = TypeVar("Played_co", bound=Recorded, covariant=True)


class Running(Protocol[Played_co]):
    """Episodes that are being played, all at once."""

    @property
    def observation(self) -> Tensor:
        """What the protected team sees now, ``[episodes, agents, features]``."""

    @property
    def ended(self) -> bool:
        """Whether all episodes are over."""

    def step(self, action: Tensor) -> None:
        """The team acts, ``[episodes, agents, heads]``."""

    def record(self) -> Played_co:
        """What was kept."""


class Environment(Protocol[Played_co]):
    """Batched episodes of a protected team, from starts that a seed fixes.

    Two environments of one seed and number of episodes begin alike, whoever plays.
    """

    @property
    def episodes(self) -> int:
        """Number of episodes, played at once."""

    @property
    def seed(self) -> int:
        """Of the starts, and of all that others do."""

    @property
    def features(self) -> int:
        """Size of an agent's observation."""

    @property
    def agents(self) -> int:
        """Number of agents of the protected team."""

    @property
    def steps(self) -> int:
        """Length of an episode."""

    @property
    def opponents(self) -> Sequence[nn.Module]:
        """Frozen networks of the others."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Its settings as JSON values; other settings are another environment."""

    @property
    def items(self) -> Tensor:
        """Features that are perceived as one, by numbers of groups; -1 is trusted."""

    def attackable(self, threat: Threat) -> Tensor:
        """Features that the adversary may change, boolean ``[features]``."""

    def told(self, liars: Sequence[int]) -> Tensor:
        """Features by which liars of the team mislead the others, ``[agents, features]``."""

    def resized(self, episodes: int, seed: int) -> Environment[Played_co]:
        """The same with another number of episodes, from other starts."""

    def reset(self) -> Running[Played_co]:
        """All episodes at their starts."""
