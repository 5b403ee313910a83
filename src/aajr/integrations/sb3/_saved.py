"""An agent for evaluation: the policy as a differentiable map, its values and wrappers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor

from aajr.arena.spaces.heads import SquashedGaussianHead
from aajr.geometry import Metric
from aajr.integrations.sb3._maps import (
    ActionValueMap,
    ActorCriticMap,
    DirectMap,
    PolicyMap,
    policy_map,
)
from aajr.integrations.sb3._preprocessing import Normalisation, Observer, Preprocessing


@dataclass(frozen=True, eq=False)
class SavedAgent:
    """A trained agent as :func:`load_agent` returns it; its parameters need no gradient.

    Attributes:
        policy: module from the policy's input x ``[batch, features]`` to the parameters of the
            action: (mean, log std), logits, TD3's action, or DQN's values.
        value: map from x to values ``[batch]``: V(x) of PPO and A2C, min_i Q_i(x, π(x)) of SAC and
            TD3, max_a Q(x, a) of DQN; None for ARS, which has none.
        critic: map from (x, action in [-1, 1]) to min_i Q_i ``[batch]``; None except for
            SAC and TD3.
        metric: geometry of the policy's output.
        algorithm: ``"PPO"``, ``"A2C"``, ``"SAC"``, ``"TD3"`` (DDPG too), ``"DQN"``, or one of
            sb3-contrib's.
        observation_space: space of the policy's input.
        action_space: action space of the environment.
        preprocessing: the wrappers between the environment and the policy.
        robustness: adversary, ε and its unit, penalty and weight of the training.
        versions: versions of the libraries that saved the agent.
    """

    policy: PolicyMap
    value: Callable[[Tensor], Tensor] | None
    critic: Callable[[Tensor, Tensor], Tensor] | None
    metric: Metric
    algorithm: str
    observation_space: spaces.Space
    action_space: spaces.Space
    preprocessing: Preprocessing
    robustness: Mapping[str, Any] | None
    versions: Mapping[str, str]

    @property
    def normalisation(self) -> Normalisation | None:
        """VecNormalize's statistics, None if observations are not normalised."""
        return self.preprocessing.normalisation

    @property
    def _device(self) -> torch.device:
        return next(self.policy.parameters()).device

    def normalise(self, observation: Tensor | np.ndarray) -> Tensor:
        """The policy's input for the environment's observations, float32 ``[batch, ...]``.

        Args:
            observation: ``[batch, *observation]``; ``[batch, frames, *observation]``, the newest
                last, if VecFrameStack stacks them. During episodes :meth:`observer` keeps the
                frames.

        Raises:
            ValueError: the wrong shape.
        """
        return self.preprocessing(torch.as_tensor(observation, device=self._device))

    def observer(self) -> Observer:
        """A fresh copy of the environment's wrappers, for new episodes.

        ``observer.reset(observation)`` and ``observer.step(observation, done)`` return the
        policy's input, as the wrapped environment would.
        """
        return Observer(self.preprocessing, self._device)

    @torch.no_grad()
    def act(self, x: Tensor) -> Tensor:
        """The deterministic action in the environment's unit, as SB3's ``predict`` returns it.

        Args:
            x: the policy's input, ``[batch, ...]``: ``normalise(observation)``, or an attacked
                point.

        Returns:
            Actions, ``[batch, *action]``.
        """
        return self.action(self.policy(x))

    def action(self, output: Tensor) -> Tensor:
        """The mode of the distribution that ``output`` describes, in the environment's unit.

        It is differentiable for continuous actions.
        """
        space = self.action_space
        if not isinstance(space, spaces.Box):
            return _modes(output, space)
        low = torch.as_tensor(space.low, device=output.device).flatten()
        high = torch.as_tensor(space.high, device=output.device).flatten()
        if self.policy.scaled:
            action = low + 0.5 * (self.squashed(output) + 1) * (high - low)
        else:
            mean = output[..., : len(low)]
            action = torch.minimum(torch.maximum(mean, low), high)
        return action.reshape(-1, *space.shape)

    def squashed(self, output: Tensor) -> Tensor:
        """The mode in [-1, 1] that the critics of SAC and TD3 take, ``[batch, actions]``."""
        return _squashed(self.policy, output)


def saved_agent(
    algorithm: str,
    policy: BasePolicy,
    preprocessing: Preprocessing,
    robustness: Mapping[str, Any] | None,
    versions: Mapping[str, str],
) -> SavedAgent:
    """Wrap one of SB3's policies; it stays in evaluation mode from then on."""
    policy.set_training_mode(False)
    policy.requires_grad_(False)
    mapped = policy_map(policy)

    def state_value(x: Tensor) -> Tensor:
        return policy.predict_values(x).flatten()

    def critic(x: Tensor, action: Tensor) -> Tensor:
        found = policy.critic(x, action)
        if isinstance(found, Tensor):  # TQC's quantiles
            return found.mean((1, 2))
        return torch.cat(found, 1).amin(1)

    def action_value(x: Tensor) -> Tensor:
        return critic(x, _squashed(mapped, mapped(x)))

    def greatest_value(x: Tensor) -> Tensor:
        return mapped(x).amax(1)

    value: Callable[[Tensor], Tensor] | None = action_value
    scores, plain = isinstance(mapped, ActionValueMap), isinstance(mapped, ActorCriticMap)
    if plain or scores:
        value = state_value if plain else greatest_value
    elif isinstance(mapped, DirectMap):
        value = None
    has_critic = value is action_value
    return SavedAgent(
        policy=mapped,
        value=value,
        critic=critic if has_critic else None,
        metric=mapped.metric,
        algorithm=algorithm,
        observation_space=policy.observation_space,
        action_space=policy.action_space,
        preprocessing=preprocessing,
        robustness=robustness,
        versions=versions,
    )


def _squashed(mapped: PolicyMap, output: Tensor) -> Tensor:
    if not mapped.scaled:
        raise ValueError("the action is squashed for SAC and TD3 only; use action(output)")
    return output.chunk(2, -1)[0].tanh() if mapped.head is SquashedGaussianHead else output


def _modes(output: Tensor, space: spaces.Space) -> Tensor:
    if isinstance(space, spaces.Discrete):
        return output.argmax(-1)
    heads = space.nvec.tolist() if isinstance(space, spaces.MultiDiscrete) else [2] * space.n
    return torch.stack([head.argmax(-1) for head in torch.split(output, heads, -1)], -1)
