"""The attacks of a comparison: a few of the suites' at a budget that its preset chooses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from aajr._checks import check_number
from aajr.adversaries import Adversary, ProjectedGradientAscent
from aajr.arena import attacks
from aajr.arena.agents import Actor, greedy_heads
from aajr.arena.critics import OnlineValue
from aajr.arena.episodes import AttackedHiders, Match, play, score
from aajr.arena.records import Score
from aajr.arena.settings import AttackBudget
from aajr.arena.threats import Threat
from aajr.arena.victim import Effort, Victim
from aajr.diagnostics import diagnose
from aajr.geometry import Ball
from aajr.hide_and_seek.game.threats import attackable_features


@dataclass(frozen=True, eq=False)
class AttackSuite:
    """Noise, MAD and fitted critics against one victim in one match.

    Attributes:
        victim: who is attacked.
        budget: how hard the attacks try.
    """

    victim: Victim
    budget: AttackBudget

    @property
    def names(self) -> tuple[str, ...]:
        """Attacks of the suite."""
        return ("noise", "mad", *(f"critic_{i}" for i in range(self.budget.critics)))

    @property
    def critics(self) -> tuple[tuple[OnlineValue, float], ...]:
        """Fitted critics with their R²."""
        fitted = [self.victim.critic(index) for index in range(self.budget.critics)]
        fits = self.victim.preparation
        return tuple((value, fits[f"critic_{index}_r2"]) for index, value in enumerate(fitted))

    def scores(self, epsilons: Sequence[float], names: Sequence[str] | None = None) -> list[Score]:
        """The clean score, and one for every attack at every positive ε."""
        for epsilon in epsilons:
            check_number("epsilon", epsilon)
        victim = self.victim
        clean = AttackedHiders(victim.actor, None, self._generator())
        results = [score(victim.match, clean, "none", 0.0)]
        for name in self.names if names is None else names:
            for epsilon in epsilons:
                if epsilon > 0:
                    results.append(self._score(name, epsilon))
        return results

    def sensitivity(self, epsilon: float, rows: int = 2048) -> dict[str, float]:
        """Jacobian diagnostics on visited states, along the MAD attack; see ``aajr.diagnose``."""
        victim = self.victim
        actor, match = victim.actor, victim.match
        few = replace(match, episodes=min(match.episodes, 64))
        record = play(few, lambda x: greedy_heads(actor(x), actor.heads))
        states = record.observation.flatten(0, 2)
        generator = self._generator()
        states = states[torch.randperm(len(states), generator=generator)[:rows]]
        threat: Threat = "full" if victim.on_logits else victim.threat
        mask = attackable_features(match.config, "hider", threat)
        adversary = ProjectedGradientAscent(
            Ball("linf", epsilon, mask=mask), victim.divergence, steps=self.budget.steps
        )
        trajectory = adversary(actor, states, generator)
        return diagnose(actor, trajectory, generator, metric=victim.metric)

    def _score(self, name: str, epsilon: float) -> Score:
        victim = self.victim
        adversary = self._adversary(name, epsilon)
        hiders = AttackedHiders(victim.actor, adversary, self._generator(), victim.on_logits)
        return score(victim.match, hiders, name, epsilon)

    def _adversary(self, name: str, epsilon: float) -> Adversary:
        if name not in self.names:
            raise ValueError(f"attack={name!r} is unknown; choose among {self.names}")
        builders: dict[str, attacks.Builder] = {
            "noise": attacks.noise,
            "mad": attacks.pgd_mad,
        }
        if name not in builders:
            builders[name] = attacks.critic(int(name.removeprefix("critic_")))
        return builders[name](self.victim.ball(epsilon), self.victim)

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.victim.match.seed + 3)


def prepare_suite(actor: Actor, match: Match, threat: Threat, budget: AttackBudget) -> AttackSuite:
    """Hold everything ready; critics are fitted on the victim's own rollouts when first needed.

    Raises:
        ValueError: an unknown threat, an actor that does not read this game's observations.
    """
    effort = Effort(
        steps=budget.steps, restarts=budget.restarts, critic_episodes=budget.critic_episodes
    )
    return AttackSuite(Victim(actor, match, threat, effort), budget)
