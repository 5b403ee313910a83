"""Builders of the suites' attacks, from the ball of the threat and the victim.

Attacks that maximise a task objective use the first fitted critic, so that attacks with and without
gradients can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, final

import torch
from torch import Tensor

from aajr._modes import Policy
from aajr.adversaries import (
    CMAES,
    NES,
    SPSA,
    Adversary,
    AttackOn,
    AutoPGD,
    CoordinateAscent,
    EpisodeBudget,
    LeastValue,
    LyingSources,
    Mixture,
    ProjectedGradientAscent,
    RandomSearch,
    SmoothedAscent,
    SparseAscent,
    Square,
    SubsetSearch,
    Targeted,
    TemporallyCoupled,
    Transfer,
    UniformNoise,
    Who,
    fgsm,
)
from aajr.arena.attacks.learned import Kind
from aajr.arena.attacks.victim import Victim
from aajr.arena.environments.protocols import Environment
from aajr.arena.settings import USUAL, Learning
from aajr.geometry import Ball, Delayed, Dropped, Frozen, Quantised, Sparse, ThreatSet
from aajr.trajectory import Objective, Reference, Trajectory

Builder = Callable[[Ball, Victim], Adversary]

ITEMS = "items (teammates or opponents perceived)"
VIEWS = "late views of all attackable features"
CLAIMS = "L∞, observation units; any claim within the arena"
LOGITS = "L∞, logits"

LOST_ITEMS = 2
"""Number of items that ``dropped`` and ``frozen`` change."""

SPARSE_FEATURES = 4
"""Number of features that ``sparse`` changes."""

DELAY = 4
"""Greatest delay, in steps, of ``delayed``."""

LOGIT_BUDGET = 1.0
"""Radius of ``actions``."""


def noise(ball: Ball, victim: Victim) -> Adversary:
    """Uniform noise."""
    return UniformNoise(ball)


def fast_gradient(ball: Ball, victim: Victim) -> Adversary:
    """One step of size ε against the critic."""
    return fgsm(ball, _task(victim))


def pgd_mad(ball: Ball, victim: Victim) -> Adversary:
    """The greatest change of the action distribution, by projected gradient ascent."""
    return _ascent(ball, victim, victim.divergence)


def apgd_mad(ball: Ball, victim: Victim) -> Adversary:
    """The greatest change of the action distribution, by APGD with adaptive step sizes."""
    effort = victim.effort
    return AutoPGD(ball, victim.divergence, steps=2 * effort.steps, restarts=effort.restarts)


def critic(index: int) -> Builder:
    """The action of least value under a fitted critic."""
    return lambda ball, victim: _ascent(ball, victim, victim.least(victim.critic(index)))


def value(ball: Ball, victim: Victim) -> Adversary:
    """The observation of least V."""
    return AttackOn(victim.state_value, _ascent(ball, victim, LeastValue()))


def targeted(ball: Ball, victim: Victim) -> Adversary:
    """A targeted attack towards each head's entry of least value under the critic."""
    search = _ascent(ball, victim, Targeted(victim.metric))
    return TowardsTarget(search, victim.least_action)


def robust_sarsa(weight: float) -> Builder:
    """The action of least value under Robust Sarsa's Q."""
    return lambda ball, victim: _ascent(ball, victim, victim.least(victim.robust_sarsa(weight)))


def rs_mad(weight: float) -> Builder:
    """A mixture of Robust Sarsa and MAD, each divided by its own scale."""

    def build(ball: Ball, victim: Victim) -> Adversary:
        sarsa, mad = victim.least(victim.robust_sarsa(0.1)), victim.divergence
        scales = victim.scale(sarsa, ball), victim.scale(mad, ball)
        return _ascent(ball, victim, Mixture(sarsa, mad, weight, *scales))

    return build


def smoothed(ball: Ball, victim: Victim) -> Adversary:
    """Ascent by gradients that are averaged over randomly shifted points."""
    effort = victim.effort
    return SmoothedAscent(ball, _task(victim), steps=effort.steps, restarts=effort.restarts)


