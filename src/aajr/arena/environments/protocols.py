"""Protocols of agents and environments, which a game or a simulator implements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

from torch import Tensor, nn

from aajr.arena.spaces.heads import Head
from aajr.arena.threats import Claims, Threat


class AgentLike(Protocol):
    """A policy: a map from observations to the parameters of an action distribution.

    :class:`aajr.arena.agents.agent.Agent` turns any torch network into an agent.
    """

    @property
    def features(self) -> int:
        """Size of its observation."""

    @property
    def unit(self) -> str:
        """Unit of its observations and of ε, for instance raw or normalised."""

    @property
    def head(self) -> Head:
        """The distribution that the outputs describe."""

    @property
    def value(self) -> Callable[[Tensor], Tensor] | None:
        """Its own V: map from observations ``[rows, features]`` to ``[rows]``; None without one."""

    def __call__(self, observation: Tensor) -> Tensor:
        """Outputs ``[..., outputs]`` at observations ``[..., features]``, differentiable."""

    def state_dict(self) -> Mapping[str, Any]:
        """Its weights by name; they identify the agent."""


@runtime_checkable
class Recurrent(Protocol):
    """An agent with one row of memory per observation, which the play loop keeps.

    ``agent(observation)`` returns its outputs at the start of an episode.
    """

    def begin(self, rows: int) -> Tensor:
        """The memory at an episode's start, ``[rows, ...]``."""

    def recall(self, observation: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs ``[rows, outputs]`` at ``[rows, features]``, and the updated memory."""


class Recorded(Protocol):
    """The record of played episodes; an environment may add further fields.

    Shorter episodes are padded with zeros.
    """

    @property
    def played(self) -> Tensor:
        """Steps that were played, boolean ``[episodes, steps]``."""

    @property
    def won(self) -> Tensor:
        """Episodes that the protected team won, boolean ``[episodes]``."""

    @property
    def observation(self) -> Tensor:
        """Clean observations of the protected team, ``[episodes, steps, agents, features]``."""

    @property
    def action(self) -> Tensor:
        """Its actions, ``[episodes, steps, agents, heads]``."""

    @property
    def reward(self) -> Tensor:
        """Its rewards, ``[episodes, steps, agents]``."""


Played = TypeVar("Played", bound=Recorded)
Played_co = TypeVar("Played_co", bound=Recorded, covariant=True)


class Running(Protocol[Played_co]):
    """Episodes that are being played, all at once."""

    @property
    def running(self) -> Tensor:
        """Numbers of the running episodes, ``[running]``; empty at the end."""

    @property
    def observation(self) -> Tensor:
        """Observations of the protected team in these, ``[running, agents, features]``."""

    def step(self, action: Tensor) -> None:
        """Play one step of the running episodes with actions ``[running, agents, heads]``."""

    def record(self) -> Played_co:
        """The record of the episodes."""


@dataclass(frozen=True, eq=False)
class Latest:
    """What the latest step brought to the episodes that were played in it.

    Attributes:
        observation: observations after it, also of episodes that it ended, ``[stepped, agents,
            features]``.
        reward: ``[stepped, agents]``.
        terminated: whether it brought an episode to its own end, boolean ``[stepped]``.
        truncated: whether a limit of time cut the episode after it, boolean ``[stepped]``.
    """

    observation: Tensor
    reward: Tensor
    terminated: Tensor
    truncated: Tensor


class Stepping(Protocol):
    """Running episodes that tell what every step brought, as training in them needs."""

    @property
    def running(self) -> Tensor:
        """Numbers of the running episodes, ``[running]``."""

    @property
    def observation(self) -> Tensor:
        """Observations of the protected team in these, ``[running, agents, features]``."""

    @property
    def latest(self) -> Latest:
        """What the latest step brought."""

    def step(self, action: Tensor) -> None:
        """Play one step of the running episodes."""


class Environment(Protocol[Played_co]):
    """Batched episodes of a protected team, whose initial states depend on a seed.

    Two environments with the same seed and number of episodes have the same initial states.
    """

    @property
    def episodes(self) -> int:
        """Number of episodes, played at once."""

    @property
    def seed(self) -> int:
        """Seed of the initial states and of the opponents' random choices."""

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
        """Frozen networks of the opponents."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Its settings as JSON values; they identify the environment."""

    @property
    def items(self) -> Tensor:
        """Group number of each feature, ``[features]``: an item is one group; -1 is trusted."""

    @property
    def sources(self) -> Tensor:
        """Source of each feature, -1 for none, ``[features]``; used by the threat ``reports``."""

    @property
    def liars(self) -> int:
        """Number of sources that may lie to an agent at a time; used by ``reports``."""

    @property
    def claims(self) -> Claims:
        """Least and greatest value that a source can report; used by ``reports``."""

    def attackable(self, threat: Threat) -> Tensor:
        """Features that the adversary may change, boolean ``[features]``."""

    def told(self, liars: Sequence[int]) -> Tensor:
        """Mask of the features that lying teammates report to others, ``[agents, features]``."""

    def resized(self, episodes: int, seed: int) -> Environment[Played_co]:
        """A copy with another number of episodes and another seed."""

    def reset(self) -> Running[Played_co]:
        """Start all episodes."""
