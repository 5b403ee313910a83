"""Agents: a network, the distribution of its actions, and the unit in which it sees."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aajr.arena.heads import Head
from aajr.geometry import Metric

RAW = "the environment's own units"
"""The unit of observations that are not normalised."""

ADAPTERS = {"sb3": "aajr.integrations.sb3"}
"""Packages of other libraries; they lie above the arena and are imported when first used."""


class Agent(nn.Module):
    """A torch policy as an :class:`aajr.arena.environments.AgentLike`.

    Agents of other libraries come from the functions :meth:`from_sb3` and so on.

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
        >>> from aajr.arena.heads import CategoricalHead
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
        self.value, self.sight = value, sight
        self.differentiable, self.source = differentiable, source

    @staticmethod
    def from_sb3(
        path_or_model: Any,
        *,
        normalise: Any = None,
        frames: int | None = None,
        channels_first: bool = False,
        device: torch.device | str = "cpu",
        custom: Iterable[type] = (),
        trust: bool = False,
    ) -> Agent:
        """An agent of Stable-Baselines3 or sb3-contrib.

        A zip holds pickled parts, which could run code. They are read as plain data, and the
        policy is built from SB3's own classes, so that nothing in the file is run.

        Args:
            path_or_model: a zip of SB3's ``save``, a directory of
                :func:`aajr.integrations.sb3.save_agent`, or a live model, whose policy is copied.
            normalise: VecNormalize or the file of its ``save``; by default ``vecnormalize.pkl`` or
                ``vec_normalize.pkl`` beside the zip. False if observations are not normalised.
            frames: number of VecFrameStack, if the environment itself does not stack frames.
            channels_first: whether the environment shows images channels first. SB3 turns those
                that show them last, and a zip does not tell.
            device: where to put the weights.
            custom: classes of the policy, extractor or activation that are not SB3's or torch's.
            trust: whether to unpickle the parts, which runs whatever code they hold.

        Raises:
            ValueError: a damaged or foreign file, unknown classes, missing statistics.

        Example:
            >>> from stable_baselines3 import DQN
            >>> agent = Agent.from_sb3(DQN("MlpPolicy", "CartPole-v1", device="cpu"))
            >>> agent.features, agent.head.outputs, agent.unit
            (4, 2, "the environment's own units")
        """
        agent: Agent = import_module(ADAPTERS["sb3"]).agent_from(
            path_or_model,
            normalise=normalise,
            frames=frames,
            channels_first=channels_first,
            device=device,
            custom=custom,
            trust=trust,
        )
        return agent

    def forward(self, observation: Tensor) -> Tensor:
        """Outputs of the network."""
        outputs: Tensor = self.network(observation)
        return outputs

    @property
    def metric(self) -> Metric:
        """Geometry of the outputs."""
        return self.head.metric
