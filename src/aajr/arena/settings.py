"""Settings of evaluations; the command line reads them without loading torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aajr._settings import check_count

SuiteName = Literal["quick", "standard", "thorough"]


@dataclass(frozen=True)
class Effort:
    """How hard the attacks of a suite try; a part of the suite, under its version.

    Attributes:
        steps: of gradient ascent; steps are long enough to cross the ball.
        restarts: independent searches per decision, the worst kept.
        queries: evaluations of the victim per decision, of attacks without gradients.
        generations: of CMA-ES, which costs half a millisecond per decision and generation.
        sweeps: over all features, of the search on a grid of perturbations.
        critic_episodes: episodes that each critic, and the imitation, is fitted on.
        attacker_iterations: collections that a learned attacker trains on, for each ε.
        attacker_environments: episodes in a collection.
    """

    steps: int = 10
    restarts: int = 2
    queries: int = 100
    generations: int = 8
    sweeps: int = 1
    critic_episodes: int = 256
    attacker_iterations: int = 20
    attacker_environments: int = 64

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            check_count(name, getattr(self, name))
        check_count("queries", self.queries, minimum=4)
        check_count("critic_episodes", self.critic_episodes, minimum=10)
