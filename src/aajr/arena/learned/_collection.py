"""Episodes of an attacked victim, and how the attacker lives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from tensordict import TensorDict
from torch import Tensor, nn
from torchrl.envs import EnvBase

from aajr.adversaries import Adversary
from aajr.arena.collection import Player
from aajr.arena.environments import Agent
from aajr.arena.learned._network import Attacker


@runtime_checkable
class TrainingEnvironment(Protocol):
    """An :class:`~aajr.arena.environments.Environment` in which an attacker can be trained."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Its settings as JSON values."""

    @property
    def opponents(self) -> Sequence[nn.Module]:
        """Frozen networks of the others."""

    @property
    def steps(self) -> int:
        """Length of an episode."""

    @property
    def team(self) -> str:
        """Group of the protected team in the TorchRL environment."""

    def torchrl(self, episodes: int, seed: int, device: torch.device) -> EnvBase:
        """The game as a TorchRL environment of so many episodes."""

    def others(self, generator: torch.Generator) -> Mapping[str, Player]:
        """Who plays the other groups."""

    def wins(self, data: TensorDict) -> Tensor:
        """Episodes of a collection that the protected team won, boolean ``[episodes]``."""


@dataclass(frozen=True, eq=False)
class AttackedVictim:
    """A team that sees what the attacker shows it, and takes its most likely action.

    Attributes:
        victim: the frozen agent.
        attacker: whose commands are sampled.
        adversary: carries a command out.
        generator: source of the commands.
    """

    victim: Agent
    attacker: Attacker
    adversary: Adversary
    generator: torch.Generator

    def __call__(self, observation: Tensor) -> dict[str, Tensor]:
        """Command, perturb, act; ``[environments, agents, ...]``."""
        flat = observation.flatten(0, 1)
        command, log_prob = self.attacker.sample(flat, self.generator)
        shown = self.adversary(self.victim, flat, self.generator, {"command": command}).worst
        with torch.no_grad():
            action = self.victim.head.act(self.victim(shown))
        lead = observation.shape[:2]
        return {
            "action": action.reshape(*lead, -1),
            "command": command.reshape(*lead, -1),
            "action_log_prob": log_prob.reshape(lead),
        }


def as_attacker(data: TensorDict, group: str) -> TensorDict:
    """A team's collection ``[environments, steps]`` as its attacker lived it."""
    team = data[group]
    own = {
        "observation": team["observation"],
        "perceived": team["observation"],
        "shift": torch.zeros_like(team["command"]),
        "action": team["command"],
        "action_log_prob": team["action_log_prob"],
    }
    following = {
        "observation": data["next", group, "observation"],
        "reward": -data["next", group, "reward"],
    }
    after = {group: following, "done": data["next", "done"]}
    return TensorDict({group: own, "next": after}, data.batch_size)
