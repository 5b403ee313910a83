"""The attacked maps, from the policy's input to the parameters of its action."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.sac.policies import LOG_STD_MAX, LOG_STD_MIN
from torch import Tensor, nn

from aajr._layers import Clamp
from aajr.arena.spaces.heads import DeterministicHead, GaussianHead, SquashedGaussianHead
from aajr.geometry import Categorical, DiagonalGaussian, Euclidean, Metric
from aajr.integrations.sb3._layers import feature_layers, joined, widened


class ActorCriticMap(nn.Module):
    """PPO, A2C: x to (mean, log std) of a Gaussian, or to the logits of categorical heads.

    A MultiBinary action is one head per bit with the logits (0, u).

    Args:
        policy: SB3's policy, shared and not copied.
    """

    head: type[GaussianHead]

    def __init__(self, policy: ActorCriticPolicy) -> None:
        super().__init__()
        self.policy = policy
        self.metric = _fisher(policy.action_space)
        self.scaled = bool(policy.squash_output)
        self.head = SquashedGaussianHead if self.scaled else GaussianHead

    def forward(self, x: Tensor) -> Tensor:
        """Distribution parameters, ``[batch, parameters]``."""
        return self.parameters_at(self.features(x))

    def features(self, x: Tensor) -> Tensor:
        """What the extractor finds in the policy's input, ``[batch, features]``."""
        return BasePolicy.extract_features(self.policy, x, self.policy.pi_features_extractor)

    def parameters_at(self, features: Tensor) -> Tensor:
        """Distribution parameters at the extractor's features, or at the output of an LSTM."""
        policy = self.policy
        latent = policy.mlp_extractor.forward_actor(features)
        output = policy.action_net(latent)
        if isinstance(policy.action_space, spaces.Box):
            return torch.cat([output, self._log_std(latent).expand_as(output)], -1)
        binary = isinstance(policy.action_space, spaces.MultiBinary)
        if binary and output.shape[-1] == policy.action_space.n:  # MaskablePPO has two per bit
            return torch.stack([torch.zeros_like(output), output], -1).flatten(1)
        return output

    def as_sequential(self) -> nn.Sequential:
        """The same map as a chain of layers, for bounds; see :func:`aajr.certification.audit`."""
        policy = self.policy
        _check_layers(policy)
        features = feature_layers(policy, policy.pi_features_extractor)
        return joined(features, policy.mlp_extractor.policy_net, self._head())

    def _log_std(self, latent: Tensor) -> Tensor:
        policy = self.policy
        return noise_log_std(policy, latent) if policy.use_sde else policy.log_std

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
    head = SquashedGaussianHead
    scaled = True

    def __init__(self, actor: BasePolicy) -> None:
        super().__init__()
        self.actor = actor

    def forward(self, x: Tensor) -> Tensor:
        """Distribution parameters, ``[batch, 2 · actions]``."""
        mean, log_std, more = self.actor.get_action_dist_params(x)
        if self.actor.use_sde:
            log_std = noise_log_std(self.actor, more["latent_sde"])
        return torch.cat([mean, log_std], -1)

    def as_sequential(self) -> nn.Sequential:
        """The same map as a chain of layers, for bounds."""
        actor = self.actor
        _check_layers(actor)
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
        network: SB3's actor, policy or Q network, shared and not copied.

    Attributes:
        layers: name of the layers after the features.
    """

    metric: Metric = Euclidean()
    head = DeterministicHead
    scaled: bool
    layers: str

    def __init__(self, network: BasePolicy) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Actions, or values of the actions, ``[batch, actions]``."""
        features = self.network.extract_features(x, self.network.features_extractor)
        return getattr(self.network, self.layers)(features)

    def as_sequential(self) -> nn.Sequential:
        """The same map as a chain of layers, for bounds."""
        features = feature_layers(self.network, self.network.features_extractor)
        return joined(features, getattr(self.network, self.layers))


class DeterministicMap(PlainMap):
    """TD3, DDPG: x to the action in [-1, 1]."""

    layers, scaled = "mu", True


class ActionValueMap(PlainMap):
    """DQN: x to Q(x, a) for every action a; the action of the greatest value is played."""

    layers, scaled = "q_net", False


class QuantileMap(ActionValueMap):
    """QR-DQN: x to the mean of the quantiles of Q(x, a) for every action a."""

    def forward(self, x: Tensor) -> Tensor:
        """Values of the actions, ``[batch, actions]``."""
        return self.network(x).mean(1)

    def as_sequential(self) -> nn.Sequential:
        """Raise ValueError: the mean over quantiles is no layer."""
        raise ValueError("the values of QR-DQN are no chain of layers; attack it instead")


class DirectMap(PlainMap):
    """ARS: x to the action, in [-1, 1] if it is squashed, or to the scores of discrete actions."""

    layers = "action_net"

    def __init__(self, policy: BasePolicy) -> None:
        super().__init__(policy)
        self.scaled = bool(policy.squash_output)


PolicyMap = ActorCriticMap | SquashedGaussianMap | PlainMap
"""A differentiable map of a policy.

``metric`` is the geometry of its output. For continuous actions ``head`` is the class of their
head, and ``scaled`` whether their mode lies in [-1, 1] and is scaled to the bounds.
"""


def policy_map(policy: BasePolicy) -> PolicyMap:
    """The map of a policy of PPO, A2C, SAC, TD3, DDPG, DQN, and of sb3-contrib's algorithms."""
    if hasattr(policy, "mlp_extractor"):
        return ActorCriticMap(policy)
    if hasattr(policy, "q_net"):
        return ActionValueMap(policy.q_net)
    if hasattr(policy, "quantile_net"):
        return QuantileMap(policy.quantile_net)
    if hasattr(policy, "action_net"):
        return DirectMap(policy)
    if hasattr(policy.actor, "get_action_dist_params"):
        return SquashedGaussianMap(policy.actor)
    return DeterministicMap(policy.actor)


def noise_log_std(policy: BasePolicy, latent: Tensor) -> Tensor:
    """log σ of a policy with gSDE, whose noise is a random linear map of the last hidden layer.

    σ² = (hidden layer)² · exp(log std)² for a noise that is drawn anew at every step.

    Source: Raffin et al., Smooth exploration for robotic reinforcement learning, 2021,
    https://arxiv.org/abs/2005.05719.
    """
    noise = policy.action_dist
    variance = latent.square() @ noise.get_std(policy.log_std).square()
    return 0.5 * (variance + noise.epsilon).log()


def _check_layers(policy: BasePolicy) -> None:
    if getattr(policy, "use_sde", False):
        raise ValueError("use_sde=True has a state-dependent deviation that no chain of layers has")


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
    check_feedforward(agent.policy)
    check_observations(agent.observation_space)
    if getattr(agent, "use_sde", False):
        raise ValueError("use_sde=True draws the noise from the features; use use_sde=False")


def check_feedforward(policy: BasePolicy) -> None:
    """Raise ValueError for a recurrent policy."""
    if any(isinstance(m, nn.RNNBase | nn.RNNCellBase) for m in policy.modules()):
        raise ValueError(
            f"policy={type(policy).__name__} is recurrent; one observation does not "
            "determine its output. Use 'MlpPolicy' with "
            "stable_baselines3.common.vec_env.VecFrameStack"
        )


def check_observations(space: spaces.Space) -> None:
    """Raise ValueError for observations that are neither floats nor images."""
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
