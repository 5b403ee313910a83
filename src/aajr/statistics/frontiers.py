r"""Comparison of families of policies at matched clean success.

A single weight of a penalty says little, because a larger weight gives more robustness and less
clean success. A *family* is the set of a method's policies over its whole grid of weights. One
family is better than another where its frontier lies higher at the same clean success.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import fmean

import numpy as np

from aajr.statistics.intervals import Interval, mean_difference, sign_flip_probability

MINIMUM_WEIGHTS = 4
"""With fewer weights the frontier of a family is not compared."""


class Verdict(str, Enum):
    """What a comparison of two families shows."""

    ABOVE = "above"
    BELOW = "below"
    NOT_SEPARATED = "not separated"
    NOT_COMPARABLE = "not comparable"


@dataclass(frozen=True)
class Point:
    """One policy in the plane of clean and worst-case success."""

    clean: float
    worst: float
    weight: float = 0.0


@dataclass(frozen=True)
class Comparison:
    """Vertical distance of two frontiers at matched clean success, paired by seed.

    Attributes:
        first: name of the first family.
        second: name of its rival.
        verdict: whether ``first`` lies above ``second``.
        reason: why the families are not comparable; empty otherwise.
        difference: mean distance over the seeds with its interval; None without a common seed.
        by_seed: mean distance in each seed whose ranges overlap.
        without_overlap: common seeds in which the ranges do not overlap.
        matched: lowest and highest clean success compared in any seed.
        weights: smallest number of weights in any seed, for each family.
        chance: sign-flip probability of the differences.
    """

    first: str
    second: str
    verdict: Verdict
    reason: str
    difference: Interval | None
    by_seed: Mapping[int, float]
    without_overlap: tuple[int, ...]
    matched: tuple[float, float] | None
    weights: tuple[int, int]
    chance: float | None


def mean_points(points: Sequence[Point]) -> list[Point]:
    """The mean point of each weight, in the order of the weights.

    Example:
        >>> [point.clean for point in mean_points([Point(0.25, 0.5, 0.1), Point(0.75, 0.5, 0.1)])]
        [0.5]
    """
    weights = sorted({point.weight for point in points})
    groups = [[point for point in points if point.weight == weight] for weight in weights]
    return [
        Point(fmean(p.clean for p in group), fmean(p.worst for p in group), group[0].weight)
        for group in groups
    ]


def pareto(points: Sequence[Point]) -> list[Point]:
    """The points that no other equals or beats in both successes, by rising clean success.

    Example:
        >>> [point.clean for point in pareto([Point(0.7, 0.5), Point(0.6, 0.6), Point(0.6, 0.4)])]
        [0.6, 0.7]
    """
    kept: list[Point] = []
    for point in sorted(points, key=lambda point: (-point.clean, -point.worst)):
        if not kept or point.worst > kept[-1].worst:
            kept.append(point)
    return kept[::-1]


def frontier_height(points: Sequence[Point], clean: float) -> float:
    """Worst-case success that a family offers at a clean success of at least ``clean``.

    The height is linear between the points of the Pareto frontier, since a random choice between
    two policies attains it. To the left of the most robust point it is constant, since that point
    offers this clean success too.

    Args:
        points: at least one point.
        clean: a clean success not above the family's highest.

    Raises:
        ValueError: no point reaches ``clean``.

    Example:
        >>> frontier_height([Point(0.6, 0.5), Point(0.8, 0.1)], 0.7)
        0.3
    """
    front = pareto(points)
    if not front or clean > front[-1].clean:
        raise ValueError(f"clean={clean} is above every point; ask for a success that was reached")
    height = np.interp(clean, [p.clean for p in front], [p.worst for p in front])
    return round(float(height), 12)


def overlap(first: Sequence[Point], second: Sequence[Point]) -> tuple[float, float] | None:
    """The range of clean success that both families cover; None if there is none."""
    low = max(min(point.clean for point in side) for side in (first, second))
    high = min(max(point.clean for point in side) for side in (first, second))
    return (low, high) if low <= high else None


def vertical_difference(first: Sequence[Point], second: Sequence[Point]) -> float | None:
    r"""Mean of the height of ``first`` minus that of ``second`` over their overlap.

    .. math:: \frac{1}{b - a} \int_a^b \bigl(h_1(c) - h_2(c)\bigr)\, dc

    Both heights are linear between the knots of the two frontiers, so the trapezoidal rule on
    these knots is exact. If the overlap is a single clean success, the result is the difference
    there.

    Args:
        first: points of one family in one seed.
        second: points of the other family in this seed.

    Returns:
        The mean difference, or None if the ranges of clean success do not overlap.

    Example:
        >>> vertical_difference([Point(0.6, 0.5), Point(0.8, 0.3)],
        ...                     [Point(0.6, 0.4), Point(0.8, 0.2)])
        0.1
    """
    limits = overlap(first, second)
    if limits is None:
        return None
    inner = {point.clean for point in (*first, *second) if limits[0] < point.clean < limits[1]}
    knots = np.array(sorted(inner | set(limits)))
    heights = np.array(
        [frontier_height(first, knot) - frontier_height(second, knot) for knot in knots]
    )
    if len(knots) == 1:
        return round(float(heights[0]), 9)
    area = float((np.diff(knots) * (heights[1:] + heights[:-1]) / 2).sum())
    return round(area / float(knots[-1] - knots[0]), 9)


def verdict_of(interval: Interval | None) -> Verdict:
    """The verdict on a paired difference: different only if its interval excludes zero.

    Example:
        >>> verdict_of(Interval(0.1, 0.05, 0.2, seeds=5)).value
        'above'
    """
    if interval is None:
        return Verdict.NOT_COMPARABLE
    return {1: Verdict.ABOVE, -1: Verdict.BELOW, 0: Verdict.NOT_SEPARATED}[interval.sign]


Family = Mapping[int, Sequence[Point]]
"""Points of a family in each seed."""


def compare_families(
    first: str, second: str, families: Mapping[str, Family], *, seed: int = 0
) -> Comparison:
    """Whether the frontier of ``first`` lies above that of ``second`` at matched clean success.

    Args:
        first: name of the first family.
        second: name of its rival.
        families: points of both, for each seed.
        seed: seed of the bootstrap.

    Returns:
        The comparison. ``above`` and ``below`` need an interval that excludes zero, and so at least
        three common seeds. ``not comparable`` means that the families never overlap, share no seed
        or have fewer than four weights in some seed.

    Example:
        >>> higher = [Point(0.6 + 0.1 * i, 0.5 - 0.1 * i, weight=i) for i in range(4)]
        >>> lower = [Point(point.clean, point.worst - 0.2, point.weight) for point in higher]
        >>> a, b = dict.fromkeys(range(3), higher), dict.fromkeys(range(3), lower)
        >>> compare_families("a", "b", {"a": a, "b": b}).verdict.value
        'above'
    """
    sides = families[first], families[second]
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
        verdict=Verdict.NOT_COMPARABLE if reason else verdict_of(difference),
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