def random_search(ball: Ball, victim: Victim) -> Adversary:
    """The worst of many random perturbations."""
    return RandomSearch(ball, _task(victim), queries=victim.effort.queries)


def square(ball: Ball, victim: Victim) -> Adversary:
    """The Square attack: random search by blocks of features."""
    return Square(ball, _task(victim), queries=victim.effort.queries)


def nes(ball: Ball, victim: Victim) -> Adversary:
    """Natural evolution strategies."""
    return NES(ball, _task(victim), steps=victim.effort.steps, samples=_pairs(victim))


def spsa(ball: Ball, victim: Victim) -> Adversary:
    """SPSA: gradient estimates by simultaneous perturbations."""
    return SPSA(ball, _task(victim), steps=victim.effort.steps, samples=_pairs(victim))


def cma_es(ball: Ball, victim: Victim) -> Adversary:
    """CMA-ES, run separately for every decision."""
    return CMAES(ball, _task(victim), generations=victim.effort.generations)


def transfer(ball: Ball, victim: Victim) -> Adversary:
    """The perturbation that is worst for an imitation of the victim."""
    return Transfer(victim.imitation, _ascent(ball, victim, _task(victim)))


def learned(kind: Kind, learning: Learning = USUAL) -> Builder:
    """An attacker trained on the victim at this ε."""
    return lambda ball, victim: victim.attacker(kind, ball, learning=learning)


def learned_liars(kind: Kind, *, stay: bool = False, learning: Learning = USUAL) -> Builder:
    """An attacker trained on the victim at this ε, which also chooses the k sources that lie.

    It chooses them at every step, or with ``stay`` at an episode's first step.
    """

    def build(ball: Ball, victim: Victim) -> Adversary:
        threat = Sparse(ball, victim.match.liars, victim.match.sources)
        return victim.attacker(kind, threat, keep_liars=stay, learning=learning)

    return build


def sparse(ball: Ball, victim: Victim) -> Adversary:
    """Changes of a few features, each by at most ε."""
    effort, few = victim.effort, Sparse(ball, SPARSE_FEATURES)
    return SparseAscent(few, _task(victim), steps=effort.steps, restarts=effort.restarts)


def quantised(ball: Ball, victim: Victim) -> Adversary:
    """Changes of every feature by -ε, 0 or ε, found without gradients."""
    grid = Quantised(ball, ball.epsilon)
    return CoordinateAscent(grid, _task(victim), sweeps=victim.effort.sweeps, restarts=0)


def temporal(ball: Ball, victim: Victim) -> Adversary:
    """Perturbations that change by at most ε/4 from step to step."""
    return TemporallyCoupled(_ascent(ball, victim, _task(victim)), reach=ball.epsilon / 4)


def episode_budget(ball: Ball, victim: Victim) -> Adversary:
    """Perturbations whose sum over an episode is at most a quarter of ε times its steps."""
    total = ball.epsilon * victim.match.steps / 4
    return EpisodeBudget(_ascent(ball, victim, _task(victim)), total)


def dropped(ball: Ball, victim: Victim) -> Adversary:
    """Items are dropped: the agent does not perceive them."""
    lost = Dropped(victim.match.items, LOST_ITEMS)
    return SubsetSearch(lost, _task(victim))


def frozen(ball: Ball, victim: Victim) -> Adversary:
    """Items are frozen: the agent perceives them as one step before."""
    stale = Frozen(victim.match.items, LOST_ITEMS)
    return SubsetSearch(stale, _task(victim))


def delayed(ball: Ball, victim: Victim) -> Adversary:
    """All attackable features are delayed by the worst number of steps."""
    if victim.mask is None:
        raise ValueError("victim.mask is None; say which features may be shown late")
    late = Delayed(victim.mask.long() - 1, DELAY)
    return SubsetSearch(late, _task(victim))


