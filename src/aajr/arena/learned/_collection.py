"""Episodes of an attacked victim, and how the attacker lives them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from tensordict import TensorDict
from torch import Tensor

from aajr.adversaries import Adversary
from aajr.arena.agents import Actor, greedy_heads
from aajr.arena.learned._network import Attacker


@dataclass(frozen=True, eq=False)
class AttackedVictim:
    """Hiders that see what the attacker shows them, and act greedily.

    Attributes:
        victim: frozen actor of the hiders.
        attacker: whose commands are sampled.
        adversary: carries a command out.
        generator: source of the commands.
    """

    victim: Actor
    attacker: Attacker
    adversary: Adversary
    generator: torch.Generator

    def __call__(self, observation: Tensor) -> dict[str, Tensor]:
        """Command, perturb, act; ``[environments, hiders, ...]``."""
        flat = observation.flatten(0, 1)
        command, log_prob = self.attacker.sample(flat, self.generator)
        shown = self.adversary(self.victim, flat, self.generator, {"command": command}).worst
        with torch.no_grad():
            action = greedy_heads(self.victim(shown), self.victim.heads)
        lead = observation.shape[:2]
        return {
            "action": action.reshape(*lead, -1),
            "command": command.reshape(*lead, -1),
            "action_log_prob": log_prob.reshape(lead),
        }


def as_attacker(data: TensorDict) -> TensorDict:
    """The hiders' collection ``[environments, steps]`` as its attacker lived it."""
    team = data["hider"]
    own = {
        "observation": team["observation"],
        "perceived": team["observation"],
        "shift": torch.zeros_like(team["command"]),
        "action": team["command"],
        "action_log_prob": team["action_log_prob"],
    }
    following = {
        "observation": data["next", "hider", "observation"],
        "reward": -data["next", "hider", "reward"],
    }
    after = {"hider": following, "done": data["next", "done"]}
    return TensorDict({"hider": own, "next": after}, data.batch_size)
