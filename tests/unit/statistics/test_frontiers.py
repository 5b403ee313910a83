import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aajr.statistics.frontiers import (
    Point,
    Verdict,
    compare_families,
    frontier_height,
    overlap,
    pareto,
    vertical_difference,
)

POINTS = st.lists(st.builds(Point, st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=6)


def family(pairs):
    """Points of a family in one seed, with a weight for each (clean, worst)."""
    return [Point(*pair, 0.1 * (index + 1)) for index, pair in enumerate(pairs)]


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


def compared(first, second):
    """Comparison of two families of pairs for each seed."""
    sides = {"a": first, "b": second}
    points = {
        name: {seed: family(pairs) for seed, pairs in side.items()} for name, side in sides.items()
    }
    return compare_families("a", "b", points)


@pytest.mark.parametrize(
    ("offset", "verdict"),
    [(0.1, Verdict.ABOVE), (-0.1, Verdict.BELOW), (0.0, Verdict.NOT_SEPARATED)],
)
def test_verdict_follows_the_offset_exactly(offset, verdict):
    found = compared(
        {seed: line(offset + 0.02 * seed) for seed in range(5)},
        {seed: line(0.02 * seed) for seed in range(5)},
    )
    assert found.verdict is verdict
    assert found.difference.estimate == pytest.approx(offset, abs=1e-8)
    assert found.matched == pytest.approx((0.6, 0.8))
    assert (found.weights, found.reason, found.difference.seeds) == ((4, 4), "", 5)
    assert found.chance == (1.0 if offset == 0 else 2 / 32)


def test_mixed_signs_are_not_separated():
    first = {seed: line(offset) for seed, offset in enumerate((0.2, -0.15, 0.1, -0.1))}
    found = compared(first, dict.fromkeys(range(4), line(0.0)))
    assert found.verdict is Verdict.NOT_SEPARATED


def test_two_seeds_never_separate():
    found = compared(dict.fromkeys(range(2), line(0.3)), dict.fromkeys(range(2), line(0.0)))
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
    found = compared(
        dict.fromkeys(range(3), first) if first else {}, dict.fromkeys(range(3), second)
    )
    assert found.verdict is Verdict.NOT_COMPARABLE
    assert reason in found.reason


def test_seeds_without_overlap_are_listed():
    second = {0: line(0.0), 1: line(0.0), 2: line(0.0, 0.9, 0.95)}
    found = compared(dict.fromkeys(range(3), line(0.1)), second)
    assert found.without_overlap == (2,)
    assert set(found.by_seed) == {0, 1}


def test_order_of_the_seeds_is_nothing():
    first = {seed: line(0.05 + 0.02 * seed) for seed in range(4)}
    second = {seed: line(0.03 * seed**2) for seed in range(4)}
    shuffled = {seed: first[seed] for seed in (2, 0, 3, 1)}
    assert compared(shuffled, second) == compared(first, second)
