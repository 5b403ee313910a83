"""Heads: conversion of a policy's outputs to actions, and encoding of actions for a Q."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from aajr.geometry import Categorical, DiagonalGaussian, Euclidean, Metric


class Head(Protocol):
    """The action distribution, whose parameters are the policy's outputs."""

    @property
    def metric(self) -> Metric:
        """Geometry of the outputs."""

    @property
    def outputs(self) -> int:
        """Number of outputs."""

    @property
    def limits(self) -> tuple[float, float]:
        """Least and greatest number of an encoded action."""

    def act(self, outputs: Tensor) -> Tensor:
        """The most likely action, ``[..., actions]``."""

    def explore(self, outputs: Tensor, share: float, generator: torch.Generator) -> Tensor:
        """Sample actions from the distribution, a share of them uniformly."""

    def encode(self, action: Tensor) -> Tensor:
        """Encode actions for a Q, ``[..., numbers]``."""

    def relaxed(self, outputs: Tensor) -> Tensor:
        """The expected encoded action, differentiable, ``[..., numbers]``."""

    def least(self, outputs: Tensor, value: Callable[[Tensor], Tensor]) -> Tensor:
        """Outputs of an action of little value: each part is the worst one while the others stay.

        Args:
            outputs: outputs of the policy, ``[batch, outputs]``.
            value: map from encoded actions ``[batch, numbers]`` to values ``[batch]``.
        """


@dataclass(frozen=True)
class CategoricalHead:
    """Independent categorical distributions, whose logits share the last dimension.

    It is used for Discrete, MultiDiscrete and MultiBinary actions, and for a Dict of these.

    Attributes:
        sizes: number of entries of each distribution.

    Example:
        >>> head = CategoricalHead((2, 3))
        >>> action = head.act(torch.tensor([[0.0, 1.0, 3.0, 2.0, 1.0]]))
        >>> action, head.encode(action)
        (tensor([[1, 0]]), tensor([[0., 1., 1., 0., 0.]]))
    """

    sizes: tuple[int, ...]
    limits = (0.0, 1.0)

    @property
    def metric(self) -> Categorical:
        """The Fisher metric."""
        return Categorical(self.sizes)

    @property
    def outputs(self) -> int:
        """Number of logits of all distributions."""
        return sum(self.sizes)

    def act(self, outputs: Tensor) -> Tensor:
        """The most likely entries."""
        return greedy_heads(outputs, self.sizes)

    def explore(self, outputs: Tensor, share: float, generator: torch.Generator) -> Tensor:
        """Sampled entries, a share of them uniform."""
        random = torch.rand(outputs.shape[:-1], generator=generator).unsqueeze(-1) < share
        return sample_heads(outputs.masked_fill(random, 0.0), self.sizes, generator)

    def encode(self, action: Tensor) -> Tensor:
        """One-hot vectors."""
        return one_hot(action, self.sizes)

    def relaxed(self, outputs: Tensor) -> Tensor:
        """The probabilities."""
        return self.metric.probabilities(outputs)

    def least(self, outputs: Tensor, value: Callable[[Tensor], Tensor]) -> Tensor:
        """Logits that choose the entry of least value in every distribution."""
        chosen = self.encode(self.act(outputs))
        start, target = 0, torch.zeros_like(chosen)
        for size in self.sizes:
            part = slice(start, start + size)
            entries = torch.eye(size, device=outputs.device).unsqueeze(1)
            values = [value(_replaced(chosen, part, entry)) for entry in entries]
            target[:, part] = entries[torch.stack(values, -1).argmin(-1), 0]
            start += size
        return 10.0 * target


