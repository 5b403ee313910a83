"""Comparisons over seeds: differences, probability of improvement, performance profiles.

Source: Agarwal et al., Deep reinforcement learning at the edge of the statistical precipice, 2021,
https://arxiv.org/abs/2108.13264.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from aajr.statistics.intervals import (
    MINIMUM_SEEDS,
    REPETITIONS,
    Array,
    Interval,
    global_numpy_seed,
    interquartile_mean,
    paired_difference,
)


def difference(
    first: Mapping[int, float], second: Mapping[int, float], *, seed: int = 0
) -> Interval:
    """How far the first method lies above the second, with its bootstrap interval.

    Over the seeds that both have, if there are enough for an interval: the mean of the paired
    differences. Otherwise the difference of the interquartile means, each method's seeds
    resampled on their own.

    Args:
        first: value of each seed.
        second: value of each seed.
        seed: seed of the resampling.

    Returns:
        The interval. The methods are called different only if it excludes zero: see its ``sign``.

    Raises:
        ValueError: a method without values, or values that are not finite.

    Example:
        >>> difference({0: 0.9, 1: 0.8, 2: 0.7}, {0: 0.5, 1: 0.4, 2: 0.3}).sign
        1
    """
    x, y = _column("first", [*first.values()]), _column("second", [*second.values()])
    paired = paired_difference(first, second, seed=seed)
    if paired is not None and paired.seeds >= MINIMUM_SEEDS:
        return paired

    def statistic(one: Array, other: Array) -> Array:
        return interquartile_mean(one) - interquartile_mean(other)

    return _independent(statistic, x, y, seed)


def probability_of_improvement(
    first: Sequence[float], second: Sequence[float], *, seed: int = 0
) -> Interval:
    """P(X > Y) + P(X = Y)/2 for a seed of the first method and one of the second, by rliable.

    Args:
        first: values of the first method, one for each seed.
        second: values of the second.
        seed: seed of the resampling, which resamples both.

    Returns:
        The probability with its interval; its ``seeds`` are the fewer of both. The first is the
        better only if the interval lies above one half.

    Raises:
        ValueError: an empty list, or values that are not finite.

    Example:
        >>> probability_of_improvement([0.9, 0.5], [0.5, 0.1]).estimate
        0.875
    """
    # Imported late: it costs more than a second, which `aajr --help` should not pay.
    from rliable.metrics import probability_of_improvement as probability

    def statistic(one: Array, other: Array) -> Array:
        return np.array([probability(one, other)])

    return _independent(statistic, _column("first", first), _column("second", second), seed)


def performance_profile(
    values: Sequence[float], thresholds: Sequence[float], *, seed: int = 0
) -> tuple[Interval, ...]:
    """Share of the seeds above each threshold, by rliable: the profile of a method.

    Args:
        values: one for each seed.
        thresholds: of the value, at least one.
        seed: seed of the resampling.

    Returns:
        One interval for each threshold.

    Raises:
        ValueError: an empty list, or values that are not finite.

    Example:
        >>> [point.estimate for point in performance_profile([0.2, 0.8], [0.0, 0.5, 0.8])]
        [1.0, 0.5, 0.0]
    """
    from rliable.library import create_performance_profile, score_distributions

    column, limits = _column("values", values), _column("thresholds", thresholds)[:, 0]
    shares = score_distributions(column, limits)
    seeds = len(column)
    if seeds < MINIMUM_SEEDS:
        return tuple(Interval(float(share), None, None, seeds) for share in shares)
    with global_numpy_seed(seed):
        _, ends = create_performance_profile({"": column}, limits, reps=REPETITIONS)
    low, high = ends[""]
    return tuple(
        Interval(float(share), float(a), float(b), seeds)
        for share, a, b in zip(shares, low, high, strict=True)
    )


def median_seed(values: Mapping[int, float]) -> int:
    """Seed of the median value, the lower of the two in the middle: an agent that exists.

    Raises:
        ValueError: no values.

    Example:
        >>> median_seed({0: 0.9, 1: 0.2, 2: 0.5, 3: 0.7})
        2
    """
    if not values:
        raise ValueError("values is empty; give the value of at least one seed")
    ranked = sorted(values, key=lambda seed: (values[seed], seed))
    return ranked[(len(ranked) - 1) // 2]


def _independent(statistic: Callable[..., Array], x: Array, y: Array, seed: int) -> Interval:
    """A statistic of two samples of seeds, each resampled on its own."""
    from rliable.library import StratifiedIndependentBootstrap

    estimate, seeds = float(statistic(x, y)[0]), min(len(x), len(y))
    if seeds < MINIMUM_SEEDS:
        return Interval(estimate, None, None, seeds)
    with global_numpy_seed(seed):
        low, high = StratifiedIndependentBootstrap(x, y).conf_int(
            statistic, reps=REPETITIONS, size=0.95, method="percentile"
        )
    return Interval(estimate, float(low[0]), float(high[0]), seeds)


def _column(name: str, values: Sequence[float]) -> Array:
    column = np.asarray(values, dtype=np.float64)
    if column.ndim != 1 or column.size == 0 or not np.isfinite(column).all():
        raise ValueError(f"{name} must be a list of at least one finite number")
    return column[:, None]
