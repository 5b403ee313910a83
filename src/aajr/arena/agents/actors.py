"""The tanh network that a team shares as its actor, and a filter for reports."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from aajr._checks import check_count
from aajr.arena.agents.agent import Agent
from aajr.arena.spaces.heads import CategoricalHead


class Actor(Agent):
    """A tanh network from observations ``[..., features]`` to logits of independent heads.

    Args:
        features: size of the observation.
        heads: sizes of the action's heads.
        hidden: sizes of the hidden layers.
        generator: source of the initial weights.
        unit: see :class:`aajr.arena.agents.agent.Agent`.
        front: module applied to the observation first, which keeps its shape; None for none.
    """

    def __init__(
        self,
        features: int,
        heads: tuple[int, ...],
        hidden: Sequence[int] = (64, 64),
        generator: torch.Generator | None = None,
        unit: str = "observation units",
        front: nn.Module | None = None,
    ) -> None:
        generator = generator or torch.Generator().manual_seed(0)
        network = TanhNetwork(*mlp(features, sum(heads), hidden, generator))
        super().__init__(network, CategoricalHead(heads), features, unit)
        self.heads = heads
        self.front = front

    def forward(self, observation: Tensor) -> Tensor:
        """Logits of every head."""
        return super().forward(observation if self.front is None else self.front(observation))

    def as_sequential(self) -> nn.Sequential:
        """The network as layers, for certified bounds."""
        return nn.Sequential(*([] if self.front is None else [self.front]), self.network)


class MedianReports(nn.Module):
    """Replace every report by the coordinate-wise median of all reports.

    It is the natural filter for a designer who knows that some sources lie: if fewer than n/2 of
    the n sources lie, each coordinate of the median stays within the range of the honest reports.

    Args:
        sources: number of the source that reports each feature, -1 for none, ``[features]``; the
            sources report the same quantities, one source after the other.

    Raises:
        ValueError: no feature has a source.

    Example:
        >>> filter = MedianReports(torch.tensor([-1, 0, 0, 1, 1, 2, 2]))
        >>> filter(torch.tensor([[7.0, 1.0, 2.0, 1.5, -9.0, 9.0, 3.0]]))
        tensor([[7.0000, 1.5000, 2.0000, 1.5000, 2.0000, 1.5000, 2.0000]])

    Source: Yin et al., Byzantine-robust distributed learning, 2018,
    https://arxiv.org/abs/1803.01498.
    """

    def __init__(self, sources: Tensor) -> None:
        super().__init__()
        if not bool((sources >= 0).any()):
            raise ValueError("sources names no source, so there are no reports to filter")
        self.count = int(sources.max()) + 1
        self.reports = (sources >= 0).nonzero().flatten()
        # where each feature of the result stands in the observation and the medians behind it
        self.places = torch.arange(len(sources))
        self.places[self.reports] = len(sources) + torch.arange(len(self.reports))

    def forward(self, observation: Tensor) -> Tensor:
        """Return the observations with every report replaced, ``[..., features]``."""
        told = observation[..., self.reports]
        told = told.reshape(*told.shape[:-1], self.count, -1)
        agreed = told.median(-2, keepdim=True).values.expand_as(told).flatten(-2)
        return torch.cat([observation, agreed], -1)[..., self.places]


class TanhNetwork(nn.Sequential):
    """Linear layers with tanh between them.

    tanh x is computed as 2σ(2x) - 1, which takes torch a fifth of the time on a CPU and differs by
    at most 2e-7 in float32.

    Example:
        >>> TanhNetwork(nn.Tanh())(torch.tensor([0.0, 100.0]))
        tensor([0., 1.])
    """

    def forward(self, x: Tensor) -> Tensor:
        """Outputs ``[..., outputs]`` at ``[..., inputs]``."""
        for layer in self:
            x = 2.0 * torch.sigmoid(2.0 * x) - 1.0 if isinstance(layer, nn.Tanh) else layer(x)
        return x

    def as_sequential(self) -> nn.Sequential:
        """The same map as a chain of layers, for bounds."""
        return nn.Sequential(*self)


def mlp(
    inputs: int, outputs: int, hidden: Sequence[int], generator: torch.Generator
) -> nn.Sequential:
    """A tanh network with orthogonal weights and zero biases; the last layer has gain 0.01."""
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
