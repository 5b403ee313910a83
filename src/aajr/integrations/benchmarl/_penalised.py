"""BenchMARL's loss modules with λ · penalty added to the actor's loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from benchmarl.algorithms.common import Algorithm, AlgorithmConfig
from tensordict import TensorDict, TensorDictBase
from torch import Tensor, nn
from torchrl.objectives import LossModule

from aajr.geometry import Categorical, DiagonalGaussian, Euclidean, Metric
from aajr.integrations._adversaries import join_mask, only_allowed, protect_mask, split_mask
from aajr.integrations._settings import RobustSettings

ACTOR_LOSSES = {
    "Mappo": "loss_objective",
    "Ippo": "loss_objective",
    "Masac": "loss_actor",
    "Isac": "loss_actor",
    "Maddpg": "loss_actor",
    "Iddpg": "loss_actor",
}
"""The key of the actor's loss; BenchMARL drops keys that have no optimiser."""


@dataclass(frozen=True, eq=False)
class Robustness(RobustSettings):
    """An adversary and a penalty for the actors of all or some groups.

    Attributes:
        adversary: the inner maximisation, which gives the penalty its directions; a
            :class:`aajr.Ball` means projected gradient ascent on the policy's divergence in that
            ball. ε has the unit of the policy's input. With one event dimension every agent has
            its own ball, with two the group shares one.
        penalty: the sensitivity that is penalised; a class means its instance in the metric of
            the actor's distribution.
        weight: λ, a number, a schedule of the minibatch update, or :class:`aajr.DualAscent`.
        epsilon: ε in place of the ball's own, a number or a schedule of the minibatch update.
        seed: seed of the adversary and the penalty.
        groups: names of the groups; all by default.

    Raises:
        ValueError: no penalty.

    Example:
        >>> import aajr
        >>> Robustness(aajr.Ball("linf", 0.1), aajr.AAJR, weight=0.01).groups is None
        True
    """

    groups: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.penalty is None:
            raise ValueError(
                "penalty=None leaves BenchMARL's training as it is, for its losses are taken at "
                "the clean observations; give for instance aajr.AAJR"
            )


@dataclass
class RobustConfig:
    """A BenchMARL config whose algorithm has the penalty in its actors' losses.

    Attributes:
        host: BenchMARL's own config; all other attributes are read from it.
        robustness: adversary, penalty and weight.
    """

    host: AlgorithmConfig
    robustness: Robustness

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # pickle looks up methods before `host` is set
            raise AttributeError(name)
        return getattr(self.host, name)

    def get_algorithm(self, experiment: Any) -> Algorithm:
        """BenchMARL's algorithm, with a hook in the loss modules of the chosen groups."""
        algorithm = self.host.get_algorithm(experiment)
        get_loss, key = algorithm._get_loss, ACTOR_LOSSES[type(algorithm).__name__]

        def hooked(group: str, policy_for_loss: Any, continuous: bool) -> tuple[LossModule, bool]:
            loss, targets = get_loss(group, policy_for_loss, continuous)
            if self.robustness.groups is None or group in self.robustness.groups:
                hook = PenalisedActor(policy_for_loss, group, key, self.robustness)
                loss.register_forward_hook(hook)
            return loss, targets

        algorithm._get_loss = hooked
        return algorithm


def robustify(config: AlgorithmConfig, robustness: Robustness) -> RobustConfig:
    r"""The config of the same algorithm with the penalty in its actors' loss.

    .. math:: L_\text{actor} + \lambda R(\theta)

    Args:
        config: config of MAPPO, IPPO, MASAC, ISAC, MADDPG or IDDPG.
        robustness: adversary, penalty and weight.

    Returns:
        A config for BenchMARL's ``Experiment``.

    Raises:
        ValueError: another algorithm.

    Example:
        >>> import aajr
        >>> from benchmarl.algorithms import MappoConfig
        >>> settings = Robustness(aajr.Ball("linf", 0.1), aajr.AAJR, weight=0.01)
        >>> robustify(MappoConfig.get_from_yaml(), settings).associated_class().__name__
        'Mappo'

    Source: Bettini et al., BenchMARL, 2024, https://arxiv.org/abs/2312.01472.
    """
    name = config.associated_class().__name__
    if name not in ACTOR_LOSSES:
        raise ValueError(
            f"config={name} has no actor to penalise; use one of {', '.join(sorted(ACTOR_LOSSES))}"
        )
    return RobustConfig(config, robustness)


