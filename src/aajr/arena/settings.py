"""Settings of evaluations; the command line reads them without loading torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aajr._settings import check_count

SuiteName = Literal["quick", "standard", "thorough"]


@dataclass(frozen=True)
class AttackBudget:
    """How hard the attacks try.

    Attributes:
        steps: of projected gradient ascent; the step size 2.5 ε / steps crosses the ball.
        restarts: independent searches per decision, the worst kept.
        critics: freshly fitted critics, each attacked on its own.
        critic_episodes: episodes each critic is fitted on.
    """

    steps: int = 10
    restarts: int = 2
    critics: int = 2
    critic_episodes: int = 256

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        check_count("restarts", self.restarts)
        check_count("critics", self.critics, minimum=0)
        check_count("critic_episodes", self.critic_episodes, minimum=10)
