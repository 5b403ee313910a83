"""The attacks of a comparison as a suite, and measurements on the trained policies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from aajr._checks import check_choice, check_number
from aajr._modes import Policy
from aajr._seeds import derive
from aajr.adversaries import Adversary, LyingSources, ProjectedGradientAscent
from aajr.arena.attacks import builders as attacks
from aajr.arena.attacks.suites import THOROUGH, AttackSpec, Suite
from aajr.arena.attacks.victim import Victim
from aajr.arena.environments.episodes import AttackedTeam, Outcome, play, score
from aajr.arena.examination.trials import attacked_match
from aajr.arena.records.evaluation import Score
from aajr.arena.threats import Threat
from aajr.diagnostics import diagnose
from aajr.geometry import Ball
from aajr.studies.comparison.presets import Preset
from aajr.studies.responses import belief_and_angle, directions, lying, shifts_of_estimates
from aajr.trajectory import Reference, Trajectory


@final
@dataclass(frozen=True, eq=False)
class AgreedLie(Adversary):
    """Move reports by ε in each coordinate, against the sign of the median of all reports.

    A lie thus points to the other side of the hider. The attack uses no gradient and does not query
    the policy. All lying sources tell consistent lies, because they use the same median.

    Attributes:
        ball: the L∞ ball of the lie; its mask selects the reports that are moved.
        sources: number of the source that reports each feature, -1 for none, ``[features]``.

    Example:
        >>> sources = torch.tensor([-1, 0, 0, 1, 1, 2, 2])
        >>> x = torch.tensor([[9.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0]])
        >>> lie = AgreedLie(Ball("linf", 4.0, mask=torch.arange(7) > 4), sources)
        >>> lie(torch.tanh, x, torch.Generator()).worst.round().int()
        tensor([[ 9,  1, -1,  2, -2, -1,  1]], dtype=torch.int32)
    """

    ball: Ball
    sources: Tensor

    def run(self, policy: Policy, reference: Reference, generator: torch.Generator) -> Trajectory:
        """Make the lie, in a single step."""
        x = reference.inputs
        told, count = self.sources >= 0, int(self.sources.max()) + 1
        median = x[:, told].reshape(len(x), count, -1).median(1, keepdim=True).values
        away = torch.zeros_like(x)
        away[:, told] = -self.ball.epsilon * median.sign().expand(-1, count, -1).flatten(1)
        delta = self.ball.project(away, x)
        return Trajectory(
            reference=reference,
            points=torch.stack([x, x + delta]),
            gradients=delta.unsqueeze(0),
            losses=torch.zeros(1, len(x)),
            worst=x + delta,
            event_dims=self.ball.budget_dims,
            forward_passes=1,
        )


def _agreed(ball: Ball, victim: Victim) -> Adversary:
    return AgreedLie(ball, victim.match.sources)


_SARSA = attacks.liars("gradient", attacks.robust_sarsa(0.1))

ATTACKS: dict[str, AttackSpec] = {
    **{spec.name: spec for spec in THOROUGH.attacks},
    "hand_lie": AttackSpec("hand_lie", "structured", attacks.liars("given", _agreed), ("reports",)),
    "sarsa_ranked": AttackSpec("sarsa_ranked", "gradient", _SARSA, ("reports",)),
}
"""Attacks by name.

