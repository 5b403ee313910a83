"""Agents that may not take every action in every state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aajr.arena.agents.agent import Agent
from aajr.arena.environments.protocols import Recurrent
from aajr.arena.spaces.heads import CategoricalHead

try:
    import gymnasium
    from gymnasium import spaces
except ImportError as error:
    raise ImportError("aajr.arena.agents.masks needs Gymnasium: pip install 'aajr[sb3]'") from error


class ShowMask(gymnasium.ObservationWrapper[Any, Any, Any]):  # type: ignore[misc]
    """Shows which actions are allowed, beside the observation.

    The observation becomes ``{"action_mask": ..., "observation": ...}``. The mask is what the
    environment's method ``action_masks()`` returns, as sb3-contrib reads it: one truth value for
    each choice of each discrete action. The arena's environments let no adversary change it.

    Args:
        environment: the environment, with a method ``action_masks``.

    Raises:
        ValueError: an environment without that method.
    """

    def __init__(self, environment: gymnasium.Env[Any, Any]) -> None:
        super().__init__(environment)
        if not environment.has_wrapper_attr("action_masks"):
            raise ValueError(
                f"environment={environment} has no method action_masks(); give it one that returns "
                "one truth value for each choice"
            )
        self._masks = environment.get_wrapper_attr("action_masks")
        choices = int(spaces.flatdim(environment.action_space))
        if isinstance(environment.action_space, spaces.MultiBinary):
            choices *= 2
        shown = {
            "action_mask": spaces.MultiBinary(choices),
            "observation": environment.observation_space,
        }
        self.observation_space = spaces.Dict(shown)

    def observation(self, observation: Any) -> dict[str, Any]:
        """The observation, beside the mask."""
        mask = np.asarray(self._masks(), dtype=np.int8).reshape(-1)
        return {"action_mask": mask, "observation": observation}


def masked(agent: Agent, shape: Sequence[int] | None = None) -> Agent:
    """The agent in an environment with :class:`ShowMask`: forbidden actions have probability 0.

    It reads the mask before its own features, and a perturbation below one half changes nothing
    in the mask. A mask that forbids everything forbids nothing.

    Args:
        agent: an agent of discrete actions, without a memory.
        shape: shape of the observations that ``agent.sight`` reads; one dimension by default.

    Raises:
        ValueError: continuous actions, a memory.

    Example:
        >>> agent = Agent(nn.Linear(2, 3), CategoricalHead((3,)), 2, "raw")
        >>> shown = torch.tensor([[0.0, 1.0, 0.0, 0.5, 0.5]])
        >>> masked(agent).head.act(masked(agent)(shown))
        tensor([[1]])

    Source: Huang and Ontañón, A closer look at invalid action masking, 2020,
    https://arxiv.org/abs/2006.14171.
    """
    if not isinstance(agent.head, CategoricalHead) or isinstance(agent, Recurrent):
        raise ValueError(
            f"agent acts by a {type(agent.head).__name__}; a mask needs discrete actions, and an "
            "agent without a memory"
        )
    count, own, look = agent.head.outputs, agent.value, agent.sight

    def sight(flat: np.ndarray) -> Tensor:
        mask, rest = flat[:, :count], flat[:, count:]
        raw = rest if shape is None else rest.reshape(-1, *shape)
        seen = torch.as_tensor(raw, dtype=torch.float32).flatten(1) if look is None else look(raw)
        return torch.cat([torch.as_tensor(mask).to(seen), seen], 1)

    return Agent(
        _Masked(agent.network, count),
        agent.head,
        count + agent.features,
        agent.unit,
        None if own is None else (lambda x: own(x[..., count:])),
        sight=sight,
        differentiable=agent.differentiable,
        source=agent.source,
    )


class _Masked(nn.Module):
    """Logits of a network, -inf where the mask in front of its input forbids."""

    def __init__(self, network: nn.Module, count: int) -> None:
        super().__init__()
        self.network, self.count = network, count

    def forward(self, observation: Tensor) -> Tensor:
        allowed, seen = observation[..., : self.count] > 0.5, observation[..., self.count :]
        allowed = allowed | ~allowed.any(-1, keepdim=True)  # who has left a game sees zeros
        logits: Tensor = self.network(seen)
        return logits.masked_fill(~allowed, -math.inf)
