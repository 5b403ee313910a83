"""Statistics over seeds: interquartile mean, bootstrap intervals, paired differences.

The unit of every interval is the seed, never the episode: episodes of one policy say how well that
policy is known, not how much the method varies.

Source: Agarwal et al., Deep reinforcement learning at the edge of the statistical precipice, 2021,
https://arxiv.org/abs/2108.13264.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aajr._settings import check_count

MINIMUM_SEEDS = 3
"""With fewer seeds no interval is estimated."""

REPETITIONS = 2000
"""Bootstrap resamples behind an interval."""

Array = NDArray[np.float64]
Statistic = Callable[[Array], Array]


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


def interquartile_mean(scores: Array) -> Array:
    """Mean of the middle half of each column: ``[seeds, ...]`` to ``[...]``.

    A quarter of the seeds, rounded down, is cut at either end; with three seeds or fewer it is the
    mean.

    Example:
        >>> float(interquartile_mean(np.array([0.0, 4.0, 5.0, 99.0])))
        4.5
    """
    cut = len(scores) // 4
    middle: Array = np.sort(scores, axis=0)[cut : len(scores) - cut].mean(axis=0)
    return middle


def mean(scores: Array) -> Array:
    """Mean of each column: ``[seeds, ...]`` to ``[...]``."""
    average: Array = np.mean(scores, axis=0)
    return average


def bootstrap(
    scores: Array,
    statistic: Statistic = interquartile_mean,
    *,
    seed: int = 0,
    repetitions: int = REPETITIONS,
) -> tuple[Interval, ...]:
    """95 % percentile intervals by rliable's stratified bootstrap over seeds.

    The result depends on ``seed`` alone: rliable draws from NumPy's global generator, whose state
    is set for the call and put back afterwards.

    Args:
        scores: ``[seeds, columns]``; the columns are strata, each resampled on its own.
        statistic: map from ``[seeds, columns]`` to ``[columns]``.
        seed: seed of the resampling.
        repetitions: number of resamples.

    Returns:
        One interval for each column. With fewer than three seeds the ends are None.

    Raises:
        ValueError: if ``scores`` is not a finite ``[seeds, columns]`` array with entries.

    Example:
        >>> bootstrap(np.array([[0.5], [0.5], [0.5]]))
        (Interval(estimate=0.5, low=0.5, high=0.5, seeds=3),)
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2 or scores.size == 0 or not np.isfinite(scores).all():
        raise ValueError(
            f"scores has shape {scores.shape} or is not finite; give finite [seeds, columns]"
        )
    check_count("repetitions", repetitions)
    estimates = statistic(scores)
    seeds = len(scores)
    if seeds < MINIMUM_SEEDS:
        return tuple(Interval(float(value), None, None, seeds) for value in estimates)
    # Imported late: it costs more than a second, which `aajr --help` should not pay.
    from rliable.library import StratifiedBootstrap

    with global_numpy_seed(seed):
        low, high = StratifiedBootstrap(scores).conf_int(
            statistic, reps=repetitions, size=0.95, method="percentile"
        )
    return tuple(
        Interval(float(value), float(a), float(b), seeds)
        for value, a, b in zip(estimates, low, high, strict=True)
    )


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
    column = np.asarray(differences, dtype=np.float64).round(9)[:, None]
    interval = bootstrap(column, mean, seed=seed)[0]
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
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise ValueError("differences must be a list of at least one finite number")
    if values.size <= 16:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=values.size)))
    else:
        signs = np.random.default_rng(0).choice((-1.0, 1.0), size=(2**16, values.size))
    tolerance = 1e-12 * np.abs(values).sum()
    return float((np.abs(signs @ values) >= abs(values.sum()) - tolerance).mean())


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


@contextmanager
def global_numpy_seed(seed: int) -> Iterator[None]:
    """Set NumPy's global generator for a while, for libraries that draw from it."""
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)
