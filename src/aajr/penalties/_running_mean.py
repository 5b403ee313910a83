"""A running mean, so that a penalty's scale does not drift with the gradients'."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from aajr._checks import check_number


@dataclass
class RunningMean:
    """Exponential running mean of a positive quantity, started at its first value.

    Attributes:
        decay: weight of the past.
        value: the mean so far; None before the first update.

    Example:
        >>> import torch
        >>> mean = RunningMean(decay=0.5)
        >>> mean.update(torch.tensor([2.0])), mean.update(torch.tensor([4.0]))
        (2.0, 3.0)
    """

    decay: float = 0.99
    value: float | None = None

    def __post_init__(self) -> None:
        check_number("decay", self.decay, maximum=1.0)

    def update(self, sample: Tensor) -> float:
        """Take in the mean of a batch and return the running mean."""
        new = float(sample.mean())
        old = new if self.value is None else self.value
        self.value = self.decay * old + (1 - self.decay) * new
        return self.value

    def normalized(self, value: Tensor) -> Tensor:
        """``value`` over the mean, or as it is while the mean is zero or unknown."""
        return value / self.value if self.value else value
