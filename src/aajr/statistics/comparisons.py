"""Comparisons over seeds: differences, probability of improvement, performance profiles.

Source: Agarwal et al., Deep reinforcement learning at the edge of the statistical precipice, 2021,
https://arxiv.org/abs/2108.13264.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from aajr.statistics.intervals import (
    MINIMUM_SEEDS,
    Array,
    Interval,
    bootstrap,
    finite_values,
    interquartile_mean,
    paired_difference,
)


def difference(
    first: Mapping[int, float], second: Mapping[int, float], *, seed: int = 0
) -> Interval:
    """The first method's value minus the second's, with its bootstrap interval.

    If the methods share enough seeds for an interval, it is the mean of the paired differences.
    Otherwise it is the difference of the interquartile means; the seeds of each method are then
    resampled on their own.

    Args:
        first: value of each seed.
        second: value of each seed.
        seed: seed of the resampling.

    Returns:
        The interval. The methods count as different only if it excludes zero: see its ``sign``.

    Raises:
        ValueError: a method without values, or values that are not finite.

    Example:
        >>> difference({0: 0.9, 1: 0.8, 2: 0.7}, {0: 0.5, 1: 0.4, 2: 0.3}).sign
        1
    """
    x, y = finite_values("first", [*first.values()]), finite_values("second", [*second.values()])
    paired = paired_difference(first, second, seed=seed)
    if paired is not None and paired.seeds >= MINIMUM_SEEDS:
        return paired
    return bootstrap(x, y, statistic=_difference_of_means, seed=seed)


def probability_of_improvement(
    first: Sequence[float], second: Sequence[float], *, seed: int = 0
) -> Interval:
    """P(X > Y) + P(X = Y)/2 for a seed of the first method and one of the second.

    Args:
        first: values of the first method, one for each seed.
        second: values of the second.
        seed: seed of the resampling of both methods.

    Returns:
        The probability with its interval; its ``seeds`` are the smaller of both numbers. The first
        method counts as better only if the interval lies above one half.

    Raises:
        ValueError: an empty list, or values that are not finite.

    Example:
        >>> probability_of_improvement([0.9, 0.5], [0.5, 0.1]).estimate
        0.875
    """
    x, y = finite_values("first", first), finite_values("second", second)
    return bootstrap(x, y, statistic=_share_of_wins, seed=seed)


def performance_profile(
    values: Sequence[float], thresholds: Sequence[float], *, seed: int = 0
) -> tuple[Interval, ...]:
    """Share of the seeds above each threshold: the profile of a method.

    Args:
        values: one value for each seed.
        thresholds: thresholds of the value, at least one.
        seed: seed of the resampling.

    Returns:
        One interval for each threshold.

    Raises:
        ValueError: an empty list, or values that are not finite.

    Example:
        >>> [point.estimate for point in performance_profile([0.2, 0.8], [0.0, 0.5, 0.8])]
        [1.0, 0.5, 0.0]
    """
    column = finite_values("values", values)
    return tuple(
        bootstrap(column > limit, statistic=np.mean, seed=seed)
        for limit in finite_values("thresholds", thresholds)
    )


def holm(probabilities: Mapping[str, float]) -> dict[str, float]:
    """Correct the p-values of several tests by Holm's step-down method.

    Args:
        probabilities: p-value of each test.

    Returns:
        The corrected p-values. If all tests below α count as different, the probability of any
        error is at most α.

    Example:
        >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
        {'a': 0.03, 'b': 0.06, 'c': 0.06}

    Source: Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    corrected, largest = {}, 0.0
    for index, name in enumerate(sorted(probabilities, key=lambda name: probabilities[name])):
        largest = max(largest, min(1.0, (len(probabilities) - index) * probabilities[name]))
        corrected[name] = largest
    return {name: corrected[name] for name in probabilities}


def median_seed(values: Mapping[int, float]) -> int:
    """The seed with the median value; of two in the middle, the one with the lower value.

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


def _difference_of_means(x: Array, y: Array, axis: int) -> Array:
    return interquartile_mean(x, axis) - interquartile_mean(y, axis)


def _share_of_wins(x: Array, y: Array, axis: int) -> Array:
    """Share of the pairs in which x is greater; a tie counts half."""
    one, other = np.moveaxis(x, axis, -1)[..., :, None], np.moveaxis(y, axis, -1)[..., None, :]
    share: Array = ((one > other) + 0.5 * (one == other)).mean(axis=(-2, -1))
    return share