class PenalisedActor:
    """A forward hook of a loss module that adds the penalty to the actor's loss.

    Args:
        policy: the group's actor, whose parameters the loss module trains.
        group: name of the group.
        key: key of the actor's loss.
        robustness: adversary, penalty and weight.

    Raises:
        ValueError: a recurrent policy, several observations in a group.
    """

    def __init__(self, policy: Any, group: str, key: str, robustness: Robustness) -> None:
        self.key = key
        self.observation, self.mask = observation_key(policy, group)
        self.map = ActorMap(policy, self.observation, self.mask)
        self.metric = metric_of(policy)
        self.minimax = robustness.minimax(self.metric)

    def __call__(self, module: nn.Module, inputs: Any, losses: TensorDictBase) -> TensorDictBase:
        """Add λ · penalty at the minibatch's observations to the actor's loss."""
        x = inputs[0].get(self.observation)
        if self.mask is not None:
            mask = inputs[0].get(self.mask)
            if not self.map.actions:
                self.map.actions = mask.shape[-1]
                protect_mask(self.minimax, x.shape[-1], mask.shape[-1])
            x = join_mask(x, mask)
        regularised = self.minimax.regularise(self.map, x.flatten(0, -3))
        if regularised.total.requires_grad:
            losses.set(self.key, losses.get(self.key) + regularised.total)
        losses.set("aajr_penalty", regularised.penalty.detach())
        return losses


class ActorMap(nn.Module):
    """Map from observations ``[batch, agents, features]`` to the parameters of the actions.

    Args:
        policy: a probabilistic actor of BenchMARL, shared and not copied.
        observation: key of its input.
        mask: key of the action mask, which is appended to the observation; None for none.
    """

    def __init__(
        self, policy: Any, observation: tuple[str, ...], mask: tuple[str, ...] | None = None
    ) -> None:
        super().__init__()
        self.policy = policy
        self.observation = observation
        self.mask = mask
        self.actions = 0

    def forward(self, x: Tensor) -> Tensor:
        """(mean, log scale), logits, or the plain action: ``[batch, agents, parameters]``."""
        allowed = None
        if self.mask is not None:
            x, allowed = split_mask(x, self.actions)
        entries = (
            {self.observation: x} if allowed is None else {self.observation: x, self.mask: allowed}
        )
        seen = TensorDict(entries, batch_size=x.shape[:1])
        parameters = self.policy.get_dist_params(seen)
        keys = [key for key in self.policy[-1].in_keys if key != self.observation]
        values = {key[-1] if isinstance(key, tuple) else key: parameters.get(key) for key in keys}
        if "scale" in values:
            return torch.cat([values["loc"], values["scale"].log()], -1)
        if allowed is not None:
            return only_allowed(values["logits"], allowed)
        return values["logits"] if "logits" in values else values["param"]


def metric_of(policy: Any) -> Metric:
    """The Fisher metric of a stochastic actor; Euclidean for a deterministic one."""
    names = {key[-1] if isinstance(key, tuple) else key for key in policy[-1].in_keys}
    if "scale" in names:
        return DiagonalGaussian()
    return Categorical() if "logits" in names else Euclidean()


Key = tuple[str, ...]


def observation_key(policy: Any, group: str) -> tuple[Key, Key | None]:
    """The keys of a group's observation and of its action mask; None without a mask.

    Raises:
        ValueError: a recurrent policy, several observations.
    """
    keys = [key for key in policy.in_keys if key != "is_init"]
    if "is_init" in policy.in_keys or any("hidden" in str(key) for key in keys):
        raise ValueError(
            f"the policy of group {group!r} is recurrent (it reads {policy.in_keys}); one "
            "observation does not determine its output. Use an MLP or GNN, with past frames in "
            "the observation"
        )
    keys = [key if isinstance(key, tuple) else (key,) for key in keys]
    masks = [key for key in keys if key[-1] == "action_mask"]
    keys = [key for key in keys if key not in masks]
    if len(keys) != 1 or len(masks) > 1:
        raise ValueError(
            f"the policy of group {group!r} reads {keys}; a ball needs one vector of floats: "
            "concatenate them by TorchRL's CatTensors in the task's transforms"
        )
    return keys[0], masks[0] if masks else None
