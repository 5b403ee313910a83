"""Networks of the agents: one actor per team, shared by its members."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from aajr._checks import check_count
from aajr.geometry import Categorical

ACTION_HEADS = (11, 11, 2, 2)
"""Sizes of the discrete heads: movement in x and y, grab, lock."""


def mlp(inputs: int, outputs: int, hidden: Sequence[int], generator: torch.Generator) -> nn.Module:
    """Tanh network with orthogonal weights and zero biases; the last layer has gain 0.01."""
    for name, value in (("inputs", inputs), ("outputs", outputs)):
        check_count(name, value)
    sizes = [inputs, *hidden, outputs]
    layers: list[nn.Module] = []
    for index, (before, after) in enumerate(itertools.pairwise(sizes)):
        layer = nn.Linear(before, after)
        last = index == len(sizes) - 2
        nn.init.orthogonal_(layer.weight, 0.01 if last else 2**0.5, generator)
        nn.init.zeros_(layer.bias)
        layers += [layer] if last else [layer, nn.Tanh()]
    return nn.Sequential(*layers)


class Actor(nn.Module):
    """Observation ``[..., features]`` to logits ``[..., sum(heads)]`` of independent heads.

    Args:
        features: size of the observation.
        heads: sizes of the action's heads.
        hidden: sizes of the hidden layers.
        generator: source of the initial weights.
    """

    def __init__(
        self,
        features: int,
        heads: tuple[int, ...] = ACTION_HEADS,
        hidden: Sequence[int] = (64, 64),
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.features = features
        self.heads = heads
        generator = generator or torch.Generator().manual_seed(0)
        self.network = mlp(features, sum(heads), hidden, generator)

    def forward(self, observation: Tensor) -> Tensor:
        """Logits of every head."""
        logits: Tensor = self.network(observation)
        return logits

    @property
    def metric(self) -> Categorical:
        """Geometry of the heads."""
        return Categorical(self.heads)

    def act(self, outputs: Tensor) -> Tensor:
        """The most likely actions, ``[..., heads]``."""
        return greedy_heads(outputs, self.heads)

    def explore(self, outputs: Tensor, share: float, generator: torch.Generator) -> Tensor:
        """Actions from the agent's own distribution, a share of them uniformly random."""
        random = torch.rand(outputs.shape[:-1], generator=generator).unsqueeze(-1) < share
        return sample_heads(outputs.masked_fill(random, 0.0), self.heads, generator)

    def encode(self, action: Tensor) -> Tensor:
        """Actions as a Q reads them: one-hot ``[..., sum(heads)]``."""
        return one_hot(action, self.heads)

    def as_sequential(self) -> nn.Sequential:
        """The same as layers, for bounds."""
        return nn.Sequential(self.network)


Act = Callable[[Tensor], Tensor]
"""Map from observations ``[..., features]`` to actions ``[..., heads]``."""


def sample_heads(logits: Tensor, heads: Sequence[int], generator: torch.Generator) -> Tensor:
    """One draw per head by the Gumbel-max trick: ``[..., sum(heads)]`` to ``[..., heads]``."""
    noise = torch.empty_like(logits).exponential_(generator=generator)
    return greedy_heads(logits - noise.log(), heads)


def greedy_heads(logits: Tensor, heads: Sequence[int]) -> Tensor:
    """The most likely entry of every head: ``[..., sum(heads)]`` to ``[..., heads]``."""
    return torch.stack([part.argmax(-1) for part in torch.split(logits, list(heads), -1)], -1)


def one_hot(action: Tensor, heads: Sequence[int]) -> Tensor:
    """Actions ``[..., heads]`` as one-hot ``[..., sum(heads)]``."""
    parts = [nn.functional.one_hot(action[..., i], size) for i, size in enumerate(heads)]
    return torch.cat(parts, -1).float()
