"""Families of policies, one for each method's grid of weights, and how two of them compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aajr.statistics.frontiers import Comparison, Point, Verdict, overlap, vertical_difference
from aajr.statistics.intervals import Interval, mean_difference, sign_flip_probability
from aajr.studies.comparison.records import Run
from aajr.studies.comparison.worst_cases import worst_case

MINIMUM_WEIGHTS = 4
"""With fewer weights a family has no frontier to speak of."""


SHARED_METHOD = "adversarial"
"""The method without a penalty: weight zero of every family."""


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
        curve = worst_case(run)
        if 0.0 in curve and epsilon in curve:
            point = Point(curve[0.0], curve[epsilon], run.weight or 0.0)
            points.setdefault(run.seed, []).append(point)
    return {seed: sorted(points[seed], key=lambda point: point.weight) for seed in sorted(points)}


def compare_families(
    runs: Sequence[Run], first: str, second: str, epsilon: float, *, seed: int = 0
) -> Comparison:
    """Whether the frontier of ``first`` lies above that of ``second`` at matched clean success.

    Args:
        runs: runs of one split and one threat.
        first: the family asked about.
        second: its rival.
        epsilon: radius of the worst case.
        seed: seed of the bootstrap.

    Returns:
        The comparison. ``above`` and ``below`` need an interval that excludes zero, and so at least
        three common seeds. ``not comparable`` means that the two never overlap, share no seed or
        have fewer than four weights in some seed.
    """
    sides = [family_points(runs, family, epsilon) for family in (first, second)]
    common = sorted(sides[0].keys() & sides[1].keys())
    pairs = {key: (sides[0][key], sides[1][key]) for key in common}
    limits = [found for pair in pairs.values() if (found := overlap(*pair)) is not None]
    measured = {key: vertical_difference(*pair) for key, pair in pairs.items()}
    by_seed = {key: value for key, value in measured.items() if value is not None}
    differences = list(by_seed.values())
    difference = mean_difference(differences, seed=seed) if differences else None
    weights = (_fewest_weights(sides[0], common), _fewest_weights(sides[1], common))
    reason = _obstacle(weights, len(common), len(by_seed))
    return Comparison(
        first=first,
        second=second,
        verdict=Verdict.NOT_COMPARABLE if reason else _verdict(difference),
        reason=reason,
        difference=difference,
        by_seed=by_seed,
        without_overlap=tuple(key for key in common if key not in by_seed),
        matched=(min(a for a, _ in limits), max(b for _, b in limits)) if limits else None,
        weights=weights,
        chance=sign_flip_probability(differences) if differences else None,
    )


def _fewest_weights(points: Mapping[int, Sequence[Point]], seeds: Sequence[int]) -> int:
    return min((len({point.weight for point in points[seed]}) for seed in seeds), default=0)


def _obstacle(weights: tuple[int, int], seeds: int, overlaps: int) -> str:
    if not seeds:
        return "they share no seed"
    if not overlaps:
        return "their clean success never overlaps"
    if min(weights) < MINIMUM_WEIGHTS:
        return f"a frontier needs {MINIMUM_WEIGHTS} weights"
    return ""


def _verdict(difference: Interval | None) -> Verdict:
    sign = 0 if difference is None else difference.sign
    return {1: Verdict.ABOVE, -1: Verdict.BELOW, 0: Verdict.NOT_SEPARATED}[sign]
