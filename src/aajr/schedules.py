"""Schedules of ε and λ: functions of the update, or of the agent's performance."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from aajr._checks import check_count, check_number

Schedule = Callable[[int], float]
"""A value for every update."""


def value_at(value: float | Schedule, update: int) -> float:
    """The number itself, or the value of the schedule at the update.

    Example:
        >>> value_at(0.2, 5), value_at(Linear(0.0, 0.2, updates=10), 5)
        (0.2, 0.1)
    """
    return value(update) if callable(value) else value


@dataclass(frozen=True)
class _Ramp(ABC):
    start: float
    end: float
    updates: int

    def __post_init__(self) -> None:
        check_number("start", self.start)
        check_number("end", self.end)
        check_count("updates", self.updates)

    def __call__(self, update: int) -> float:
        """Value at an update."""
        return self.start + (self.end - self.start) * self._share(min(1.0, update / self.updates))

    @abstractmethod
    def _share(self, progress: float) -> float:
        """How far the value is on its way from start to end."""


@dataclass(frozen=True)
class Linear(_Ramp):
    """From ``start`` to ``end`` in a straight line over ``updates``, constant afterwards.

    Example:
        >>> Linear(0.0, 0.2, updates=10)(5)
        0.1
    """

    def _share(self, progress: float) -> float:
        return progress


@dataclass(frozen=True)
class Cosine(_Ramp):
    """From ``start`` to ``end`` along half a cosine over ``updates``, constant afterwards.

    Example:
        >>> Cosine(0.0, 1.0, updates=10)(10)
        1.0
    """

    def _share(self, progress: float) -> float:
        return (1 - math.cos(math.pi * progress)) / 2


@dataclass(frozen=True)
class PerformanceCurriculum:
    """Raise the value while the agent does well, lower it when it does badly.

    The next value depends only on the present value and the performance, so the value is the only
    state.

    Attributes:
        start: first value.
        end: greatest value; ``start`` is the least.
        step: change of the value at each call.
        raise_above: performance from which the value rises.
        lower_below: performance below which the value falls.

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

    .. math:: \log\lambda \leftarrow \log\lambda + \rho\,e_t + \kappa\,(e_t - e_{t-1}), \qquad
        e_t = \log(Q_q(\|Jv\|)/\gamma) \in [-1, 1]

    Dual ascent with multiplicative steps, damped by the change of the excess e_t: without the
    damping λ overshoots, because the policy responds to it only after many updates. λ settles where
    the constraint holds with equality, or at its least value where the constraint is not active.
    Every penalty whose per-sample value is a squared norm can be used. λ moves only at updates at
    which the penalty acts, so with AAJR(interval=1) eight times as often as with the default.

    Attributes:
        gamma: γ, output units per input unit.
        quantile: q, share of the rows that must obey; 1 for the largest.
        rate: ρ per update; with rate and damping 0 the quantile is measured and λ is constant.
        damping: κ.
        weight: λ; first value and then the state.
        excess: e_{t-1}, also part of the state; None at first.
        least: lower bound of λ.
        greatest: upper bound of λ.

    Example:
        >>> weight = DualAscent(gamma=1.0, quantile=0.5, rate=0.5, weight=1.0)
        >>> weight.observe(torch.tensor([4.0, 4.0]))
        2.0
        >>> round(weight(0), 4)
        1.4142

    Source: Stooke, Achiam and Abbeel, Responsive safety in reinforcement learning by PID
    Lagrangian methods, 2020, https://arxiv.org/abs/2007.03964.
    """

    gamma: float
    quantile: float = 0.9
    rate: float = 0.1
    damping: float = 2.0
    weight: float = 1e-3
    excess: float | None = None
    least: float = 1e-8
    greatest: float = 1e4

    def __post_init__(self) -> None:
        for name in ("gamma", "quantile", "weight", "least"):
            check_number(name, getattr(self, name), exclusive=True)
        check_number("rate", self.rate)
        check_number("damping", self.damping)
        check_number("quantile", self.quantile, maximum=1.0)
        check_number("greatest", self.greatest, minimum=self.least)

    def __call__(self, update: int) -> float:
        """The present λ, at every update."""
        return self.weight

    def observe(self, squared: Tensor) -> float:
        """Take in ‖Jv‖² of some rows, move λ, and return the quantile of ‖Jv‖."""
        norms = squared.detach().double().clamp_min(0).sqrt()
        level = float(torch.quantile(norms, self.quantile))
        excess = max(-1.0, min(1.0, math.log(max(level, 1e-300) / self.gamma)))
        change = 0.0 if self.excess is None else excess - self.excess
        moved = self.weight * math.exp(self.rate * excess + self.damping * change)
        self.weight = min(self.greatest, max(self.least, moved))
        self.excess = excess
        return level

    def state_dict(self) -> dict[str, Tensor]:
        """``dual``: λ and the last excess; NaN if there is none."""
        excess = math.nan if self.excess is None else self.excess
        return {"dual": torch.tensor([self.weight, excess], dtype=torch.float64)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore ``dual`` if the state has it."""
        if "dual" in state:
            self.weight, excess = state["dual"].tolist()
            self.excess = None if math.isnan(excess) else excess


@runtime_checkable
class Weight(Protocol):
    """A λ that may depend on the measured ‖Jv‖; :class:`DualAscent` is one."""

    def __call__(self, update: int) -> float:
        """λ at an update."""
        ...

    def observe(self, squared: Tensor) -> float | None:
        """Update λ by ‖Jv‖² of some rows; return the measured quantile of ‖Jv‖, None for none."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """Its state by name; empty if there is none."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what :meth:`state_dict` gave; other entries of the state are ignored."""
        ...


@dataclass(frozen=True)
class FixedWeight:
    """A number or a schedule as a :class:`Weight`: it ignores what is measured.

    Example:
        >>> weight = FixedWeight(Linear(0.0, 0.2, updates=10))
        >>> weight.observe(torch.ones(3)), weight(10)
        (None, 0.2)
    """

    value: float | Schedule

    def __call__(self, update: int) -> float:
        """λ at an update."""
        return value_at(self.value, update)

    def observe(self, squared: Tensor) -> None:
        """Ignore the values."""

    def state_dict(self) -> dict[str, Tensor]:
        """An empty state."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Do nothing: there is no state."""
