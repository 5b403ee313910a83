"""Statistics over seeds: interquartile mean, bootstrap intervals, paired differences.

The unit of every interval is the seed, never the episode. Episodes of one policy show how
precisely this policy is measured, not how much the method varies between trainings.

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
"""Share of the resamples beyond each end of an interval."""

Array = NDArray[np.float64]
Statistic = Callable[..., Array]


@dataclass(frozen=True)
class Interval:
    """A figure over seeds with its 95 % bootstrap interval.

    Attributes:
        estimate: the figure.
        low: lower end; None if it was not estimated.
        high: upper end; None if it was not estimated.
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

    A quarter of the values, rounded down, is cut at each end; of three or fewer values it is the
    plain mean.

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
        seed: seed of the resampling; the draws depend on it alone.

    Returns:
        The interval; its ``seeds`` are the size of the smallest sample. With fewer than three
        seeds the ends are None.

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
    # Imported here, since the import takes half a second and `aajr --help` does not need it.
    from scipy import stats

    # Several samples are resampled in turn, which keeps the draws of earlier results.
    found = stats.bootstrap(
        arrays,
        statistic,
        n_resamples=REPETITIONS,
        batch=None if len(arrays) == 1 else 1,
        vectorized=True,
        method="percentile",
        random_state=seed,
    )
    # NumPy's quantile, since the last digit of SciPy's own depends on its version.
    low, high = np.quantile(found.bootstrap_distribution, [TAIL, 1 - TAIL])
    return Interval(estimate, float(low), float(high), seeds)


def proportion(hits: Sequence[bool]) -> Interval:
    """A share of yes-or-no observations with its 95 % Wilson interval by SciPy.

    Args:
        hits: the observations; their number is the interval's ``seeds``.

    Raises:
        ValueError: no observations.

    Example:
        >>> found = proportion([True, True, False, False])
        >>> found.estimate, round(found.low, 2), round(found.high, 2)
        (0.5, 0.15, 0.85)
    """
    if not len(hits):
        raise ValueError("hits is empty; give at least one observation")
    from scipy import stats  # here for the same reason as in bootstrap

    count = sum(map(bool, hits))
    ends = stats.binomtest(count, len(hits)).proportion_ci(0.95, method="wilson")
    return Interval(count / len(hits), float(ends.low), float(ends.high), len(hits))


def finite_values(name: str, values: Sequence[float] | Array) -> Array:
    """The values as a vector.

    Raises:
        ValueError: they are not a list of at least one finite number; the message has ``name``.
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
        The interval, or None if they share no seed. Two methods count as different only if the
        interval excludes zero.

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

    Differences are rounded to 1e-9, so that rounding errors of one sign do not look like an effect.

    Example:
        >>> mean_difference([1e-17, 1e-17, 1e-17]).sign
        0
    """
    rounded = finite_values("differences", differences).round(9)
    interval = bootstrap(rounded, statistic=np.mean, seed=seed)
    return Interval(round(interval.estimate, 9), interval.low, interval.high, interval.seeds)


def sign_flip_probability(differences: Sequence[float]) -> float:
    r"""Exact sign-flip test: probability under chance of a mean at least as far from zero.

    .. math:: p = 2^{-n} \#\{s \in \{-1, 1\}^n : |s^\top d| \geq |1^\top d|\}

    With n seeds p is never below :math:`2^{1-n}`. So fewer than six seeds cannot reach 5 %, however
    narrow their bootstrap interval is.

    Args:
        differences: paired differences, one for each seed, at least one.

    Returns:
        The two-sided p-value; with more than 16 seeds, from 65 536 random flips of a fixed seed.

    Example:
        >>> sign_flip_probability([0.1, 0.2, 0.3])
        0.25
    """
    values = finite_values("differences", differences)
    if len(values) == 1:
        return 1.0
    # The margin counts ties in spite of rounding errors.
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
        ValueError: fewer than two radii.

    Example:
        >>> area_under_curve({0.0: 1.0, 0.1: 0.5, 0.3: 0.5})
        0.5833333333333334
    """
    if len(curve) < 2:
        raise ValueError(f"curve has {len(curve)} radii; give at least two")
    radii = sorted(curve)
    area = sum((b - a) * (curve[a] + curve[b]) / 2 for a, b in itertools.pairwise(radii))
    return float(area / (radii[-1] - radii[0]))
