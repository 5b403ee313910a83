"""Whole episodes played at once, through TorchRL's rollout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.envs import EnvBase

from aajr.adversaries import Adversary
from aajr.arena.agents.actors import Actor
from aajr.arena.spaces.distributions import CategoricalHeads
from aajr.arena.spaces.heads import sample_heads


class Player(Protocol):
    """A function that plays one team: ``[environments, agents, features]`` to named tensors.

    ``action`` ``[environments, agents, heads]`` is played; the rest is recorded.
    """

    def __call__(self, observation: Tensor) -> dict[str, Tensor]:
        """Choose actions."""
        ...


@dataclass(frozen=True, eq=False)
class FrozenTeam:
    """Opponents that do not learn; the environments are split evenly among them.

    Attributes:
        actors: one or several frozen actors.
        generator: source of their actions.
    """

    actors: Sequence[Actor]
    generator: torch.Generator

    def __post_init__(self) -> None:
        if not self.actors:
            raise ValueError("actors is empty; give at least one frozen opponent")

    @torch.no_grad()
    def __call__(self, observation: Tensor) -> dict[str, Tensor]:
        """Sample every actor's actions in its share of the environments."""
        shares = observation.tensor_split(len(self.actors))
        actions = [
            sample_heads(actor(share), actor.heads, self.generator)
            for actor, share in zip(self.actors, shares, strict=True)
        ]
        return {"action": torch.cat(actions)}


@dataclass(frozen=True, eq=False)
class LearningTeam:
    """The learning team, with an adversary on its observations or on its logits.

    Attributes:
        actor: the policy.
        generator: source of actions and attacks.
        observation_adversary: perturbs the observations; None for clean ones.
        action_adversary: perturbs the logits; None for clean ones.
        attacked_share: share of the environments under attack.
    """

    actor: Actor
    generator: torch.Generator
    observation_adversary: Adversary | None = None
    action_adversary: Adversary | None = None
    attacked_share: float = 1.0

    def __call__(self, observation: Tensor) -> dict[str, Tensor]:
        """Attack, choose actions, and return what an update needs."""
        perceived = self._perceive(observation)
        with torch.no_grad():
            logits = self.actor(perceived)
        shift = self._shift(logits, observation)
        distribution = CategoricalHeads(logits + shift, self.actor.heads)
        action = sample_heads(logits + shift, self.actor.heads, self.generator)
        return {
            "action": action,
            "perceived": perceived,
            "shift": shift,
            "action_log_prob": distribution.log_prob(action),
        }

    def _attacked(self, observation: Tensor) -> int:
        return round(self.attacked_share * observation.shape[0])

    def _perceive(self, observation: Tensor) -> Tensor:
        count = self._attacked(observation)
        if self.observation_adversary is None or count == 0:
            return observation
        flat = observation[:count].flatten(0, 1)
        worst = self.observation_adversary(self.actor, flat, self.generator).worst
        return torch.cat([worst.reshape(observation[:count].shape), observation[count:]])

    def _shift(self, logits: Tensor, observation: Tensor) -> Tensor:
        shift = torch.zeros_like(logits)
        count = self._attacked(observation)
        if self.action_adversary is not None and count:
            flat = logits[:count].flatten(0, 1)
            data = {"observation": observation[:count].flatten(0, 1)}
            attacked = self.action_adversary(_identity, flat, self.generator, data).worst
            shift[:count] = (attacked - flat).reshape(logits[:count].shape)
        return shift


def collect(env: EnvBase, players: Mapping[str, Player], steps: int, seed: int) -> TensorDict:
    """Play every environment for one whole episode.

    Args:
        env: TorchRL environment with groups named as the players.
        players: one for each group.
        steps: length of the episode.
        seed: seed of the environments' initial states.

    Returns:
        TensorDict ``[environments, steps]`` with each player's tensors under its group.
    """

    def act(td: TensorDictBase) -> TensorDictBase:
        for group, player in players.items():
            for name, value in player(td[group, "observation"]).items():
                td.set((group, name), value)
        return td

    env.set_seed(seed)
    data: TensorDict = env.rollout(steps, act, break_when_any_done=False)
    return data


def _identity(x: Tensor) -> Tensor:
    return x.clone()
