"""A running mean, so that a penalty's scale does not drift with the scale of the gradients."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from aajr._checks import check_number


@dataclass(frozen=True)
class RunningMean:
    """Exponential running mean of a positive quantity, started at its first value.

    Attributes:
        decay: weight of the old mean at each update.
        value: the mean so far; None before the first update.

    Example:
        >>> import torch
        >>> mean = RunningMean(decay=0.5).update(torch.tensor([2.0]))
        >>> mean.update(torch.tensor([4.0])).value
        3.0
    """

    decay: float = 0.99
    value: float | None = None

    def __post_init__(self) -> None:
        check_number("decay", self.decay, maximum=1.0)

    def update(self, sample: Tensor) -> RunningMean:
        """The running mean updated by the mean of ``sample``."""
        new = float(sample.mean())
        old = new if self.value is None else self.value
        return replace(self, value=self.decay * old + (1 - self.decay) * new)

    def normalized(self, value: Tensor) -> Tensor:
        """``value`` divided by the mean; unchanged while the mean is zero or None."""
        return value / self.value if self.value else value
