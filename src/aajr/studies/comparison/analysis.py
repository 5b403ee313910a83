"""Analyse results: summaries, comparisons, and warnings about their reliability."""

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
"""The method with which every other method is compared."""

SHARED_METHOD = "adversarial"
"""The method without a penalty: the point of weight zero in every family."""

MINIMUM_EPISODES = 500
"""With fewer episodes the standard error of a success rate may exceed two percentage points."""


@dataclass(frozen=True)
class Summary:
    """Results of one method under one threat, over the seeds of one split.

    Attributes:
        method: name of the method.
        weight: its chosen weight, or None.
        runs: one run for each seed.
        worst: worst-case success at each radius, interquartile mean with interval.
        area: mean height of the curve of worst-case success; None with fewer than two radii.
        median: worst-case success of the median agent at the reference radius. With an even number
            of agents it is the lower of the two in the middle, so it belongs to a real agent.
    """

    method: str
    weight: float | None
    runs: tuple[Run, ...]
    worst: Mapping[float, Interval]
    area: Interval | None
    median: float | None

    def average(self, field: str, entry: str | None = None) -> float | None:
        """Mean of a field of the runs, or of one of its entries, over seeds that have it."""
        found = [getattr(run, field) for run in self.runs]
        values = found if entry is None else [mapping.get(entry) for mapping in found]
        known = [value for value in values if value is not None]
        return fmean(known) if known else None


@dataclass(frozen=True)
class PairedDifferences:
    """Differences between the subject and a rival, each at its chosen weight, paired by seed.

    Attributes:
        rival: name of the other method.
        clean: difference in clean success; None if not measured, as for all fields.
        worst: difference in worst-case success at the reference radius.
        area: difference in the area under the curve of worst-case success.
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
        split: seeds of the summaries; ``validation`` only if there are no final seeds.
        frontier_split: seeds of the frontiers.
        epsilon: the reference radius.
        radii: every radius, in rising order.
        summaries: one for each method, in the order of the results.
        comparisons: comparisons of the subject's frontier with that of each other family. If the
            subject has no frontier, all pairs of families are compared.
        differences: differences between the subject and each other method at the chosen weights.
        corrected: sign-flip probability by rival after Holm's correction. If the rival is a family,
            it tests the frontiers, else the chosen weights. The primary rivals, by default all
            families, are corrected together; the other rivals are corrected together too.
        runs: runs of the frontiers.
        warnings: sentences about what makes the results unreliable.
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
    """Analyse the results of each threat, in the order of the runs."""
    threats = dict.fromkeys(run.threat for run in results.runs)
    return tuple(_analyse_threat(results, threat) for threat in threats)


def summarise(runs: Sequence[Run], epsilon: float) -> tuple[Summary, ...]:
    """Summarise the chosen runs of one split and threat, in the order of the methods.

    Args:
        runs: the runs. If a method has several weights, only its selected runs are used.
        epsilon: reference radius, at which the median agent is determined.

    Returns:
        One summary for each method that has chosen runs.
    """
    methods = dict.fromkeys(run.method for run in runs)
    chosen = {method: _chosen([r for r in runs if r.method == method]) for method in methods}
    return tuple(
        _summary(method, sorted(found, key=lambda run: run.seed), epsilon)
        for method, found in chosen.items()
        if found
    )


def family_points(runs: Sequence[Run], family: str, epsilon: float) -> dict[int, list[Point]]:
    """Clean and worst-case success of a family's runs, for each seed, in order of weight.

    Args:
        runs: runs of one split and one threat.
        family: name of the family.
        epsilon: radius of the worst case.

    Returns:
        Points of each seed for which the family has a run. They include the seed's adversarial run,
        which has weight zero and belongs to all families. Runs that lack a score are left out.
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
    """Runs of the final seeds if they cover the whole grid of weights, else the validation runs.

    Frontiers use all weights, so using validation seeds causes no selection bias.
    """

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
            f"The method with the fewest seeds has {fewest}. With fewer than {MINIMUM_SEEDS} no "
            "interval is estimated, so no two methods are separated."
        )
    if runs and runs[0].split == "validation":
        found.append("There are no final seeds: the weights were chosen on the seeds shown here.")
    episodes = min((score.episodes for run in runs for score in run.scores), default=0)
    if episodes < MINIMUM_EPISODES:
        found.append(
            f"At least one figure is a mean over {episodes} episodes, fewer than "
            f"{MINIMUM_EPISODES}."
        )
    return found


def _warnings_of_attacks(runs: Sequence[Run], epsilon: float) -> list[str]:
    found = []
    if any(epsilon not in run.worst_case() or 0.0 not in run.worst_case() for run in runs):
        found.append(f"At least one run has no score at ε = 0 or at the reference ε = {epsilon:g}.")
    if not _attacked_alike(runs):
        found.append("The runs were not attacked alike, so their worst cases cannot be compared.")
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
    """Whether, at each radius, all runs with a score had the same attacks."""
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
    """Differences between the subject and the method without a penalty."""
    return next((pair for pair in analysis.differences if pair.rival == SHARED_METHOD), None)
