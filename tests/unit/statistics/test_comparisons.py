"""Comparisons over seeds against numbers computed by hand and by SciPy."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from aajr.statistics.comparisons import (
    difference,
    holm,
    median_seed,
    performance_profile,
    probability_of_improvement,
)
from aajr.statistics.intervals import Interval

VALUES = st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4]), min_size=1, max_size=2)


def test_probability_by_hand():
    # 3 × 3 pairs: 0.5 above two and equal to one, 0.2 above one, 0.9 above three
    found = probability_of_improvement([0.5, 0.2, 0.9], [0.1, 0.5, 0.3])
    assert found.estimate == pytest.approx((2.5 + 1 + 3) / 9)
    assert found.seeds == 3
    assert found.low <= found.estimate <= found.high


@given(VALUES, VALUES)
def test_probability_counts_pairs(first, second):
    pairs = [(a > b) + 0.5 * (a == b) for a, b in itertools.product(first, second)]
    found = probability_of_improvement(first, second)
    assert found.estimate == pytest.approx(np.mean(pairs))
    assert (found.low, found.high) == (None, None)
    back = probability_of_improvement(second, first)
    assert found.estimate + back.estimate == pytest.approx(1)


def test_probability_of_separate_and_of_equal_methods():
    sure = probability_of_improvement([0.9, 0.8, 0.7], [0.1, 0.2, 0.3])
    assert (sure.estimate, sure.low, sure.high) == (1, 1, 1)
    equal = probability_of_improvement([0.4] * 4, [0.4] * 4)
    assert (equal.estimate, equal.low, equal.high) == (0.5, 0.5, 0.5)


def test_profile_by_hand():
    found = performance_profile([0.1, 0.4, 0.4, 0.9], [0.0, 0.1, 0.4, 0.9])
    assert [point.estimate for point in found] == [1.0, 0.75, 0.25, 0.0]
    assert (found[0].low, found[0].high) == (1, 1)
    assert (found[-1].low, found[-1].high) == (0, 0)
    assert found[1].low < 0.75 < found[1].high


def test_profile_interval_is_the_binomial_one():
    values = [1.0] * 30 + [0.0] * 70
    (found,) = performance_profile(values, [0.5])
    low, high = stats.binom(100, 0.3).ppf([0.025, 0.975]) / 100
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.011)


def test_profile_of_few_seeds_has_no_interval():
    assert performance_profile([0.5, 0.6], [0.55])[0].low is None


def test_difference_pairs_common_seeds():
    level = {seed: 0.1 * seed for seed in range(6)}
    better = {seed: value + 0.02 for seed, value in level.items()}
    found = difference(better, level | {99: 5.0})
    assert (found.estimate, found.sign, found.seeds) == (0.02, 1, 6)


def test_difference_of_other_seeds_resamples_both():
    first = {seed: 0.5 + 0.01 * seed for seed in range(8)}
    second = {100 + seed: 0.3 + 0.01 * seed for seed in range(8)}
    found = difference(first, second)
    assert found.estimate == pytest.approx(0.2)
    assert found.sign == 1
    assert found.low < 0.2 < found.high
    # unpaired, the seeds' own level counts
    paired = difference(first, dict(enumerate(second.values())))
    assert paired.high - paired.low < 1e-9
    assert found.high - found.low > 0.01


def test_methods_that_overlap_are_not_called_different():
    first = dict(enumerate([0.1, 0.5, 0.9, 0.4]))
    second = dict(enumerate([0.2, 0.6, 0.3, 0.5]))
    assert difference(first, second).sign == 0
    assert difference({0: 0.9}, {5: 0.1}).sign == 0


def test_figures_of_rliable():
    """Figures of rliable 1.2 with arch 7.2, whose intervals stand in the published results."""
    first = [188.82, 164.44, 269.6, 105.86, 67.16, 187.38, 445.88, 212.52, 201.96, 159.0, 95.16]
    second = [21.1, 43.82, 12.46, 5.9, 13.74, 7.0, 9.18]
    other_seeds = {100 + seed: value for seed, value in enumerate(second)}
    assert difference(dict(enumerate(first)), other_seeds, seed=3) == Interval(
        161.58685714285716, 115.5859, 221.63262857142843, 7
    )
    assert probability_of_improvement(first[:6], [*second, 150.0, 300.0], seed=3) == Interval(
        0.8518518518518519, 0.6296296296296297, 1.0, 6
    )
    assert performance_profile([0.93, 0.97, 0.49, 0.95, 0.62], [0.6, 0.94], seed=3) == (
        Interval(0.8, 0.4, 1.0, 5),
        Interval(0.4, 0.0, 0.8, 5),
    )


def test_the_global_state_is_left_alone():
    np.random.seed(3)
    expected = np.random.random(4)
    np.random.seed(3)
    first = probability_of_improvement([0.1, 0.5, 0.4], [0.2, 0.6, 0.3], seed=1)
    profile = performance_profile([0.1, 0.5, 0.4], [0.3], seed=1)
    assert (np.random.random(4) == expected).all()
    assert probability_of_improvement([0.1, 0.5, 0.4], [0.2, 0.6, 0.3], seed=1) == first
    assert performance_profile([0.1, 0.5, 0.4], [0.3], seed=1) == profile


def test_holm_by_hand():
    """Smallest times 4, next times 3, and so on; never falling, never above 1."""
    found = holm({"d": 0.9, "a": 0.01, "c": 0.02, "b": 0.011})
    assert list(found) == ["d", "a", "c", "b"]
    assert found == pytest.approx({"a": 0.04, "b": 0.04, "c": 0.04, "d": 0.9})
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}


def test_median_seed_is_an_agent():
    assert median_seed({7: 0.5}) == 7
    assert median_seed({0: 0.9, 1: 0.1, 2: 0.5}) == 2
    assert median_seed({0: 0.9, 1: 0.1, 2: 0.5, 3: 0.6}) == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: probability_of_improvement([], [0.1]), "first"),
        (lambda: probability_of_improvement([0.1], [float("nan")]), "second"),
        (lambda: performance_profile([0.1], []), "thresholds"),
        (lambda: difference({}, {0: 0.1}), "first"),
        (lambda: median_seed({}), "values is empty"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
