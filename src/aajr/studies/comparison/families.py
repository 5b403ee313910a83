"""Families of policies: one for each method's grid of weights."""

from __future__ import annotations

from collections.abc import Sequence

from aajr.statistics.frontiers import Point
from aajr.studies.comparison.records import Run
from aajr.studies.comparison.worst_cases import worst_case

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
