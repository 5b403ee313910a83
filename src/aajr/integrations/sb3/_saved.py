"""An agent for evaluation: the policy as a differentiable map, and what belongs to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from torch import Tensor, nn

from aajr.geometry import Metric
from aajr.integrations.sb3._maps import ActorCriticMap, SquashedGaussianMap, policy_map

Algorithm = Literal["PPO", "SAC", "TD3"]


@dataclass(frozen=True, eq=False)
class Normalisation:
    """VecNormalize's running statistics: x = clip((o - mean)/sqrt(var + ε)).

    Attributes:
        mean: of the observations, float64.
        variance: of the observations, float64.
        epsilon: added to the variance.
        clip: greatest absolute value of a normalised observation.
    """

    mean: Tensor
    variance: Tensor
    epsilon: float
    clip: float

    def __call__(self, observation: Tensor) -> Tensor:
        """The normalised observation, float32."""
        centred = observation.double() - self.mean
        return (
            (centred / (self.variance + self.epsilon).sqrt()).clamp(-self.clip, self.clip).float()
        )


@dataclass(frozen=True, eq=False)
class SavedAgent:
    """A trained agent as :func:`load_agent` returns it; its parameters need no gradient.

    Attributes:
        policy: module map from x ``[batch, features]``, in the unit that the policy sees, to the
            parameters of the action: (mean, log std), logits, or TD3's action.
        value: map from x to values ``[batch]``: V(x) of PPO, min_i Q_i(x, π(x)) of SAC and TD3.
        critic: map from (x, action in [-1, 1]) to min_i Q_i ``[batch]``; None for PPO.
        metric: geometry of the policy's output.
        algorithm: ``"PPO"``, ``"SAC"`` or ``"TD3"``.
        action_space: the environment's.
        normalisation: statistics of the observations, None if they are not normalised.
        robustness: adversary, ε and its unit, penalty and weight of the training.
        versions: of the libraries that trained and saved the agent.
    """

    policy: nn.Module
    value: Callable[[Tensor], Tensor]
    critic: Callable[[Tensor, Tensor], Tensor] | None
    metric: Metric
    algorithm: Algorithm
    action_space: spaces.Space
    normalisation: Normalisation | None
    robustness: Mapping[str, Any] | None
    versions: Mapping[str, str]

    def normalise(self, observation: Tensor | np.ndarray) -> Tensor:
        """What the policy sees of the environment's observation, float32 ``[batch, ...]``."""
        device = next(self.policy.parameters()).device
        tensor = torch.as_tensor(observation, device=device)
        return tensor.float() if self.normalisation is None else self.normalisation(tensor)

    @torch.no_grad()
    def act(self, x: Tensor) -> Tensor:
        """The deterministic action in the environment's unit, as SB3's ``predict`` gives it.

        Args:
            x: what the policy sees, ``[batch, ...]``: ``normalise(observation)``, or an attacked
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
        if self.algorithm == "PPO":
            action = torch.minimum(torch.maximum(output.chunk(2, -1)[0], low), high)
        else:
            action = low + 0.5 * (self.squashed(output) + 1) * (high - low)
        return action.reshape(-1, *space.shape)

    def squashed(self, output: Tensor) -> Tensor:
        """The mode in [-1, 1] that the critics of SAC and TD3 take, ``[batch, actions]``."""
        return _squashed(self.policy, output)


def saved_agent(
    algorithm: Algorithm,
    policy: BasePolicy,
    normalisation: Normalisation | None,
    robustness: Mapping[str, Any] | None,
    versions: Mapping[str, str],
) -> SavedAgent:
    """Wrap one of SB3's policies, which is put in evaluation mode for good."""
    policy.set_training_mode(False)
    policy.requires_grad_(False)
    mapped = policy_map(policy)

    def state_value(x: Tensor) -> Tensor:
        return policy.predict_values(x).flatten()

    def critic(x: Tensor, action: Tensor) -> Tensor:
        return torch.cat(policy.critic(x, action), 1).amin(1)

    def action_value(x: Tensor) -> Tensor:
        return critic(x, _squashed(mapped.module, mapped.module(x)))

    plain = isinstance(policy, ActorCriticPolicy)
    return SavedAgent(
        policy=mapped.module,
        value=state_value if plain else action_value,
        critic=None if plain else critic,
        metric=mapped.metric,
        algorithm=algorithm,
        action_space=policy.action_space,
        normalisation=normalisation,
        robustness=robustness,
        versions=versions,
    )


def _squashed(module: nn.Module, output: Tensor) -> Tensor:
    if isinstance(module, ActorCriticMap):
        raise ValueError("PPO's action is not squashed; use action(output)")
    return output.chunk(2, -1)[0].tanh() if isinstance(module, SquashedGaussianMap) else output


def _modes(output: Tensor, space: spaces.Space) -> Tensor:
    if isinstance(space, spaces.Discrete):
        return output.argmax(-1)
    heads = space.nvec.tolist() if isinstance(space, spaces.MultiDiscrete) else [2] * space.n
    return torch.stack([head.argmax(-1) for head in torch.split(output, heads, -1)], -1)
