"""What results say: summaries, comparisons, and what speaks against trusting them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median_low

from aajr.statistics.comparisons import holm
from aajr.statistics.frontiers import Comparison, Point, Verdict, compare_families
from aajr.statistics.intervals import (
    MINIMUM_SEEDS,
    Interval,
    area_under_curve,
    bootstrap,
    paired_difference,
    sign_flip_probability,
)
from aajr.studies.comparison.records import Results, Run

SUBJECT = "aajr"
"""The method that every other one is compared with."""

SHARED_METHOD = "adversarial"
"""The method without a penalty: weight zero of every family."""

MINIMUM_EPISODES = 500
"""With fewer episodes a standard error of a success may exceed two points."""


@dataclass(frozen=True)
class Summary:
    """One method under one threat, over the seeds of one split.

    Attributes:
        method: name of the method.
        weight: its chosen weight, or None.
        runs: one run for each seed.
        worst: worst-case success at each radius, interquartile mean with interval.
        area: mean height of the curve of worst-case success; None with fewer than two radii.
        median: worst-case success at the reference radius of the agent in the middle, of an even
            number the lower of the two: an agent that exists, not a mean.
    """

    method: str
    weight: float | None
    runs: tuple[Run, ...]
    worst: Mapping[float, Interval]
    area: Interval | None
    median: float | None

    def average(self, field: str, entry: str | None = None) -> float | None:
        """Mean over seeds of a field of the runs, or of an entry of it, where it was measured."""
        found = [getattr(run, field) for run in self.runs]
        values = found if entry is None else [mapping.get(entry) for mapping in found]
        known = [value for value in values if value is not None]
        return fmean(known) if known else None


@dataclass(frozen=True)
class PairedDifferences:
    """Chosen weight of the subject against that of a rival, paired by seed; None: not measured.

    Attributes:
        rival: the other method.
        clean: difference of clean success.
        worst: of worst-case success at the reference radius.
        area: of the mean worst-case success over the radii.
        chance: sign-flip probability of the differences in the worst case.
    """

    rival: str
    clean: Interval | None
    worst: Interval | None
    area: Interval | None
    chance: float | None = None


@dataclass(frozen=True)
class Analysis:
    """Everything that the tables and plots of one threat show.

    Attributes:
        threat: what the adversary may change.
        split: seeds behind the summaries; ``validation`` only if there are no final ones.
        frontier_split: seeds behind the frontiers.
        epsilon: the reference radius.
        radii: every radius, in rising order.
        summaries: one for each method, in the order of the results.
        comparisons: frontier of the subject against that of each other family; of every family
            against the next ones if the subject has none.
        differences: chosen weight of the subject against each other method.
        corrected: sign-flip probability by rival after Holm's correction: of the frontiers where
            the rival is a family, else of the chosen weights. The primary rivals, by default the
            families, are corrected together, and so are the others.
        runs: runs behind the frontiers.
        warnings: what speaks against trusting the figures, in sentences.
    """

    threat: str
    split: str
    frontier_split: str
    epsilon: float
    radii: tuple[float, ...]
    summaries: tuple[Summary, ...]
    comparisons: tuple[Comparison, ...]
    differences: tuple[PairedDifferences, ...]
    corrected: Mapping[str, float]
    runs: tuple[Run, ...]
    warnings: tuple[str, ...]


def analyse(results: Results) -> tuple[Analysis, ...]:
    """One analysis for each threat that the results hold, in the order of the runs."""
    threats = dict.fromkeys(run.threat for run in results.runs)
    return tuple(_analyse_threat(results, threat) for threat in threats)


def summarise(runs: Sequence[Run], epsilon: float) -> tuple[Summary, ...]:
    """Summaries of the chosen runs of one split and threat, in the order of the methods.

    Args:
        runs: runs; of a method with several weights only those marked as selected are taken.
        epsilon: reference radius, which decides the median agent.

    Returns:
        One summary for each method that has runs to take.
    """
    methods = dict.fromkeys(run.method for run in runs)
    chosen = {method: _chosen([r for r in runs if r.method == method]) for method in methods}
    return tuple(
        _summary(method, sorted(found, key=lambda run: run.seed), epsilon)
        for method, found in chosen.items()
        if found
    )


def family_points(runs: Sequence[Run], family: str, epsilon: float) -> dict[int, list[Point]]:
    """Clean and worst-case success of a family, for each seed, in the order of the weights.

    Args:
        runs: runs of one split and one threat.
        family: name of the family.
        epsilon: radius of the worst case.

    Returns:
        Points of each seed in which the family has a run. The adversarial run of the seed, weight
        zero, is the end that all families share. Runs without both scores are left out.
    """
    seeds = {run.seed for run in runs if run.family == family}
    points: dict[int, list[Point]] = {}
    for run in runs:
        if run.seed not in seeds or not (run.family == family or run.method == SHARED_METHOD):
            continue
        curve = run.worst_case()
        if 0.0 in curve and epsilon in curve:
            point = Point(curve[0.0], curve[epsilon], run.weight or 0.0)
            points.setdefault(run.seed, []).append(point)
    return {seed: sorted(points[seed], key=lambda point: point.weight) for seed in sorted(points)}


def _analyse_threat(results: Results, threat: str) -> Analysis:
    runs = [run for run in results.runs if run.threat == threat]
    final = [run for run in runs if run.split == "final"]
    split = final or runs
    frontier_runs = _frontier_runs(final, [run for run in runs if run.split == "validation"])
    epsilon = results.reference_epsilon
    names = dict.fromkeys(run.family for run in frontier_runs if run.family)
    families = {name: family_points(frontier_runs, name, epsilon) for name in names}
    summaries = summarise(split, epsilon)
    comparisons = tuple(compare_families(a, b, families) for a, b in _pairs([*families]))
    differences = _differences(summaries, epsilon)
    return Analysis(
        threat=threat,
        split="final" if final else "validation",
        frontier_split=frontier_runs[0].split if frontier_runs else "final",
        epsilon=epsilon,
        radii=tuple(sorted({radius for run in split for radius in run.worst_case()})),
        summaries=summaries,
        comparisons=comparisons,
        differences=differences,
        corrected=_corrected(comparisons, differences, results.primary),
        runs=tuple(frontier_runs),
        warnings=tuple(_warnings(split, summaries, epsilon)),
    )


def _frontier_runs(final: Sequence[Run], validation: Sequence[Run]) -> Sequence[Run]:
    """Final seeds if the whole grid of weights ran on them; no weight is picked on a frontier."""

    def grid(runs: Sequence[Run]) -> int:
        return len({(run.family, run.weight) for run in runs if run.family})

    return final if grid(final) >= grid(validation) else validation


def _pairs(families: Sequence[str]) -> list[tuple[str, str]]:
    if SUBJECT in families:
        return [(SUBJECT, family) for family in families if family != SUBJECT]
    return [(a, b) for index, a in enumerate(families) for b in families[index + 1 :]]


def _corrected(
    comparisons: Sequence[Comparison],
    differences: Sequence[PairedDifferences],
    primary: Sequence[str],
) -> dict[str, float]:
    families = {
        item.second: item.chance
        for item in comparisons
        if item.first == SUBJECT and item.verdict is not Verdict.NOT_COMPARABLE
    }
    tests = {pair.rival: pair.chance for pair in differences} | families
    known = {rival: chance for rival, chance in tests.items() if chance is not None}
    first = {rival: p for rival, p in known.items() if rival in (primary or families)}
    rest = {rival: p for rival, p in known.items() if rival not in first}
    return holm(first) | holm(rest)


def _chosen(runs: Sequence[Run]) -> list[Run]:
    selected = [run for run in runs if run.selected]
    one_weight = len({run.weight for run in runs}) == 1
    return selected or (list(runs) if one_weight else [])


def _summary(method: str, runs: Sequence[Run], epsilon: float) -> Summary:
    curves = [run.worst_case() for run in runs]
    radii = sorted(set().union(*curves))
    complete = [curve for curve in curves if len(curve) == len(radii)]
    worst: dict[float, Interval] = {}
    area = None
    if complete and radii:
        worst = {radius: bootstrap([curve[radius] for curve in complete]) for radius in radii}
        if len(radii) > 1:
            area = bootstrap([area_under_curve(curve) for curve in complete])
    reached = [curve[epsilon] for curve in curves if epsilon in curve]
    weights = {run.weight for run in runs}
    return Summary(
        method=method,
        weight=weights.pop() if len(weights) == 1 else None,
        runs=tuple(runs),
        worst=worst,
        area=area,
        median=median_low(reached) if reached else None,
    )


def _differences(summaries: Sequence[Summary], epsilon: float) -> tuple[PairedDifferences, ...]:
    curves = {item.method: {run.seed: run.worst_case() for run in item.runs} for item in summaries}
    areas = {
        method: {seed: area_under_curve(curve) for seed, curve in found.items() if len(curve) > 1}
        for method, found in curves.items()
    }

    def at(method: str, radius: float) -> dict[int, float]:
        return {seed: curve[radius] for seed, curve in curves[method].items() if radius in curve}

    def chance(rival: str) -> float | None:
        first, second = at(SUBJECT, epsilon), at(rival, epsilon)
        found = [first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())]
        return sign_flip_probability(found) if found else None

    return tuple(
        PairedDifferences(
            rival,
            clean=paired_difference(at(SUBJECT, 0.0), at(rival, 0.0)),
            worst=paired_difference(at(SUBJECT, epsilon), at(rival, epsilon)),
            area=paired_difference(areas[SUBJECT], areas[rival]),
            chance=chance(rival),
        )
        for rival in curves
        if SUBJECT in curves and rival != SUBJECT
    )


def _warnings(runs: Sequence[Run], summaries: Sequence[Summary], epsilon: float) -> list[str]:
    found = [*_warnings_of_size(runs, summaries), *_warnings_of_attacks(runs, epsilon)]
    shown = {summary.method for summary in summaries}
    for method in dict.fromkeys(run.method for run in runs if run.method not in shown):
        found.append(f"No weight of {method} is marked as selected, so it has no row.")
    return found


def _warnings_of_size(runs: Sequence[Run], summaries: Sequence[Summary]) -> list[str]:
    found = []
    fewest = min((len(summary.runs) for summary in summaries), default=0)
    if fewest < MINIMUM_SEEDS:
        found.append(
            f"The fewest seeds of a method: {fewest}. Below {MINIMUM_SEEDS} no interval is "
            "estimated and nothing is separated."
        )
    if runs and runs[0].split == "validation":
        found.append("There are no final seeds: the weights were chosen on these very seeds.")
    episodes = min((score.episodes for run in runs for score in run.scores), default=0)
    if episodes < MINIMUM_EPISODES:
        found.append(f"Some figure rests on {episodes} episodes, fewer than {MINIMUM_EPISODES}.")
    return found


def _warnings_of_attacks(runs: Sequence[Run], epsilon: float) -> list[str]:
    found = []
    if any(epsilon not in run.worst_case() or 0.0 not in run.worst_case() for run in runs):
        found.append(f"Some run has no score at ε = 0 or at the reference ε = {epsilon:g}.")
    if not _attacked_alike(runs):
        found.append("The runs were not attacked alike, so their worst cases do not compare.")
    attacked = [(run, score) for run in runs for score in run.scores if score.epsilon > 0]
    outside = {r.method for r, s in attacked if s.largest_perturbation > s.epsilon * 1.001}
    if outside:
        found.append(f"An attack left its ball: {', '.join(sorted(outside))}.")
    unreached = {r.method for r in runs if _unreached(r)}
    if unreached:
        found.append(
            f"No attack changed any action of {', '.join(sorted(unreached))}: "
            "the perturbation may not reach the policy."
        )
    if attacked and all(run.worst_attack(epsilon) in ("noise", None) for run in runs):
        found.append("Noise was the worst attack everywhere: the other attacks are suspect.")
    return found


def _attacked_alike(runs: Sequence[Run]) -> bool:
    """Whether all runs with a score at a radius met the same attacks there."""
    suites: dict[float, set[frozenset[str]]] = {}
    for run in runs:
        for radius in {score.epsilon for score in run.scores}:
            names = frozenset(s.attack for s in run.scores if s.epsilon == radius)
            suites.setdefault(radius, set()).add(names)
    return all(len(found) == 1 for found in suites.values())


def _unreached(run: Run) -> bool:
    attacked = [score for score in run.scores if score.epsilon > 0]
    return bool(attacked) and all(score.changed_actions == 0 for score in attacked)


def without_penalty(analysis: Analysis) -> PairedDifferences | None:
    """Differences of the subject from the method that has no penalty."""
    return next((pair for pair in analysis.differences if pair.rival == SHARED_METHOD), None)
