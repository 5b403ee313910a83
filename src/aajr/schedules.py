"""Schedules of ε and λ: functions of the update, or of the agent's performance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from aajr._checks import check_count, check_number


@dataclass(frozen=True)
class Linear:
    """From ``start`` to ``end`` in a straight line over ``updates``, constant afterwards.

    Example:
        >>> Linear(0.0, 0.2, updates=10)(5)
        0.1
    """

    start: float
    end: float
    updates: int

    def __post_init__(self) -> None:
        check_number("start", self.start)
        check_number("end", self.end)
        check_count("updates", self.updates)

    def __call__(self, update: int) -> float:
        """Value at an update."""
        return self.start + (self.end - self.start) * min(1.0, update / self.updates)


@dataclass(frozen=True)
class Cosine:
    """From ``start`` to ``end`` along half a cosine over ``updates``, constant afterwards.

    Example:
        >>> Cosine(0.0, 1.0, updates=10)(10)
        1.0
    """

    start: float
    end: float
    updates: int

    def __post_init__(self) -> None:
        check_number("start", self.start)
        check_number("end", self.end)
        check_count("updates", self.updates)

    def __call__(self, update: int) -> float:
        """Value at an update."""
        progress = min(1.0, update / self.updates)
        return self.start + (self.end - self.start) * (1 - math.cos(math.pi * progress)) / 2


@dataclass(frozen=True)
class PerformanceCurriculum:
    """Raise the value while the agent does well, lower it when it does badly.

    It is a function of the present value, so that its only state is that value.

    Attributes:
        start: first value.
        end: greatest value; ``start`` is the least.
        step: change of the value at each call.
        raise_above: performance from which the value rises.
        lower_below: performance under which the value falls.

    Example:
        >>> curriculum = PerformanceCurriculum(0.0, 0.2, 0.05, raise_above=0.7, lower_below=0.5)
        >>> curriculum.advance(0.05, performance=0.8)
        0.1
    """

    start: float
    end: float
    step: float
    raise_above: float
    lower_below: float

    def __post_init__(self) -> None:
        check_number("start", self.start)
        check_number("end", self.end, minimum=self.start)
        check_number("step", self.step, exclusive=True)
        if not self.lower_below <= self.raise_above:
            raise ValueError(
                f"lower_below={self.lower_below} exceeds raise_above={self.raise_above}; swap them"
            )

    def advance(self, value: float, performance: float) -> float:
        """The next value after seeing ``performance``."""
        check_number("performance", performance, minimum=-math.inf)
        if performance >= self.raise_above:
            return min(self.end, value + self.step)
        if performance < self.lower_below:
            return max(self.start, value - self.step)
        return value


@dataclass
class DualAscent:
    r"""λ such that a quantile of ‖Jv‖ stays at most γ: the constraint form of a penalty.

    .. math:: \log\lambda \leftarrow \log\lambda + \rho\,\log(Q_q(\|Jv\|)/\gamma)

    Dual ascent with multiplicative steps: λ rises while the quantile is above γ, falls below it,
    and rests where the constraint holds with equality or λ has reached its least value. Each step
    of log λ is at most ρ. It serves every penalty whose per-sample value is a squared norm.

    Attributes:
        gamma: γ, output units per input unit.
        quantile: q, share of the rows that must obey; 1 for the largest.
        rate: ρ per update.
        weight: λ; first value and then the state.
        least: lower bound of λ.
        greatest: upper bound of λ.

    Example:
        >>> weight = DualAscent(gamma=1.0, quantile=0.5, rate=0.5, weight=1.0)
        >>> weight.observe(torch.tensor([4.0, 4.0]))
        2.0
        >>> round(weight(0), 4)
        1.4142

    Source: Boyd et al., Distributed optimization and statistical learning via ADMM, 2011, section
    2.1, for dual ascent; Kivinen and Warmuth, 1997, for multiplicative steps.
    """

    gamma: float
    quantile: float = 0.9
    rate: float = 0.05
    weight: float = 1e-3
    least: float = 1e-8
    greatest: float = 1e4

    def __post_init__(self) -> None:
        for name in ("gamma", "quantile", "rate", "weight", "least"):
            check_number(name, getattr(self, name), exclusive=True)
        check_number("quantile", self.quantile, maximum=1.0)
        check_number("greatest", self.greatest, minimum=self.least)

    def __call__(self, update: int) -> float:
        """λ now, whatever the update."""
        return self.weight

    def observe(self, squared: Tensor) -> float:
        """Take in ‖Jv‖² of some rows, move λ, and return the quantile of ‖Jv‖."""
        norms = squared.detach().double().clamp_min(0).sqrt()
        level = float(torch.quantile(norms, self.quantile))
        excess = math.log(max(level, 1e-300) / self.gamma)
        moved = self.weight * math.exp(self.rate * max(-1.0, min(1.0, excess)))
        self.weight = min(self.greatest, max(self.least, moved))
        return level
