"""The attacks of the evaluation, by name, and the suite that runs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from aajr._checks import check_count, check_number
from aajr.adversaries import Adversary, Critic, Divergence, ProjectedGradientAscent, UniformNoise
from aajr.evaluation.critics import fit_critic
from aajr.evaluation.episodes import AttackedHiders, Match, explore, play, score
from aajr.evaluation.records import Score
from aajr.geometry import Ball, Categorical
from aajr.minimax import diagnose
from aajr.training.learner import OnlineValue
from aajr.training.models import Actor, greedy_heads
from aajr.training.threats import Threat, attackable_features
from aajr.trajectory import Objective


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


@dataclass(frozen=True, eq=False)
class AttackSuite:
    """Attacks on one victim in one match.

    Attributes:
        actor: the victim.
        match: who plays, on which starts.
        threat: what may be perturbed.
        budget: how hard the attacks try.
        critics: fitted critics with their R²; see :func:`prepare_suite`.
    """

    actor: Actor
    match: Match
    threat: Threat
    budget: AttackBudget
    critics: tuple[tuple[OnlineValue, float], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Attacks of the suite."""
        return ("noise", "mad", *(f"critic_{i}" for i in range(len(self.critics))))

    def scores(self, epsilons: Sequence[float], names: Sequence[str] | None = None) -> list[Score]:
        """The clean score, and one for every attack at every positive ε."""
        for epsilon in epsilons:
            check_number("epsilon", epsilon)
        clean = AttackedHiders(self.actor, None, self._generator())
        results = [score(self.match, clean, "none", 0.0)]
        for name in self.names if names is None else names:
            for epsilon in epsilons:
                if epsilon > 0:
                    results.append(self._score(name, epsilon))
        return results

    def sensitivity(self, epsilon: float, rows: int = 2048) -> dict[str, float]:
        """Jacobian diagnostics on visited states, along the MAD attack; see ``aajr.diagnose``."""
        few = replace(self.match, episodes=min(self.match.episodes, 64))
        record = play(few, lambda x: greedy_heads(self.actor(x), self.actor.heads))
        states = record.observation.flatten(0, 2)
        generator = self._generator()
        states = states[torch.randperm(len(states), generator=generator)[:rows]]
        threat: Threat = "full" if self.threat == "actions" else self.threat
        mask = attackable_features(self.match.config, "hider", threat)
        metric = Categorical(self.actor.heads)
        adversary = ProjectedGradientAscent(
            Ball("linf", epsilon, mask=mask), Divergence(metric), steps=self.budget.steps
        )
        trajectory = adversary(self.actor, states, generator)
        return diagnose(self.actor, trajectory, generator, metric=metric)

    def _score(self, name: str, epsilon: float) -> Score:
        adversary = self._adversary(name, epsilon)
        on_logits = self.threat == "actions"
        hiders = AttackedHiders(self.actor, adversary, self._generator(), on_logits)
        return score(self.match, hiders, name, epsilon)

    def _adversary(self, name: str, epsilon: float) -> Adversary:
        if name not in self.names:
            raise ValueError(f"attack={name!r} is unknown; choose among {self.names}")
        ball = Ball("linf", epsilon, mask=self._mask())
        if name == "noise":
            return UniformNoise(ball)
        return ProjectedGradientAscent(
            ball,
            self._objective(name),
            steps=self.budget.steps,
            restarts=self.budget.restarts,
            select="best",
        )

    def _objective(self, name: str) -> Objective:
        metric = Categorical(self.actor.heads)
        if name == "mad":
            return Divergence(metric)
        value, _ = self.critics[int(name.removeprefix("critic_"))]
        state = "observation" if self.threat == "actions" else None
        return Critic(value, metric.probabilities, state)

    def _mask(self) -> Tensor | None:
        if self.threat == "actions":
            return None
        return attackable_features(self.match.config, "hider", self.threat)

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.match.seed + 3)


def prepare_suite(actor: Actor, match: Match, threat: Threat, budget: AttackBudget) -> AttackSuite:
    """Fit the critics on the victim's own rollouts, then hold everything ready.

    Raises:
        ValueError: the actor does not read this game's observations.
    """
    features = len(attackable_features(match.config, "hider", "full"))
    if actor.features != features:
        raise ValueError(
            f"the actor reads {actor.features} features, the game shows {features}; give the "
            "configuration that the actor was trained with"
        )
    critics = []
    for index in range(budget.critics):
        seed = match.seed + 1000 * (index + 1)
        training = replace(match, episodes=budget.critic_episodes, seed=seed)
        generator = torch.Generator().manual_seed(seed)
        critics.append(fit_critic(explore(training, actor), generator))
    return AttackSuite(actor, match, threat, budget, tuple(critics))