@dataclass(frozen=True, eq=False)
class GaussianHead:
    """A diagonal Gaussian with mean and log standard deviation, clipped to the action's bounds.

    Attributes:
        low: lower bounds of the actions, ``[actions]``.
        high: upper bounds of the actions, ``[actions]``.

    Example:
        >>> head = GaussianHead(-torch.ones(1), torch.ones(1))
        >>> head.act(torch.tensor([[3.0, 0.0], [0.5, 0.0]]))
        tensor([[1.0000],
                [0.5000]])
    """

    low: Tensor
    high: Tensor

    @property
    def metric(self) -> Metric:
        """The Fisher metric."""
        return DiagonalGaussian()

    @property
    def outputs(self) -> int:
        """Number of means and log standard deviations."""
        return 2 * len(self.low)

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest bound of all actions."""
        return float(self.low.min()), float(self.high.max())

    def act(self, outputs: Tensor) -> Tensor:
        """The mean, clipped to the bounds."""
        return self._clipped(self.relaxed(outputs))

    def explore(self, outputs: Tensor, share: float, generator: torch.Generator) -> Tensor:
        """Samples clipped to the bounds, a share of them uniform between the bounds."""
        action = self._clipped(self._drawn(outputs, generator))
        if share == 0:
            return action
        random = torch.rand(outputs.shape[:-1], generator=generator).unsqueeze(-1) < share
        place = torch.rand(action.shape, generator=generator)
        return torch.where(random, self.low + place * (self.high - self.low), action)

    def encode(self, action: Tensor) -> Tensor:
        """The unchanged actions."""
        return action

    def relaxed(self, outputs: Tensor) -> Tensor:
        """The mean."""
        return outputs.chunk(2, -1)[0]

    def least(self, outputs: Tensor, value: Callable[[Tensor], Tensor]) -> Tensor:
        """Outputs whose mean is, for every action, the bound of smaller value."""
        chosen, worst = self.act(outputs), []
        for index in range(len(self.low)):
            part = slice(index, index + 1)
            ends = self.low[part], self.high[part]
            low, high = (value(_replaced(chosen, part, end)) for end in ends)
            worst.append(torch.where(low < high, *ends))
        return self._with_mean(torch.stack(worst, -1), outputs)

    def _drawn(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        mean, log_deviation = outputs.chunk(2, -1)
        noise = torch.randn(mean.shape, generator=generator)
        return self.relaxed(torch.cat([mean + log_deviation.exp() * noise, log_deviation], -1))

    def _with_mean(self, action: Tensor, outputs: Tensor) -> Tensor:
        return torch.cat([action, outputs.chunk(2, -1)[1]], -1)

    def _clipped(self, action: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(action, self.low), self.high)


@dataclass(frozen=True, eq=False)
class SquashedGaussianHead(GaussianHead):
    """A diagonal Gaussian before tanh, scaled to the action's bounds, as in SAC."""

    def relaxed(self, outputs: Tensor) -> Tensor:
        """The squashed mean."""
        share = (super().relaxed(outputs).tanh() + 1) / 2
        return self.low + share * (self.high - self.low)

    def _with_mean(self, action: Tensor, outputs: Tensor) -> Tensor:
        share = (action - self.low) / (self.high - self.low)
        return super()._with_mean((1.98 * share - 0.99).atanh(), outputs)


@dataclass(frozen=True, eq=False)
class DeterministicHead(GaussianHead):
    """The action itself, as in TD3; exploration is by uniform actions alone."""

    @property
    def metric(self) -> Metric:
        """The Euclidean metric."""
        return Euclidean()

    @property
    def outputs(self) -> int:
        """One output for every action."""
        return len(self.low)

    def relaxed(self, outputs: Tensor) -> Tensor:
        """The action."""
        return outputs

    def _drawn(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        return outputs

    def _with_mean(self, action: Tensor, outputs: Tensor) -> Tensor:
        return action


def sample_heads(logits: Tensor, heads: Sequence[int], generator: torch.Generator) -> Tensor:
    """One sample per head by the Gumbel-max trick: ``[..., sum(heads)]`` to ``[..., heads]``."""
    # -log U is exponential; torch's own exponential draws take four times as long
    noise = torch.rand(logits.shape, generator=generator, device=logits.device, dtype=logits.dtype)
    return greedy_heads(logits - noise.log_().neg_().log_(), heads)


def greedy_heads(logits: Tensor, heads: Sequence[int]) -> Tensor:
    """The most likely entry of every head: ``[..., sum(heads)]`` to ``[..., heads]``."""
    return torch.stack([part.argmax(-1) for part in torch.split(logits, list(heads), -1)], -1)


def one_hot(action: Tensor, heads: Sequence[int]) -> Tensor:
    """Actions ``[..., heads]`` as one-hot ``[..., sum(heads)]``."""
    parts = [nn.functional.one_hot(action[..., i], size) for i, size in enumerate(heads)]
    return torch.cat(parts, -1).float()


def _replaced(chosen: Tensor, part: slice, entry: Tensor) -> Tensor:
    """The chosen actions with one part replaced."""
    changed = chosen.clone()
    changed[:, part] = entry
    return changed
