"""The protocols of agents and environments, which a game or a simulator implements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

from torch import Tensor, nn

from aajr.arena.heads import Head
from aajr.arena.threats import Threat


class Agent(Protocol):
    """A policy: from what it sees to the parameters of a distribution of actions.

    :class:`aajr.arena.agents.NetworkAgent` makes one of any torch network.
    """

    @property
    def features(self) -> int:
        """Size of its observation."""

    @property
    def unit(self) -> str:
        """Unit of its observations, and so of ε: raw, or normalised by whose statistics."""

    @property
    def head(self) -> Head:
        """The distribution that the outputs describe."""

    @property
    def value(self) -> Callable[[Tensor], Tensor] | None:
        """Its own V, map from observations ``[rows, features]`` to ``[rows]``; None without one."""

    def __call__(self, observation: Tensor) -> Tensor:
        """Outputs ``[..., outputs]`` at observations ``[..., features]``, differentiable."""

    def state_dict(self) -> Mapping[str, Any]:
        """Its weights by name; they tell agents apart."""


@runtime_checkable
class Recurrent(Protocol):
    """An agent with a memory, one row for each of its rows; the play loop carries it.

    ``agent(observation)`` is then its answer at the start of an episode.
    """

    def begin(self, rows: int) -> Tensor:
        """The memory at an episode's start, ``[rows, ...]``."""

    def recall(self, observation: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs ``[rows, outputs]`` at ``[rows, features]``, and the memory afterwards."""


class Recorded(Protocol):
    """The record of played episodes; an environment may add to it.

    Episodes that ended before the longest are filled up with zeros.
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
        """Numbers of the episodes that are not over, ``[running]``; empty at the end."""

    @property
    def observation(self) -> Tensor:
        """What the protected team sees in these, ``[running, agents, features]``."""

    def step(self, action: Tensor) -> None:
        """The team acts in the episodes that run, ``[running, agents, heads]``."""

    def record(self) -> Played_co:
        """The record of the episodes."""


class Environment(Protocol[Played_co]):
    """Batched episodes of a protected team, from starts that a seed fixes.

    Two environments of one seed and number of episodes begin alike, whoever plays.
    """

    @property
    def episodes(self) -> int:
        """Number of episodes, played at once."""

    @property
    def seed(self) -> int:
        """Seed of the starts and of the others' random choices."""

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
        """Its settings as JSON values; they tell environments apart."""

    @property
    def items(self) -> Tensor:
        """Features that are perceived as one, by numbers of groups; -1 is trusted."""

    @property
    def sources(self) -> Tensor:
        """Which source reports each feature, -1 for none; read under the threat ``reports``."""

    @property
    def liars(self) -> int:
        """How many of the sources may lie to an agent at a time; likewise."""

    def attackable(self, threat: Threat) -> Tensor:
        """Features that the adversary may change, boolean ``[features]``."""

    def told(self, liars: Sequence[int]) -> Tensor:
        """Features by which liars of the team mislead the others, ``[agents, features]``."""

    def resized(self, episodes: int, seed: int) -> Environment[Played_co]:
        """The same with another number of episodes, from other starts."""

    def reset(self) -> Running[Played_co]:
        """All episodes at their starts."""
