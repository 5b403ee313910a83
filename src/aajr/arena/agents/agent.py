"""Agents: a network, the distribution of its actions, and the unit in which it sees."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor, nn

from aajr.arena.agents._sources import RAW as RAW
from aajr.arena.agents._sources import Sources
from aajr.arena.spaces.heads import Head
from aajr.geometry import Metric


class Agent(Sources, nn.Module):
    """A torch policy as an :class:`aajr.arena.environments.protocols.AgentLike`.

    Agents of other libraries come from its functions, such as :meth:`from_sb3`. The network may be
    on any device: observations go there, and its outputs come back.

    Args:
        network: map from observations ``[..., features]`` to the head's outputs.
        head: distribution of the actions.
        features: size of an observation.
        unit: unit of the observations and of ε, for instance raw or normalised.
        value: the agent's own V, from observations ``[rows, features]`` to ``[rows]``.
        sight: function from raw observations ``[rows, *observation]`` to the agent's input
            ``[rows, features]``, for instance a normalisation; ε has the unit of the result. None
            for the observations themselves, flat and in float32.
        differentiable: whether gradients pass through the network; False for a black box.
        source: what it was loaded from, for reports.

    Example:
        >>> import torch
        >>> from aajr.arena.spaces.heads import CategoricalHead
        >>> head = CategoricalHead((2,))
        >>> agent = Agent(nn.Linear(4, 2), head, 4, "observation units")
        >>> agent.head.act(agent(torch.zeros(3, 4))).shape
        torch.Size([3, 1])
    """

    def __init__(
        self,
        network: nn.Module,
        head: Head,
        features: int,
        unit: str,
        value: Callable[[Tensor], Tensor] | None = None,
        *,
        sight: Callable[[np.ndarray], Tensor] | None = None,
        differentiable: bool = True,
        source: str = "",
    ) -> None:
        super().__init__()
        self.network, self.head, self.features, self.unit = network, head, features, unit
        self.value = None if value is None else self._placed(value)
        self.sight = sight
        self.differentiable, self.source = differentiable, source

    def forward(self, observation: Tensor) -> Tensor:
        """Outputs of the network."""
        return self._placed(self.network)(observation)

    def _placed(self, function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """A function that runs where the network is, of tensors that may be elsewhere."""
        weight = next(self.network.parameters(), None)

        def placed(observation: Tensor) -> Tensor:
            device = observation.device if weight is None else weight.device
            return function(observation.to(device)).to(observation.device)

        return placed

    @property
    def metric(self) -> Metric:
        """Geometry of the outputs."""
        return self.head.metric
