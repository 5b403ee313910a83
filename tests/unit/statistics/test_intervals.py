import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from aajr.arena.records.evaluation import Score
from aajr.statistics.intervals import (
    REPETITIONS,
    Interval,
    area_under_curve,
    bootstrap,
    interquartile_mean,
    mean_difference,
    paired_difference,
    sign_flip_probability,
)
from aajr.studies.comparison.analysis import summarise
from aajr.studies.comparison.records import Run
from tests.unit.studies.comparison.synthetic_results import make_run


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=40))
def test_interquartile_mean_is_scipys_trimmed_mean(values):
    expected = stats.trim_mean(values, 0.25)
    assert interquartile_mean(np.array(values)) == pytest.approx(expected, abs=1e-12)


def test_seed_alone_decides_the_interval():
    scores = np.random.default_rng(0).random(7)
    np.random.seed(11)
    expected_draw = np.random.random(5)
    np.random.seed(11)
    first = bootstrap(scores, seed=4)
    assert (np.random.random(5) == expected_draw).all()
    np.random.seed(999)
    assert bootstrap(scores, seed=4) == first
    assert bootstrap(scores, seed=5) != first


@pytest.mark.parametrize("sizes", [(7,), (5, 8)])
def test_interval_against_a_loop(sizes):
    """Each repetition resamples the samples in turn; the ends are quantiles of its statistics."""
    samples = [np.random.default_rng(size).random(size) for size in sizes]
    rng, drawn = np.random.RandomState(2), []
    for _ in range(REPETITIONS):
        picks = [sample[rng.randint(0, len(sample), len(sample))] for sample in samples]
        drawn.append(picks[0].mean() - sum(pick.mean() for pick in picks[1:]))

    def statistic(first, *rest, axis):
        return first.mean(axis=axis) - sum(sample.mean(axis=axis) for sample in rest)

    found = bootstrap(*samples, statistic=statistic, seed=2)
    assert (found.low, found.high) == pytest.approx(np.quantile(drawn, (0.025, 0.975)), abs=1e-12)


EPISODES = [188.82, 164.44, 269.6, 105.86, 67.16, 187.38, 445.88, 212.52, 201.96, 159.0, 95.16]


def test_intervals_of_rliable():
    """Figures of rliable 1.2 with arch 7.2, whose intervals stand in the published results."""
    assert bootstrap(EPISODES, seed=3) == Interval(
        174.28285714285715, 129.83714285714285, 240.7601428571428, 11
    )
    assert mean_difference(EPISODES, seed=3) == Interval(
        190.707272727, 139.66781818181818, 252.91204545454545, 11
    )


def test_interval_of_three_seeds_against_all_resamples():
    """Three seeds have 27 resamples: 2.5 % lies at the least of them, 97.5 % at the greatest."""
    values = np.array([0.1, 0.4, 0.9])
    means = sorted(np.mean(pick) for pick in itertools.product(values, repeat=3))
    interval = bootstrap(values, statistic=np.mean)
    assert interval.estimate == pytest.approx(values.mean())
    assert (interval.low, interval.high) == pytest.approx((means[0], means[-1]))


def test_interval_of_many_seeds_is_the_normal_one():
    values = np.random.default_rng(3).standard_normal(400)
    interval = bootstrap(values, statistic=np.mean)
    half = 1.96 * values.std() / 20
    assert interval.high - values.mean() == pytest.approx(half, rel=0.1)
    assert values.mean() - interval.low == pytest.approx(half, rel=0.1)


@pytest.mark.parametrize("seeds", [1, 2])
def test_too_few_seeds_have_no_interval(seeds):
    interval = mean_difference([0.5] * seeds)
    assert interval == Interval(0.5, None, None, seeds)
    assert interval.sign == 0


@pytest.mark.parametrize("bad", [[], np.zeros((3, 1)), [0.1, np.nan, 0.2]])
def test_bootstrap_refuses(bad):
    with pytest.raises(ValueError, match="finite"):
        bootstrap([0.1, 0.2, 0.3], bad)
    with pytest.raises(ValueError, match="samples is empty"):
        bootstrap()


@pytest.mark.parametrize(
    ("low", "high", "sign"),
    [(0.1, 0.2, 1), (-0.2, -0.1, -1), (-0.1, 0.1, 0), (0.0, 0.1, 0), (-0.1, 0.0, 0)],
)
def test_sign_needs_zero_outside(low, high, sign):
    assert Interval(0.0, low, high, 5).sign == sign


def test_pairing_by_seed_removes_the_seeds_own_level():
    level = {seed: 0.1 * seed for seed in range(8)}
    better = {seed: value + 0.02 for seed, value in level.items()}
    interval = paired_difference(better, level | {99: 0.0})
    assert (interval.estimate, interval.low, interval.high) == (0.02, 0.02, 0.02)
    assert (interval.seeds, interval.sign) == (8, 1)
    assert paired_difference(level, better).sign == -1
    assert paired_difference({0: 1.0}, {1: 1.0}) is None


@given(st.lists(st.integers(-4, 4).map(lambda count: count / 10), min_size=1, max_size=7))
def test_sign_flip_against_all_flips(differences):
    """In exact fractions, so that ties count as ties."""
    exact = [Fraction(value).limit_denominator(10) for value in differences]
    flips = itertools.product((-1, 1), repeat=len(exact))
    sums = [abs(sum(s * d for s, d in zip(flip, exact, strict=True))) for flip in flips]
    expected = sum(value >= abs(sum(exact)) for value in sums) / len(sums)
    assert sign_flip_probability(differences) == pytest.approx(expected, abs=1e-12)


def test_sign_flip_of_many_and_of_few():
    assert sign_flip_probability([1.0]) == 1.0
    assert sign_flip_probability([0.1] * 6) == 2 / 64
    assert sign_flip_probability([0.1] * 16) == 2 / 2**16
    assert sign_flip_probability([0.1] * 20) < 1e-3
    with pytest.raises(ValueError, match="at least one"):
        sign_flip_probability([])


def test_worst_case_and_attack():
    scores = (
        Score("mad", 0.2, success=0.5, episodes=500, mean_return=0.0),
        Score("none", 0.0, success=0.9, episodes=500, mean_return=0.0),
        Score("critic_0", 0.2, success=0.4, episodes=500, mean_return=0.0),
        Score("noise", 0.1, success=0.8, episodes=500, mean_return=0.0),
    )
    run = Run(method="plain", seed=0, split="final", threat="full", scores=scores)
    assert list(run.worst_case().items()) == [(0.0, 0.9), (0.1, 0.8), (0.2, 0.4)]
    assert run.worst_attack(0.2) == "critic_0"
    assert run.worst_attack(0.3) is None


def test_median_agent_is_an_agent():
    runs = [make_run("plain", seed, 0.9, slope) for seed, slope in enumerate((3, 1, 2, 4))]

    def median(found, epsilon):
        return summarise(found, epsilon)[0].median

    assert median(runs[:3], 0.2) == runs[2].worst_case()[0.2]
    assert median(runs, 0.2) == runs[0].worst_case()[0.2]
    assert median(runs, 0.77) is None


@given(st.floats(0.5, 1), st.floats(0, 1))
def test_area_of_a_straight_line_is_its_middle(clean, slope):
    curve = {radius: clean - slope * radius for radius in (0.3, 0.0, 0.05, 0.1)}
    assert area_under_curve(curve) == pytest.approx(clean - 0.15 * slope)


def test_area_refuses_a_point():
    with pytest.raises(ValueError, match="at least two"):
        area_under_curve({0.0: 1.0})
