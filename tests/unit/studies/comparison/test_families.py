import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aajr.statistics.frontiers import (
    Point,
    Verdict,
    frontier_height,
    overlap,
    pareto,
    vertical_difference,
)
from aajr.studies.comparison.families import compare_families, family_points
from tests.unit.studies.comparison.synthetic_results import make_results, make_run

POINTS = st.lists(st.builds(Point, st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=6)


def family(name, seed, pairs):
    """Runs of a family with given (clean, worst at ε = 0.2)."""
    return [
        make_run(name, seed, clean, (clean - worst) / 0.2, family=name, weight=0.1 * (index + 1))
        for index, (clean, worst) in enumerate(pairs)
    ]


def line(offset, low=0.6, high=0.8):
    """Four points of worst = 1 − clean + offset."""
    return [(clean, 1 - clean + offset) for clean in np.linspace(low, high, 4).tolist()]


@given(POINTS)
def test_pareto_against_its_definition(points):
    def beaten(point):
        return any(
            (q.clean, q.worst) != (point.clean, point.worst)
            and q.clean >= point.clean
            and q.worst >= point.worst
            for q in points
        )

    kept = pareto(points)
    assert {(p.clean, p.worst) for p in kept} == {
        (p.clean, p.worst) for p in points if not beaten(p)
    }
    assert all(a.clean < b.clean and a.worst > b.worst for a, b in itertools.pairwise(kept))


def test_height_is_linear_between_and_level_to_the_left():
    points = [Point(0.6, 0.5), Point(0.8, 0.1), Point(0.65, 0.05)]
    assert frontier_height(points, 0.65) == pytest.approx(0.4)
    assert frontier_height(points, 0.3) == 0.5
    assert frontier_height(points, 0.8) == 0.1
    with pytest.raises(ValueError, match="above every point"):
        frontier_height(points, 0.81)
    with pytest.raises(ValueError, match="above every point"):
        frontier_height([], 0.5)


def test_difference_of_two_triangles():
    """Heights 1 − c, and 0.5 then falling to zero from c = 0.5 on: the integrals are by hand."""
    first = [Point(0.0, 1.0), Point(1.0, 0.0)]
    second = [Point(0.0, 0.2), Point(0.5, 0.5), Point(1.0, 0.0)]
    assert overlap(first, second) == (0.0, 1.0)
    assert vertical_difference(first, second) == pytest.approx(0.5 - (0.25 + 0.125))


@given(POINTS, POINTS)
def test_difference_is_antisymmetric_and_equals_a_fine_grid(first, second):
    value = vertical_difference(first, second)
    limits = overlap(first, second)
    if limits is None:
        assert value is None
        return
    assert vertical_difference(second, first) == pytest.approx(-value, abs=1e-8)
    if limits[1] - limits[0] > 0.01:
        edges = np.linspace(*limits, 4001)
        grid = (edges[1:] + edges[:-1]) / 2
        fronts = [pareto(first), pareto(second)]
        heights = [
            np.interp(grid, [p.clean for p in front], [p.worst for p in front]) for front in fronts
        ]
        assert value == pytest.approx((heights[0] - heights[1]).mean(), abs=2e-3)


def test_dominated_policies_widen_the_range_but_do_not_lower_the_curve():
    shared = Point(0.7, 0.4)
    better = [shared, Point(0.75, 0.5)]
    worse = [shared, Point(0.6, 0.3)]
    assert overlap(better, worse) == (0.7, 0.7)
    assert vertical_difference(better, worse) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("offset", "verdict"),
    [(0.1, Verdict.ABOVE), (-0.1, Verdict.BELOW), (0.0, Verdict.NOT_SEPARATED)],
)
def test_verdict_follows_the_offset_exactly(offset, verdict):
    runs = [
        run
        for seed in range(5)
        for run in family("a", seed, line(offset + 0.02 * seed))
        + family("b", seed, line(0.02 * seed))
    ]
    found = compare_families(runs, "a", "b", 0.2)
    assert found.verdict is verdict
    assert found.difference.estimate == pytest.approx(offset, abs=1e-8)
    assert found.matched == pytest.approx((0.6, 0.8))
    assert (found.weights, found.reason, found.difference.seeds) == ((4, 4), "", 5)
    assert found.chance == (1.0 if offset == 0 else 2 / 32)


def test_mixed_signs_are_not_separated():
    runs = [
        run
        for seed, offset in enumerate((0.2, -0.15, 0.1, -0.1))
        for run in family("a", seed, line(offset)) + family("b", seed, line(0.0))
    ]
    assert compare_families(runs, "a", "b", 0.2).verdict is Verdict.NOT_SEPARATED


def test_two_seeds_never_separate():
    runs = [
        run
        for seed in range(2)
        for run in family("a", seed, line(0.3)) + family("b", seed, line(0.0))
    ]
    found = compare_families(runs, "a", "b", 0.2)
    assert found.verdict is Verdict.NOT_SEPARATED
    assert found.difference.low is None


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (line(0.0, 0.6, 0.7), line(0.0, 0.8, 0.9), "never overlaps"),
        (line(0.1)[:3], line(0.0), "needs 4 weights"),
        (line(0.1), line(0.0)[:2], "needs 4 weights"),
        ([], line(0.0), "share no seed"),
    ],
)
def test_not_comparable(first, second, reason):
    runs = [
        run for seed in range(3) for run in family("a", seed, first) + family("b", seed, second)
    ]
    found = compare_families(runs, "a", "b", 0.2)
    assert found.verdict is Verdict.NOT_COMPARABLE
    assert reason in found.reason


def test_seeds_without_overlap_are_listed():
    runs = [run for seed in range(3) for run in family("a", seed, line(0.1))]
    runs += family("b", 0, line(0.0)) + family("b", 1, line(0.0))
    runs += family("b", 2, line(0.0, 0.9, 0.95))
    found = compare_families(runs, "a", "b", 0.2)
    assert found.without_overlap == (2,)
    assert set(found.by_seed) == {0, 1}


def test_adversarial_run_is_the_shared_end():
    runs = make_results(seeds=2, noise=0.0).runs
    points = family_points(runs, "aajr", 0.2)
    assert set(points) == {0, 1}
    assert [point.weight for point in points[0]] == [0.0, 0.01, 0.03, 0.1]
    adversarial = next(run for run in runs if run.method == "adversarial" and run.seed == 0)
    assert points[0][0].clean == adversarial.scores[0].success
    assert family_points(runs, "spectral", 0.2) == {}


def test_pairs_stay_together_when_runs_are_shuffled():
    runs = list(make_results(seeds=4).runs)
    expected = compare_families(runs, "aajr", "global", 0.2)
    np.random.default_rng(0).shuffle(runs)
    assert compare_families(runs, "aajr", "global", 0.2) == expected
