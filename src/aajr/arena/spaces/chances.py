"""Choices of which an adversary decides a share: another entry is played with some probability."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from aajr.arena.spaces.heads import CategoricalHead, one_hot
from aajr.geometry import Euclidean

NOTHING = 1e-6
"""Weight of every entry that the adversary does not raise."""


@dataclass(frozen=True)
class ChanceHead:
    r"""Choices that are played with some probability, and otherwise another entry.

    Outputs are the chosen entry a as a one-hot vector, a number u of [0, 1), and weights p, for
    every distribution. The entry a is played with probability p_a, another one b with probability

    .. math:: (1 - p_a) \frac{p_b}{\sum_{c \ne a} p_c}.

    Of p = a nothing else is played. An adversary that moves each p by at most ε decides with
    probability ε at most. u decides, so that a result is repeated.

    Attributes:
        sizes: number of entries of each distribution.

    Example:
        >>> chosen, weights = torch.tensor([[1.0, 0, 0]] * 2), torch.tensor([[0.7, 0.0, 0.3]] * 2)
        >>> outputs = torch.cat([chosen, torch.tensor([[0.2], [0.4]]), weights], 1)
        >>> head = ChanceHead((3,))
        >>> head.act(outputs).flatten(), head.relaxed(outputs)[0].round(decimals=3)
        (tensor([2, 0]), tensor([0.7000, 0.0000, 0.3000]))

    Source: Tessler et al., Action robust reinforcement learning, 2019,
    https://arxiv.org/abs/1901.09184 (probabilistic action robust MDP).
    """

    sizes: tuple[int, ...]
    limits = (0.0, 1.0)

    @property
    def metric(self) -> Euclidean:
        """The Euclidean metric."""
        return Euclidean()

    @property
    def outputs(self) -> int:
        """Number of chosen entries, of numbers u and of weights."""
        return 2 * sum(self.sizes) + len(self.sizes)

    def act(self, outputs: Tensor) -> Tensor:
        """The played entries."""
        chosen, chance, _ = self._parts(outputs)
        own, played = self._choices.act(chosen), []
        for index, others in enumerate(self._others(outputs)):
            # the other entries take the first part of [0, 1), and u ≥ Σ leaves the chosen one
            found = (chance[..., index : index + 1] >= others.cumsum(-1)).sum(-1)
            played.append(torch.where(found < self.sizes[index], found, own[..., index]))
        return torch.stack(played, -1)

    def explore(self, outputs: Tensor, share: float, generator: torch.Generator) -> Tensor:
        """The chosen entries, a share of them uniform."""
        chosen = self._parts(outputs)[0]
        return self._choices.explore(chosen.log(), share, generator)

    def encode(self, action: Tensor) -> Tensor:
        """One-hot vectors."""
        return one_hot(action, self.sizes)

    def relaxed(self, outputs: Tensor) -> Tensor:
        """The probabilities with which entries are played."""
        chosen = self._split(self._parts(outputs)[0])
        pairs = zip(chosen, self._others(outputs), strict=True)
        return torch.cat([own * (1 - b.sum(-1, keepdim=True)) + b for own, b in pairs], -1)

    def least(self, outputs: Tensor, value: Callable[[Tensor], Tensor]) -> Tensor:
        """Outputs whose weights are all on the entry of least value in every distribution."""
        chosen, chance, _ = self._parts(outputs)
        worst = self._choices.act(self._choices.least(chosen, value))
        return torch.cat([chosen, chance, self.encode(worst)], -1)

    @property
    def _choices(self) -> CategoricalHead:
        return CategoricalHead(self.sizes)

    def _parts(self, outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Chosen entries, numbers u, weights."""
        entries = sum(self.sizes)
        sizes = [entries, len(self.sizes), entries]
        chosen, chance, weights = torch.split(outputs, sizes, -1)
        return chosen, chance, weights

    def _split(self, parts: Tensor) -> tuple[Tensor, ...]:
        return torch.split(parts, list(self.sizes), -1)

    def _others(self, outputs: Tensor) -> list[Tensor]:
        """Probabilities of all but the chosen entries, ``[..., size]`` for every distribution."""
        chosen, _, weights = self._parts(outputs)
        found = []
        for own, weight in zip(self._split(chosen), self._split(weights), strict=True):
            moved = (1 - (own * weight).sum(-1, keepdim=True)).clamp(0, 1)
            other = (1 - own) * (weight.clamp_min(0) + NOTHING)
            found.append(moved * other / other.sum(-1, keepdim=True).clamp_min(NOTHING))
        return found
