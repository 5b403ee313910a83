"""The findings of a report, in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from aajr.arena.records.evaluation import CLEAN, Trial
from aajr.report.wording import amount, listed
from aajr.statistics.intervals import mean_difference

if TYPE_CHECKING:
    from aajr.arena.reports.report import Report

LIMITS = (
    "An attack that fails proves nothing: a stronger one may succeed. Only a certificate holds for "
    "every perturbation; see aajr.certification.",
    "The worst case is the lowest of several measured means. Its interval does not account for "
    "this choice.",
    "The figures hold for this agent, environment, ball and unit, and for the initial states of "
    "this seed.",
)
"""What the figures of every report do not say."""


WEAK = 0.05
"""Share of the return that a weakness costs at least."""


def findings_of(report: Report) -> tuple[str, ...]:
    """The findings of a report: its worst case, noise, masked gradients, failed checks."""
    return (
        _worst(report),
        *_noise(report),
        *_floor(report),
        *_masked(report),
        *_unusual(report),
    )


def _worst(report: Report) -> str:
    worst, clean = report.worst, report.clean
    ball = f"ε = {report.epsilon:g} ({report.unit})"
    if worst.attack == CLEAN or not _hurts(report, worst.attack, worst.epsilon):
        return (
            f"No attack of this suite lowered the return within {ball}: without an attack it is "
            f"{amount(clean.estimate)}. This does not prove that there is none."
        )
    fall = ""
    if clean.estimate > 0:
        share = 1 - worst.mean_return.estimate / clean.estimate
        fall = f", by {share:.0%}" if share >= 0.01 else ", by less than 1%"
    place = "" if worst.epsilon == report.epsilon else f" at ε = {worst.epsilon:g}"
    before, after = amount(clean.estimate), amount(worst.mean_return.estimate)
    less = amount(clean.estimate - worst.mean_return.estimate)
    where = f"by {less}" if before == after else f"to {after}"
    return (
        f"Within {ball} the mean return falls from {before} {where}{fall}, under "
        f"{worst.attack}{place}."
    )


def _noise(report: Report) -> Iterator[str]:
    worst, clean = report.worst, report.clean.estimate
    name = next((name for name in ("noise", "liars_noise") if name in report.attacks), None)
    if name is None or not _hurts(report, worst.attack, worst.epsilon):
        return
    noise = report.estimate(name, report.epsilon)
    harm, most = clean - noise, clean - worst.mean_return.estimate
    if harm < most / 2 and most > WEAK * abs(clean):
        yield (
            f"Uniform noise of the same size leaves {amount(noise)}: a test with noise would not "
            "have shown this weakness."
        )


def _floor(report: Report) -> Iterator[str]:
    floor, worst = report.random_return, report.worst.mean_return.estimate
    if floor is None:
        return
    if report.clean.estimate <= floor:
        yield (
            f"Uniformly random actions earn {amount(floor)}, not less than the agent: there is "
            "nothing for an attack to take."
        )
    elif worst <= floor:
        yield f"The worst case is no better than uniformly random actions ({amount(floor)})."


def _masked(report: Report) -> Iterator[str]:
    """Black-box attacks that beat every gradient attack, agent by agent."""
    for one in report.agents:
        for epsilon in one.assessment.epsilons:
            trials = one.assessment.at(epsilon, in_ball=True)
            gradient = [trial for trial in trials if trial.kind == "gradient"]
            for rival in (trial for trial in trials if trial.kind == "black_box"):
                if gradient and all(_difference(g, rival) > 0 for g in gradient):
                    yield (
                        f"{rival.score.attack} beats every gradient attack at ε = {epsilon:g}: "
                        "gradients may be masked."
                    )
    blind = [
        t.score.attack for one in report.agents for t in one.assessment.trials if t.zero_gradients
    ]
    if blind:
        yield f"Only zero gradients were seen by {listed(list(dict.fromkeys(blind)))}."


def _unusual(report: Report) -> Iterator[str]:
    """Checks that did not hold, and attacks that stopped with an error."""
    for one in report.agents:
        yield from (f"Check of {c.name}: {c.words}" for c in one.checks if not c.held)
        yield from (f"{name} stopped: {error}" for name, error in one.failures.items())


def _hurts(report: Report, attack: str, epsilon: float) -> bool:
    """Whether an attack lowers the return: over episodes for one agent, or over agents."""
    if attack == CLEAN:
        return False
    trials, clean = report.trials(attack, epsilon), report.trials(CLEAN, 0.0)
    if len(trials) == 1 == len(clean):
        return _difference(clean[0], trials[0]) > 0
    return report.estimate(attack, epsilon) < report.clean.estimate


def _difference(first: Trial, second: Trial) -> int:
    """+1 if the first return exceeds the second by more than chance, paired over episodes."""
    gaps = np.subtract(first.returns, second.returns)
    found = mean_difference(gaps.tolist())
    return found.sign if found.low is not None else int(np.sign(found.estimate))