They are the attacks of the suites; :class:`AgreedLie` by a given coalition of sources; and Robust
Sarsa, where the sources lie that gain most by its gradient.
"""


def suite_of(preset: Preset) -> Suite:
    """The attacks that the preset names; by default noise, MAD and freshly fitted critics.

    Example:
        >>> from aajr.studies.comparison.presets import PRESETS
        >>> [spec.name for spec in suite_of(PRESETS["others"]).attacks]
        ['noise', 'mad', 'critic_0']
    """
    title = f"comparison, {preset.name}"
    if preset.attacks is not None:
        for name in preset.attacks:
            check_choice("attacks", name, tuple(ATTACKS))
        named = tuple(ATTACKS[name] for name in preset.attacks)
        return Suite(title, version=1, effort=preset.effort, attacks=named)
    critics = (
        AttackSpec(f"critic_{index}", "gradient", attacks.critic(index))
        for index in range(preset.critics)
    )
    specs = (
        AttackSpec("noise", "noise", attacks.noise),
        AttackSpec("mad", "gradient", attacks.pgd_mad),
        *critics,
    )
    return Suite(title, version=1, effort=preset.effort, attacks=specs)


def scores_of(victim: Victim, suite: Suite, epsilons: Sequence[float]) -> list[Score]:
    """The clean score, then a score for every attack at every positive ε."""
    return [outcome.score for outcome in outcomes_of(victim, suite, epsilons)]


def outcomes_of(
    victim: Victim, suite: Suite, epsilons: Sequence[float], *, clean: bool = True
) -> list[Outcome[Any]]:
    """Play a match for every attack at every positive ε; with ``clean`` a clean match first."""
    for epsilon in epsilons:
        check_number("epsilon", epsilon)
    balls = [victim.ball(epsilon) for epsilon in epsilons if epsilon > 0]
    attacked = [
        attacked_match(victim, spec, spec.build(ball, victim))
        for spec in suite.attacks
        for ball in balls
    ]
    return [attacked_match(victim), *attacked] if clean else attacked


def sensitivity(victim: Victim, epsilon: float, rows: int = 2048) -> dict[str, float]:
    """Jacobian diagnostics on visited states, along the MAD attack; see ``aajr.diagnose``."""
    actor, match = victim.actor, victim.match
    generator = torch.Generator().manual_seed(derive(match.seed, "sensitivity"))
    states = _visited(victim, rows, generator)
    threat: Threat = "full" if victim.on_logits else victim.threat
    mask = match.attackable(threat)
    adversary: Adversary = ProjectedGradientAscent(
        Ball("linf", epsilon, mask=mask), victim.divergence, steps=victim.effort.steps
    )
    if threat == "reports":
        adversary = LyingSources(adversary, match.sources, match.liars)
    trajectory = adversary(actor, states, generator)
    return diagnose(actor, trajectory, generator, metric=victim.metric)


def responses(victim: Victim, heads: tuple[int, ...], rows: int = 256) -> dict[str, list[float]]:
    """Measure how a policy, the mean and the median respond to lies of growing size.

    In visited states the first k sources move their reports by the same lie. Its direction is drawn
    at random for every state.

    Returns:
        ``lie``: the sizes of the lie. ``belief``: the common shift of all reports that gives the
        closest output. ``angle``: the geodesic distance between the outputs with and without the
        lie. ``mean`` and ``median``: the shifts of these estimates of the position. All but ``lie``
        are means over the states.
    """
    match, sizes = victim.match, (0.0, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
    seed = derive(match.seed, "responses")
    states = _visited(victim, rows, torch.Generator().manual_seed(seed))
    part, along = match.sources >= 0, directions(len(states), seed)
    reports = states[:, part].reshape(len(states), -1, 2)

    def told(reports: Tensor) -> Tensor:
        changed = states.clone()
        changed[:, part] = reports.flatten(1)
        return changed

    lies = [lying(reports, match.liars, size * along) for size in sizes]
    shifts = torch.linspace(-2, 2, 81)
    found = belief_and_angle(victim.actor, told, reports, lies, shifts, along, heads)
    return {
        "lie": list(sizes),
        "belief": [round(float(belief.mean()), 5) for belief, _ in found],
        "angle": [round(float(angle.mean()), 5) for _, angle in found],
        **shifts_of_estimates(reports, match.liars, sizes, along),
    }


def silenced_success(victim: Victim) -> float:
    """Success of the hiders without reports: all reports are set to zero."""
    match, actor = victim.match, victim.actor
    trusted = match.sources < 0

    @torch.no_grad()
    def act(observation: Tensor, episodes: Tensor) -> Tensor:
        return actor.head.act(actor(observation * trusted))

    return score(match, act, "silence", 0.0).success


def _visited(victim: Victim, rows: int, generator: torch.Generator) -> Tensor:
    """A random subset of the observations in clean episodes."""
    match = victim.match
    few = match.resized(min(match.episodes, 64), match.seed)
    record = play(few, AttackedTeam(victim.actor, None, torch.Generator()))
    states = record.observation.flatten(0, 2)
    return states[torch.randperm(len(states), generator=generator)[:rows]]
