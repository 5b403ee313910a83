"""The attacked maps, from the policy's input to the parameters of its action."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.dqn.policies import QNetwork
from stable_baselines3.sac.policies import LOG_STD_MAX, LOG_STD_MIN
from stable_baselines3.sac.policies import Actor as SACActor
from stable_baselines3.td3.policies import Actor as TD3Actor
from torch import Tensor, nn

from aajr._layers import Clamp
from aajr.geometry import Categorical, DiagonalGaussian, Euclidean, Metric
from aajr.integrations.sb3._layers import feature_layers, joined, widened


class ActorCriticMap(nn.Module):
    """PPO, A2C: x to (mean, log std) of a Gaussian, or to the logits of categorical heads.

    A MultiBinary action is one head per bit with the logits (0, u).

    Args:
        policy: SB3's policy, shared and not copied.
    """

    def __init__(self, policy: ActorCriticPolicy) -> None:
        super().__init__()
        self.policy = policy
        self.metric = _fisher(policy.action_space)

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

    def as_sequential(self) -> nn.Sequential:
        """The same map as a chain of layers, for bounds; see :func:`aajr.certification.audit`."""
        policy = self.policy
        features = feature_layers(policy, policy.pi_features_extractor)
        return joined(features, policy.mlp_extractor.policy_net, self._head())

    def _head(self) -> nn.Module:
        policy, head = self.policy, self.policy.action_net
        if isinstance(policy.action_space, spaces.Box):
            rows = torch.arange(head.out_features)
            return widened(head, rows, torch.cat([head.bias * 0, policy.log_std]))
        if isinstance(policy.action_space, spaces.MultiBinary):
            rows = 2 * torch.arange(head.out_features) + 1
            return widened(head, rows, head.bias.new_zeros(2 * head.out_features))
        return head


class SquashedGaussianMap(nn.Module):
    """SAC: x to (mean, log std) of the Gaussian before tanh.

    Args:
        actor: SB3's actor, shared and not copied.
    """

    metric: Metric = DiagonalGaussian()

    def __init__(self, actor: SACActor) -> None:
        super().__init__()
        self.actor = actor

    def forward(self, x: Tensor) -> Tensor:
        """Distribution parameters, ``[batch, 2 · actions]``."""
        mean, log_std, _ = self.actor.get_action_dist_params(x)
        return torch.cat([mean, log_std], -1)

    def as_sequential(self) -> nn.Sequential:
        """The same map as a chain of layers, for bounds."""
        actor = self.actor
        count, weight = actor.mu.out_features, actor.mu.weight
        rows = torch.arange(count)
        head = widened(actor.mu, rows, weight.new_zeros(2 * count))
        with torch.no_grad():
            head.weight[count:] = actor.log_std.weight
            head.bias[count:] = actor.log_std.bias
        free = weight.new_full((count,), torch.inf)
        low = torch.cat([-free, torch.full_like(free, LOG_STD_MIN)])
        clamp = Clamp(low, torch.cat([free, torch.full_like(free, LOG_STD_MAX)]))
        return joined(feature_layers(actor, actor.features_extractor), actor.latent_pi, head, clamp)


class PlainMap(nn.Module):
    """A network without a distribution: a features extractor and the layers after it.

    Args:
        network: SB3's actor or Q network, shared and not copied.

    Attributes:
        head: name of the layers after the features.
    """

    metric: Metric = Euclidean()
    head: str

    def __init__(self, network: TD3Actor | QNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Actions, or values of the actions, ``[batch, actions]``."""
        features = self.network.extract_features(x, self.network.features_extractor)
        return getattr(self.network, self.head)(features)

    def as_sequential(self) -> nn.Sequential:
        """The same map as a chain of layers, for bounds."""
        features = feature_layers(self.network, self.network.features_extractor)
        return joined(features, getattr(self.network, self.head))


class DeterministicMap(PlainMap):
    """TD3, DDPG: x to the action in [-1, 1]."""

    head = "mu"


class ActionValueMap(PlainMap):
    """DQN: x to Q(x, a) for every action a; the action of the greatest value is played."""

    head = "q_net"


PolicyMap = ActorCriticMap | SquashedGaussianMap | DeterministicMap | ActionValueMap
"""A differentiable map of a policy; ``metric`` is the geometry of its output."""


def policy_map(policy: BasePolicy) -> PolicyMap:
    """The map of one of SB3's policies for PPO, A2C, SAC, TD3, DDPG or DQN."""
    if isinstance(policy, ActorCriticPolicy):
        return ActorCriticMap(policy)
    if isinstance(getattr(policy, "q_net", None), QNetwork):
        return ActionValueMap(policy.q_net)
    if isinstance(policy.actor, SACActor):
        return SquashedGaussianMap(policy.actor)
    return DeterministicMap(policy.actor)


def _fisher(space: spaces.Space) -> Metric:
    if isinstance(space, spaces.Discrete):
        return Categorical()
    if isinstance(space, spaces.MultiDiscrete):
        return Categorical(heads=tuple(int(n) for n in space.nvec))
    if isinstance(space, spaces.MultiBinary):
        return Categorical(heads=(2,) * space.n)
    return DiagonalGaussian()


def check_supported(agent: BaseAlgorithm) -> None:
    """Raise ValueError for recurrent policies, gSDE, or observations not of floats or images."""
    if any(isinstance(m, nn.RNNBase | nn.RNNCellBase) for m in agent.policy.modules()):
        raise ValueError(
            f"policy={type(agent.policy).__name__} is recurrent; one observation does not "
            "determine its output. Use 'MlpPolicy' with "
            "stable_baselines3.common.vec_env.VecFrameStack"
        )
    space = agent.observation_space
    if not isinstance(space, spaces.Box):
        raise ValueError(
            f"observation_space={space} is a {type(space).__name__}; a ball needs one vector of "
            "floats: wrap the environment in gymnasium.wrappers.FlattenObservation"
        )
    if not is_image_space(space) and not np.issubdtype(space.dtype, np.floating):
        raise ValueError(
            f"observation_space={space} holds {space.dtype}, counts that are no image; only floats "
            "and images of uint8 are attacked: wrap the environment in "
            "gymnasium.wrappers.DtypeObservation(env, np.float32)"
        )
    if getattr(agent, "use_sde", False):
        raise ValueError("use_sde=True draws the noise from the features; use use_sde=False")