def lies(ball: Ball, victim: Victim) -> Adversary:
    """Two fifths of the team report false positions, anywhere in the arena, to the others."""
    match = victim.match
    liars = range(match.agents - max(1, 2 * match.agents // 5), match.agents)
    told = match.told(liars).repeat(match.episodes, 1)
    low, high = match.claims
    claims = Ball("linf", _widest(match, told.any(0)), mask=told, low=low, high=high)
    return _ascent(claims, victim, _task(victim))


def liars(who: Who, search: Builder) -> Builder:
    """Restrict a search to the reports of k sources, which ``who`` chooses."""

    def build(ball: Ball, victim: Victim) -> Adversary:
        match = victim.match
        return LyingSources(search(ball, victim), match.sources, match.liars, who)

    return build


def any_lie(ball: Ball, victim: Victim) -> Adversary:
    """The worst coalition of k sources reports anything that a source can claim."""
    match = victim.match
    everything = replace(ball, epsilon=_widest(match, match.sources >= 0))
    return liars("all", critic(0))(everything, victim)


def drift(ball: Ball, victim: Victim) -> Adversary:
    """The same sources lie during the whole episode; lies change by at most ε/16 per step."""
    slow = TemporallyCoupled(_ascent(ball, victim, _task(victim)), reach=ball.epsilon / 16)
    return LyingSources(slow, victim.match.sources, victim.match.liars, "given")


def other_side(ball: Ball, victim: Victim) -> Adversary:
    """The worst coalition of k sources; the target is the victim's output at mirrored reports.

    Reports are mirrored about the middle of what a source can claim, or about 0 without limits.
    """
    told = ball.attackable(torch.zeros(1, victim.match.features))
    low, high = (torch.as_tensor(torch.inf if e is None else e) for e in victim.match.claims)
    around = told * (low + high).nan_to_num(0.0, 0.0, 0.0)

    @torch.no_grad()
    def target(x: Tensor) -> Tensor:
        return victim.actor(x * (1 - 2 * told) + around)

    search = liars("all", lambda ball, victim: _ascent(ball, victim, Targeted(victim.metric)))
    return TowardsTarget(search(ball, victim), target)


def actions(ball: Ball, victim: Victim) -> Adversary:
    """Shifts of the logits towards the action of least value."""
    objective = victim.least(victim.critic(0), on_logits=True)
    return _ascent(Ball("linf", LOGIT_BUDGET), victim, objective)


@final
@dataclass(frozen=True, eq=False)
class TowardsTarget(Adversary):
    """Compute ``data["target"]`` from the clean inputs and run an adversary that reads it.

    Attributes:
        adversary: the search, with its ball and objective.
        target: map from clean inputs ``[batch, *event]`` to targets in the policy's output.

    Source: Lin et al., Tactics of adversarial attack on deep RL agents, 2017,
    https://arxiv.org/abs/1703.06748.
    """

    adversary: Adversary
    target: Callable[[Tensor], Tensor]
    ball: ThreatSet = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ball", self.adversary.ball)

    def run(self, policy: Policy, reference: Reference, generator: torch.Generator) -> Trajectory:
        """Compute the target, then search."""
        data = {**reference.data, "target": self.target(reference.inputs)}
        found = self.adversary.run(policy, replace(reference, data=data), generator)
        return replace(found, reference=reference)


def _task(victim: Victim) -> Objective:
    return victim.least(victim.critic(0))


def _ascent(ball: Ball, victim: Victim, objective: Objective) -> ProjectedGradientAscent:
    effort = victim.effort
    return ProjectedGradientAscent(
        ball, objective, steps=effort.steps, restarts=effort.restarts, select="best"
    )


def _widest(match: Environment[Any], told: Tensor) -> float:
    """The greatest distance between two values that can be reported of the features ``told``.

    Raises:
        ValueError: reports without limits.
    """
    low, high = match.claims
    width = math.inf
    if low is not None and high is not None:
        width = float((torch.as_tensor(high) - torch.as_tensor(low)).expand(len(told))[told].max())
    if not math.isfinite(width):
        raise ValueError(
            f"claims={match.claims} leave reports without limits, so no lie is the greatest; give "
            "the least and greatest value of a report"
        )
    return width


def _pairs(victim: Victim) -> int:
    """Antithetic pairs per step within the budget of queries."""
    return max(1, victim.effort.queries // (2 * victim.effort.steps))
