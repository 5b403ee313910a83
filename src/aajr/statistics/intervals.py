"""Statistics over seeds: interquartile mean, bootstrap intervals, paired differences.

The unit of every interval is the seed, never the episode: episodes of one policy say how well that
policy is known, not how much the method varies.

Source: Agarwal et al., Deep reinforcement learning at the edge of the statistical precipice, 2021,
https://arxiv.org/abs/2108.13264.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MINIMUM_SEEDS = 3
"""With fewer seeds no interval is estimated."""

REPETITIONS = 2000
"""Bootstrap resamples behind an interval."""

TAIL = (1 - 0.95) / 2
"""Share of the resamples beyond either end of an interval."""

Array = NDArray[np.float64]
Statistic = Callable[..., Array]


@dataclass(frozen=True)
class Interval:
    """A figure over seeds with its 95 % bootstrap interval.

    Attributes:
        estimate: the figure.
        low: lower end, or None when it was not estimated.
        high: upper end, or None when it was not estimated.
        seeds: number of seeds behind it.
    """

    estimate: float
    low: float | None
    high: float | None
    seeds: int

    @property
    def sign(self) -> int:
        """+1 or −1 if the interval lies on one side of zero, otherwise 0.

        Example:
            >>> Interval(0.02, -0.01, 0.05, seeds=5).sign
            0
        """
        if self.low is None or self.high is None:
            return 0
        return int(self.low > 0) - int(self.high < 0)


def interquartile_mean(scores: Array, axis: int = -1) -> Array:
    """Mean of the middle half along an axis.

    A quarter of the values, rounded down, is cut at either end; of three or fewer it is the mean.

    Example:
        >>> float(interquartile_mean(np.array([0.0, 4.0, 5.0, 99.0])))
        4.5
    """
    ranked = np.sort(np.moveaxis(scores, axis, 0), axis=0)
    cut = len(ranked) // 4
    middle: Array = ranked[cut : len(ranked) - cut].mean(axis=0)
    return middle


def bootstrap(
    *samples: Sequence[float] | Array,
    statistic: Statistic = interquartile_mean,
    seed: int = 0,
) -> Interval:
    """A statistic of one or more samples of seeds, with its 95 % percentile interval by SciPy.

    Args:
        samples: values of each method, one for each seed; every sample is resampled on its own.
        statistic: map from as many arrays ``[..., seeds]`` as there are samples, and ``axis``, to
            ``[...]``.
        seed: seed of the resampling; nothing else decides the draws.

    Returns:
        The interval; its ``seeds`` are those of the smallest sample. With fewer than three the
        ends are None.

    Raises:
        ValueError: no sample, or one that is not a list of at least one finite number.

    Example:
        >>> bootstrap([0.5, 0.5, 0.5])
        Interval(estimate=0.5, low=0.5, high=0.5, seeds=3)
    """
    if not samples:
        raise ValueError("samples is empty; give the values of at least one method")
    arrays = [finite_values("samples", values) for values in samples]
    estimate, seeds = float(statistic(*arrays, axis=-1)), min(map(len, arrays))
    if seeds < MINIMUM_SEEDS:
        return Interval(estimate, None, None, seeds)
    # Imported late: it costs half a second, which `aajr --help` should not pay.
    from scipy import stats

    # With several samples one resample of each in turn: the order of draws behind older results.
    found = stats.bootstrap(
        arrays,
        statistic,
        n_resamples=REPETITIONS,
        batch=None if len(arrays) == 1 else 1,
        vectorized=True,
        method="percentile",
        random_state=seed,
    )
    # By NumPy, since the last digit of SciPy's own quantile depends on its version.
    low, high = np.quantile(found.bootstrap_distribution, [TAIL, 1 - TAIL])
    return Interval(estimate, float(low), float(high), seeds)


def finite_values(name: str, values: Sequence[float] | Array) -> Array:
    """The values as a vector.

    Raises:
        ValueError: if they are not a list of at least one finite number; it says ``name``.
    """
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1 or vector.size == 0 or not np.isfinite(vector).all():
        raise ValueError(
            f"{name} has shape {vector.shape} or is not finite; "
            "give a list of at least one finite number"
        )
    return vector


def paired_difference(
    first: Mapping[int, float], second: Mapping[int, float], *, seed: int = 0
) -> Interval | None:
    """Mean of ``first − second`` over the seeds that both have, with its bootstrap interval.

    Args:
        first: value of each seed.
        second: value of each seed.
        seed: seed of the resampling.

    Returns:
        The interval, or None if they share no seed. Two methods are called different only if it
        excludes zero.

    Example:
        >>> paired_difference({0: 0.7, 1: 0.8}, {0: 0.6, 1: 0.6, 2: 0.1}).estimate
        0.15
    """
    common = sorted(first.keys() & second.keys())
    if not common:
        return None
    return mean_difference([first[key] - second[key] for key in common], seed=seed)


def mean_difference(differences: Sequence[float], *, seed: int = 0) -> Interval:
    """Mean of paired differences with its bootstrap interval.

    Differences are rounded to 1e-9, so that rounding errors of one sign cannot pass for an effect.

    Example:
        >>> mean_difference([1e-17, 1e-17, 1e-17]).sign
        0
    """
    rounded = finite_values("differences", differences).round(9)
    interval = bootstrap(rounded, statistic=np.mean, seed=seed)
    return Interval(round(interval.estimate, 9), interval.low, interval.high, interval.seeds)


def sign_flip_probability(differences: Sequence[float]) -> float:
    r"""Probability under chance of a mean at least as far from zero: the exact sign-flip test.

    .. math:: p = 2^{-n} \#\{s \in \{-1, 1\}^n : |s^\top d| \geq |1^\top d|\}

    It shows what few seeds can say: with n of them p is never below :math:`2^{1-n}`, so that fewer
    than six cannot reach 5 %, whatever a bootstrap interval looks like.

    Args:
        differences: paired differences, one for each seed, at least one.

    Returns:
        The two-sided p-value; above 16 seeds from 65 536 random flips with a fixed seed.

    Example:
        >>> sign_flip_probability([0.1, 0.2, 0.3])
        0.25
    """
    values = finite_values("differences", differences)
    if len(values) == 1:
        return 1.0
    # With a margin, or rounding errors would decide the ties.
    least = abs(values.sum()) - 1e-12 * np.abs(values).sum()

    def reaches(flipped: Array, axis: int) -> Array:
        return (np.abs(flipped.sum(axis=axis)) >= least).astype(np.float64)

    from scipy import stats

    found = stats.permutation_test(
        (values,),
        reaches,
        permutation_type="samples",
        alternative="greater",
        n_resamples=2**16,
        vectorized=True,
        random_state=0,
    )
    return float(found.pvalue)


def area_under_curve(curve: Mapping[float, float]) -> float:
    """Mean height of a curve of success against radius, by the trapezoidal rule.

    Args:
        curve: success at each radius, at least two radii.

    Returns:
        Area divided by the range of radii, so in the unit of the curve.

    Raises:
        ValueError: for fewer than two radii.

    Example:
        >>> area_under_curve({0.0: 1.0, 0.1: 0.5, 0.3: 0.5})
        0.5833333333333334
    """
    if len(curve) < 2:
        raise ValueError(f"curve has {len(curve)} radii; give at least two")
    radii = sorted(curve)
    area = sum((b - a) * (curve[a] + curve[b]) / 2 for a, b in itertools.pairwise(radii))
    return float(area / (radii[-1] - radii[0]))
