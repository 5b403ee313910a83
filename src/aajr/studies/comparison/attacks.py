"""The attacks of a comparison as a suite, and the sensitivity of what was trained."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from aajr._checks import check_number
from aajr._seeds import derive
from aajr.adversaries import ProjectedGradientAscent
from aajr.arena import attacks
from aajr.arena.episodes import AttackedTeam, play
from aajr.arena.examination import attacked_match
from aajr.arena.records import Score
from aajr.arena.suites import AttackSpec, Suite
from aajr.arena.threats import Threat
from aajr.arena.victim import Victim
from aajr.diagnostics import diagnose
from aajr.geometry import Ball
from aajr.studies.comparison.presets import Preset


def suite_of(preset: Preset) -> Suite:
    """Noise, MAD and freshly fitted critics, as hard as the preset says.

    Example:
        >>> from aajr.studies.comparison.presets import PRESETS
        >>> [spec.name for spec in suite_of(PRESETS["quick"]).attacks]
        ['noise', 'mad', 'critic_0']
    """
    critics = (
        AttackSpec(f"critic_{index}", "gradient", attacks.critic(index))
        for index in range(preset.critics)
    )
    specs = (
        AttackSpec("noise", "noise", attacks.noise),
        AttackSpec("mad", "gradient", attacks.pgd_mad),
        *critics,
    )
    return Suite(f"comparison, {preset.name}", version=1, effort=preset.effort, attacks=specs)


def scores_of(victim: Victim, suite: Suite, epsilons: Sequence[float]) -> list[Score]:
    """The clean score, and one for every attack at every positive ε."""
    attacked = attacked_scores(victim, suite, epsilons)
    return [attacked_match(victim).score, *attacked]


def attacked_scores(victim: Victim, suite: Suite, epsilons: Sequence[float]) -> list[Score]:
    """A score for every attack at every positive ε."""
    for epsilon in epsilons:
        check_number("epsilon", epsilon)
    balls = [victim.ball(epsilon) for epsilon in epsilons if epsilon > 0]
    return [
        attacked_match(victim, spec, spec.build(ball, victim)).score
        for spec in suite.attacks
        for ball in balls
    ]


def sensitivity(victim: Victim, epsilon: float, rows: int = 2048) -> dict[str, float]:
    """Jacobian diagnostics on visited states, along the MAD attack; see ``aajr.diagnose``."""
    actor, match = victim.actor, victim.match
    few = match.resized(min(match.episodes, 64), match.seed)
    record = play(few, AttackedTeam(actor, None, torch.Generator()))
    states = record.observation.flatten(0, 2)
    generator = torch.Generator().manual_seed(derive(match.seed, "sensitivity"))
    states = states[torch.randperm(len(states), generator=generator)[:rows]]
    threat: Threat = "full" if victim.on_logits else victim.threat
    mask = match.attackable(threat)
    adversary = ProjectedGradientAscent(
        Ball("linf", epsilon, mask=mask), victim.divergence, steps=victim.effort.steps
    )
    trajectory = adversary(actor, states, generator)
    return diagnose(actor, trajectory, generator, metric=victim.metric)
