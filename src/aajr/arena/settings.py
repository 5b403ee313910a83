"""Settings of evaluations; the command line reads them without loading torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aajr._settings import check_count, check_number

SuiteName = Literal["quick", "standard", "thorough"]


@dataclass(frozen=True)
class Learning:
    """How an attacker learns. Which setting is best depends on the victim, so a suite tries some.

    Attributes:
        name: a word for the setting in the attack's name; empty for the usual one.
        learning_rate: learning rate of Adam.
        discount: γ of the return that it maximises.
        entropy: weight of the entropy bonus of PPO.
        coverage: share of a reward for leading the victim to states where it seldom is; 1 for this
            reward alone.

    Raises:
        ValueError: numbers out of range.
    """

    name: str = ""
    learning_rate: float = 3e-3
    discount: float = 0.98
    entropy: float = 0.0
    coverage: float = 0.0

    def __post_init__(self) -> None:
        check_number("learning_rate", self.learning_rate, exclusive=True)
        check_number("discount", self.discount, maximum=1.0)
        check_number("entropy", self.entropy)
        check_number("coverage", self.coverage, maximum=1.0)

    def named(self, attack: str) -> str:
        """The name of an attack that learns in this way.

        Example:
            >>> Learning("slow", learning_rate=3e-4).named("sa_rl"), Learning().named("sa_rl")
            ('sa_rl_slow', 'sa_rl')
        """
        return f"{attack}_{self.name}" if self.name else attack


USUAL = Learning()
"""How an attacker learns where a suite tries one setting."""


@dataclass(frozen=True)
class Effort:
    """The effort of the attacks of a suite; it is part of the suite's version.

    Attributes:
        steps: steps of gradient ascent; they are long enough to cross the ball.
        restarts: independent searches per decision; the worst result is kept.
        queries: evaluations of the victim per decision, for attacks without gradients.
        generations: generations of CMA-ES; each costs half a millisecond per decision.
        sweeps: sweeps over all features, for the search on a grid of perturbations.
        critic_episodes: episodes for fitting each critic, and the imitation.
        critic_updates: least number of gradient steps of a critic's fit, for few or short episodes;
            0 for a fixed number of passes over the data.
        director_draws: random directors that the steered attack tries.
        director_episodes: episodes on which each of them is tried.
        attacker_iterations: training iterations of a learned attacker, for each ε.
        attacker_environments: episodes collected per iteration.
    """

    steps: int = 10
    restarts: int = 2
    queries: int = 100
    generations: int = 8
    sweeps: int = 1
    critic_episodes: int = 256
    attacker_iterations: int = 20
    attacker_environments: int = 64
    critic_updates: int = 0
    director_draws: int = 16
    director_episodes: int = 5

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            check_count(name, getattr(self, name), minimum=int(name != "critic_updates"))
        check_count("queries", self.queries, minimum=4)
        check_count("critic_episodes", self.critic_episodes, minimum=10)
