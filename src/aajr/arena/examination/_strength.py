"""Checks that show the strength of the attacks on one agent."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from aajr._seeds import derive
from aajr.adversaries import (
    Adversary,
    MaskedGradientWarning,
    ProjectedGradientAscent,
    Square,
)
from aajr.arena.attacks.suites import AttackSpec
from aajr.arena.attacks.victim import Victim
from aajr.arena.environments.episodes import AttackedTeam, play
from aajr.arena.examination.trials import attacked_match
from aajr.arena.records.evaluation import CLEAN, Trial
from aajr.arena.reports.report import Check
from aajr.geometry import Ball
from aajr.report.wording import amount, listed

STATES = 256
"""States on which searches are compared."""

REPLAYED = 4
"""Episodes that are played twice."""

SLACK = 0.1
"""Share by which a search may stay behind another one, since both start at random."""


@dataclass(frozen=True, eq=False)
class Strength:
    """The checks of the attacks on one agent.

    Attributes:
        victim: the agent, with what was fitted to it.
        trials: its trials.
        suite: the attacks that were run.
        epsilon: radius of the ball.
    """

    victim: Victim
    trials: Sequence[Trial]
    suite: Sequence[AttackSpec]
    epsilon: float

    def checks(self) -> Iterator[Check]:
        """All checks; one that stops with an error did not hold, and says so."""
        made: dict[str, Callable[[], Check]] = {
            "the ball": self._inside,
            "reach": self._reached,
            "noise": self._beyond_noise,
            "the size of ε": self._spread,
        }
        if any(spec.needs_gradients for spec in self.suite):
            made |= {"more steps": self._longer_climb, "gradients": self._gradients}
        else:
            made |= {"more queries": self._longer_search}
        for name, check in (made | {"the seed": self._repeated}).items():
            try:
                yield check()
            except Exception as error:  # the agent may raise anything
                words = f"stopped: {type(error).__name__}: {error}"
                yield Check(name=name, held=False, words=words)

    @property
    def random_returns(self) -> tuple[float, ...]:
        """Return of every episode with uniformly random actions; empty if they have no bounds."""
        head, match = self.victim.actor.head, self.victim.match
        if not all(map(torch.isfinite, map(torch.tensor, head.limits))):
            return ()
        source = torch.Generator().manual_seed(derive(match.seed, "random actions"))
        choose = partial(head.explore, share=1.0, generator=source)
        record: Any = play(match, AttackedTeam(self.victim.actor, None, source, choose=choose))
        return tuple(record.reward.double().sum(1).mean(1).tolist())

    @property
    def _attacked(self) -> list[Trial]:
        return [t for t in self.trials if t.score.attack != CLEAN and not t.fixed]

    def _inside(self) -> Check:
        """No perturbation was larger than ε."""
        scores = [trial.score for trial in self._attacked]
        share = max((s.largest_perturbation / s.epsilon for s in scores), default=0.0)
        words = f"the largest perturbation has {share:.4f} of ε"
        return Check(name="the ball", held=share <= 1.001, words=words)

    def _reached(self) -> Check:
        """Every attack changed what the policy sees, and some changed what it does."""
        none = [t.score.attack for t in self._attacked if t.score.largest_perturbation == 0]
        changed = max((t.score.changed_actions for t in self._attacked), default=0.0)
        words = f"attacks changed up to {changed:.1%} of the actions"
        if none:
            names = listed(list(dict.fromkeys(none)))
            words += f"; no perturbation that changes the output was found by {names}"
        elif changed == 0:
            words += "; the policy may ignore these features"
        return Check(name="reach", held=changed > 0 and not none, words=words)

    def _beyond_noise(self) -> Check:
        """Some attack is at least as bad as uniform noise of the same size."""
        at = [t for t in self._attacked if t.score.epsilon == self.epsilon]
        noise = [_mean(t) for t in at if t.kind == "noise"]
        found = [_mean(t) for t in at if t.kind != "noise"]
        if not noise or not found:
            return Check(name="noise", held=not noise, words="there is nothing to compare")
        words = (
            f"the worst attack leaves a return of {amount(min(found))}, noise {amount(min(noise))}"
        )
        return Check(name="noise", held=min(found) <= min(noise), words=words)

    def _spread(self) -> Check:
        """ε is smaller than the spread of what the agent usually sees."""
        victim = self.victim
        spread = victim.states.std(0)
        ball = victim.ball(self.epsilon)
        scale = torch.ones(()) if ball.scale is None else ball.scale
        able = ball.attackable(victim.states[:1])[0].bool()
        wide = (self.epsilon * scale > spread) & able
        words = (
            f"ε = {self.epsilon:g} exceeds the standard deviation of {int(wide.sum())} of "
            f"{int(able.sum())} attackable features over the agent's own states, whose median is "
            f"{amount(float(spread[able].median()))}"
        )
        if ball.scale is not None:
            words += "; ε is multiplied by the scale"
        return Check(name="the size of ε", held=2 * int(wide.sum()) <= int(able.sum()), words=words)

    def _longer_climb(self) -> Check:
        """More steps of gradient ascent reach no less."""
        steps = self.victim.effort.steps
        reached, longer = self._climbed(steps), self._climbed(4 * steps)
        return _compared("more steps", "four times the steps", longer, "the suite's", reached)

    def _gradients(self) -> Check:
        """Gradients reach no less than search without them."""
        effort = self.victim.effort
        climbed, searched = self._climbed(effort.steps), self._queried(effort.queries)
        return _compared("gradients", "gradients", climbed, "search without them", searched)

    def _longer_search(self) -> Check:
        """More queries reach no less."""
        queries = self.victim.effort.queries
        reached, longer = self._queried(queries), self._queried(4 * queries)
        return _compared("more queries", "four times the queries", longer, "the suite's", reached)

    @property
    def _ball(self) -> Ball:
        return self.victim.ball(self.epsilon)

    def _queried(self, queries: int) -> float:
        return self._reach(Square(self._ball, self.victim.divergence, queries=queries))

    def _climbed(self, steps: int) -> float:
        restarts = self.victim.effort.restarts
        ascent = ProjectedGradientAscent(
            self._ball, self.victim.divergence, steps=steps, restarts=restarts, select="best"
        )
        return self._reach(ascent)

    def _reach(self, search: Adversary) -> float:
        """Mean change of the action distribution that a search reaches on the agent's states."""
        victim, states = self.victim, self.victim.states[:STATES]
        source = torch.Generator().manual_seed(derive(victim.match.seed, "strength"))
        with _quiet():
            found = search(victim.actor, states, source)
        with torch.no_grad():
            outputs = victim.actor(found.worst)
            return float(victim.divergence(outputs, found.reference).mean())

    def _repeated(self) -> Check:
        """The same seed twice gives the same figures."""
        victim = self.victim
        few = replace(victim, match=victim.match.resized(REPLAYED, victim.match.seed))
        spec = next((s for s in self.suite if s.kind in ("gradient", "black_box")), None)
        same = []
        for one in (None, spec):
            with _quiet():
                adversary = None if one is None else one.build(self._ball, victim)
                first, second = (
                    attacked_match(few, one, adversary, may_find_none=True).record.reward
                    for _ in range(2)
                )
            same.append(torch.equal(first, second))
        words = f"{REPLAYED} episodes, played twice with one seed, are equal"
        if not all(same):
            words = (
                f"{REPLAYED} episodes, played twice with one seed, differ: the environment or the "
                "agent has randomness that the seed does not set"
            )
        return Check(name="the seed", held=all(same), words=words)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide warnings of masked gradients, which the trials have noted already."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MaskedGradientWarning)
        yield


def _compared(name: str, first: str, reached: float, second: str, other: float) -> Check:
    gain = reached / other - 1 if other > 0 else 0.0
    words = (
        f"{first} change the action distribution by {amount(reached)} on average, {second} by "
        f"{amount(other)} ({gain:+.0%})"
    )
    return Check(name=name, held=reached >= other * (1 - SLACK), words=words)


def _mean(trial: Trial) -> float:
    return sum(trial.returns) / len(trial.returns)
