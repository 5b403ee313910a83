"""Comparison of methods over the seeds of an evaluation."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aajr.arena.records.evaluation import Assessment, Evaluation
from aajr.statistics.comparisons import (
    difference,
    median_seed,
    performance_profile,
    probability_of_improvement,
)
from aajr.statistics.intervals import Interval, bootstrap, sign_flip_probability

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(20))
"""Thresholds of success for performance profiles."""

Values = Mapping[int, float]


@dataclass(frozen=True)
class MethodSummary:
    """A method over its seeds.

    Attributes:
        method: name of the method.
        clean: interquartile mean of the clean success.
        worst: interquartile mean of the worst success over the suite, by ε.
        worst_in_ball: the same without attacks with a fixed budget.
        worst_per_episode: interquartile mean of the share of episodes won under every attack,
            by ε.
        median: worst success of the median agent, by ε, as in the literature.
        median_seed: seed of the median agent, by ε.
        area: interquartile mean of the area under the ε-curve, which is the mean worst success in
            the ball; None without positive ε.
        profile: share of the seeds whose worst success at the largest ε is above each of
            ``THRESHOLDS``.
    """

    method: str
    clean: Interval
    worst: Mapping[float, Interval]
    worst_in_ball: Mapping[float, Interval]
    worst_per_episode: Mapping[float, Interval]
    median: Mapping[float, float]
    median_seed: Mapping[float, int]
    area: Interval | None
    profile: tuple[Interval, ...]


@dataclass(frozen=True)
class Comparison:
    """One method against another in one figure.

    Attributes:
        first: name of a method.
        second: name of another method.
        figure: ``clean``, ``worst at ε = …`` or ``area``.
        difference: first minus second; they count as different only if its interval excludes zero.
        improvement: probability that a seed of the first does better than one of the second.
        chance: probability of a paired difference this large under chance, by the exact
            sign-flip test; None without common seeds. With n seeds it is never below 2^(1-n). Read
            it together with the interval, which is too narrow for few seeds.
    """

    first: str
    second: str
    figure: str
    difference: Interval
    improvement: Interval
    chance: float | None

    @property
    def verdict(self) -> str:
        """``higher``, ``lower``, or ``not separated``."""
        return ("not separated", "higher", "lower")[self.difference.sign]


def method_summaries(evaluation: Evaluation) -> tuple[MethodSummary, ...]:
    """Summarise every method of an evaluation, in the order of appearance."""
    return tuple(_summary(name, runs) for name, runs in _by_method(evaluation).items())


def comparisons(evaluation: Evaluation) -> tuple[Comparison, ...]:
    """Compare every pair of methods in every figure."""
    found = []
    for (one, first), (other, second) in itertools.combinations(_by_method(evaluation).items(), 2):
        mine, theirs = _figures(first), _figures(second)
        for figure in (name for name in mine if name in theirs):
            x, y = mine[figure], theirs[figure]
            improvement = probability_of_improvement([*x.values()], [*y.values()])
            gaps = [x[seed] - y[seed] for seed in sorted(x.keys() & y.keys())]
            chance = sign_flip_probability(gaps) if gaps else None
            found.append(Comparison(one, other, figure, difference(x, y), improvement, chance))
    return tuple(found)


def _by_method(evaluation: Evaluation) -> dict[str, list[Assessment]]:
    methods: dict[str, list[Assessment]] = {}
    for item in evaluation.assessments:
        methods.setdefault(item.method, []).append(item)
    return methods


def _figures(runs: Sequence[Assessment]) -> dict[str, Values]:
    figures: dict[str, Values] = {"clean": {r.seed: r.clean.score.success for r in runs}}
    for epsilon in runs[0].epsilons:
        worst = {run.seed: run.worst(epsilon).score.success for run in runs}
        figures[f"worst at ε = {epsilon:g}"] = worst
    areas = {run.seed: run.area for run in runs}
    known = {seed: area for seed, area in areas.items() if area is not None}
    return figures | ({"area": known} if known else {})


def _summary(method: str, runs: Sequence[Assessment]) -> MethodSummary:
    epsilons = runs[0].epsilons
    worst = {e: {run.seed: run.worst(e).score.success for run in runs} for e in epsilons}
    medians = {epsilon: median_seed(values) for epsilon, values in worst.items()}
    areas = [run.area for run in runs if run.area is not None]
    last = [*worst[epsilons[-1]].values()] if epsilons else []
    return MethodSummary(
        method=method,
        clean=bootstrap([run.clean.score.success for run in runs]),
        worst={e: bootstrap([*values.values()]) for e, values in worst.items()},
        worst_in_ball={
            e: bootstrap([run.worst(e, in_ball=True).score.success for run in runs])
            for e in epsilons
        },
        worst_per_episode={
            e: bootstrap([run.worst_per_episode(e) for run in runs]) for e in epsilons
        },
        median={epsilon: worst[epsilon][seed] for epsilon, seed in medians.items()},
        median_seed=medians,
        area=bootstrap(areas) if areas else None,
        profile=performance_profile(last, THRESHOLDS) if last else (),
    )
