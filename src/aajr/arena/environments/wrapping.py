"""What an environment around another one takes from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic

from torch import nn

from aajr.arena.environments.protocols import Environment, Played


class Wrapping(Generic[Played]):
    """Base of an environment with an ``environment`` inside, which plays the same episodes."""

    environment: Environment[Played]

    @property
    def episodes(self) -> int:
        """Number of episodes."""
        return self.environment.episodes

    @property
    def seed(self) -> int:
        """Seed of the initial states."""
        return self.environment.seed

    @property
    def agents(self) -> int:
        """Number of agents of the protected team."""
        return self.environment.agents

    @property
    def steps(self) -> int:
        """Length of an episode."""
        return self.environment.steps

    @property
    def opponents(self) -> Sequence[nn.Module]:
        """Frozen networks of the opponents."""
        return self.environment.opponents
