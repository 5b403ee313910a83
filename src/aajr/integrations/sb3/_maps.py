"""The map that is attacked: from what the policy sees to the parameters of its action."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.sac.policies import Actor as SACActor
from stable_baselines3.td3.policies import Actor as TD3Actor
from torch import Tensor, nn

from aajr.geometry import Categorical, DiagonalGaussian, Euclidean, Metric

_FLATTEN = "wrap the environment in gymnasium.wrappers.FlattenObservation"


class ActorCriticMap(nn.Module):
    """PPO: x to (mean, log std) of a Gaussian, or to the logits of categorical heads.

    A MultiBinary action is one head per bit with the logits (0, u).

    Args:
        policy: SB3's policy, shared and not copied.
    """

    def __init__(self, policy: ActorCriticPolicy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, x: Tensor) -> Tensor:
        """Distribution parameters, ``[batch, parameters]``."""
        policy = self.policy
        features = BasePolicy.extract_features(policy, x, policy.pi_features_extractor)
        output = policy.action_net(policy.mlp_extractor.forward_actor(features))
        if isinstance(policy.action_space, spaces.Box):
            return torch.cat([output, policy.log_std.expand_as(output)], -1)
        if isinstance(policy.action_space, spaces.MultiBinary):
            return torch.stack([torch.zeros_like(output), output], -1).flatten(1)
        return output


class SquashedGaussianMap(nn.Module):
    """SAC: x to (mean, log std) of the Gaussian before tanh.

    Args:
        actor: SB3's actor, shared and not copied.
    """

    def __init__(self, actor: SACActor) -> None:
        super().__init__()
        self.actor = actor

    def forward(self, x: Tensor) -> Tensor:
        """Distribution parameters, ``[batch, 2 · actions]``."""
        mean, log_std, _ = self.actor.get_action_dist_params(x)
        return torch.cat([mean, log_std], -1)


class DeterministicMap(nn.Module):
    """TD3: x to the action in [-1, 1].

    Args:
        actor: SB3's actor, shared and not copied.
    """

    def __init__(self, actor: TD3Actor) -> None:
        super().__init__()
        self.actor = actor

    def forward(self, x: Tensor) -> Tensor:
        """Actions, ``[batch, actions]``."""
        return self.actor.mu(self.actor.extract_features(x, self.actor.features_extractor))


@dataclass(frozen=True)
class PolicyMap:
    """A differentiable map of the policy and the geometry of its output.

    Attributes:
        module: x to distribution parameters.
        metric: the Fisher metric of the output distribution; Euclidean for TD3's actions.
    """

    module: nn.Module
    metric: Metric


def policy_map(policy: BasePolicy) -> PolicyMap:
    """The map and the metric of one of SB3's policies for PPO, SAC or TD3."""
    if isinstance(policy, ActorCriticPolicy):
        return PolicyMap(ActorCriticMap(policy), _fisher(policy.action_space))
    if isinstance(policy.actor, SACActor):
        return PolicyMap(SquashedGaussianMap(policy.actor), DiagonalGaussian())
    return PolicyMap(DeterministicMap(policy.actor), Euclidean())


def _fisher(space: spaces.Space) -> Metric:
    if isinstance(space, spaces.Discrete):
        return Categorical()
    if isinstance(space, spaces.MultiDiscrete):
        return Categorical(heads=tuple(int(n) for n in space.nvec))
    if isinstance(space, spaces.MultiBinary):
        return Categorical(heads=(2,) * space.n)
    return DiagonalGaussian()


def check_supported(agent: BaseAlgorithm) -> None:
    """Raise ValueError for what has no ball around its observations, or no fixed density."""
    space = agent.observation_space
    if not isinstance(space, spaces.Box):
        raise ValueError(
            f"observation_space={space} is a {type(space).__name__}; a ball needs one vector of "
            f"floats: {_FLATTEN}"
        )
    if is_image_space(space) or not np.issubdtype(space.dtype, np.floating):
        raise ValueError(
            f"observation_space={space} holds {space.dtype}, images or counts; only floats are "
            "attacked: wrap the environment in gymnasium.wrappers.DtypeObservation(env, np.float32)"
        )
    if agent.use_sde:
        raise ValueError("use_sde=True draws the noise from the features; use use_sde=False")
    if hasattr(agent.policy, "lstm_actor"):
        raise ValueError(
            f"policy={type(agent.policy).__name__} is recurrent; one observation does not "
            "determine its output. Use 'MlpPolicy' with gymnasium.wrappers.FrameStackObservation"
        )
