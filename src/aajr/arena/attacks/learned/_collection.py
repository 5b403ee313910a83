"""Episodes of an attacked victim, recorded from the attacker's side."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from aajr._modes import Policy
from aajr.adversaries import Adversary
from aajr.arena.attacks.learned._network import Attacker
from aajr.arena.environments.episodes import AttackedTeam, play
from aajr.arena.environments.protocols import AgentLike, Environment, Recorded
from aajr.geometry import ThreatSet
from aajr.trajectory import Reference, Trajectory


@dataclass(frozen=True, eq=False)
class Commanded(Adversary):
    """An adversary that samples commands from an attacker, carries them out and keeps them.

    Attributes:
        attacker: policy from which commands are sampled.
        adversary: adversary that carries out a command.
        sampled: drawn commands ``[rows, commands]`` and their log-probabilities ``[rows]``.
    """

    attacker: Attacker
    adversary: Adversary
    sampled: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    ball: ThreatSet = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ball", self.adversary.ball)
        object.__setattr__(self, "needs", self.adversary.needs)

    def run(self, policy: Policy, reference: Reference, generator: torch.Generator) -> Trajectory:
        """Sample one command for every row and carry it out."""
        before = reference.data.get("liars")
        kept = None if before is None else before.any(-1)
        self.sampled.append(self.attacker.sample(reference.inputs, generator, kept))
        data = {**reference.data, "command": self.sampled[-1][0]}
        return self.adversary.run(policy, replace(reference, data=data), generator)


def play_commanded(
    environment: Environment[Any],
    victim: AgentLike,
    commanded: Commanded,
    generator: torch.Generator,
) -> tuple[TensorDict, Recorded]:
    """Play all episodes under the attacker's commands.

    Returns:
        The attacker's observations, commands and rewards in the group ``team``,
        ``[episodes, steps]``, and the record of the episodes.
    """
    team, steps = AttackedTeam(victim, commanded, generator), []

    def act(observation: Tensor, episodes: Tensor) -> Tensor:
        commanded.sampled.clear()
        action = team(observation, episodes)
        lead = observation.shape[:2]
        parts = zip(*commanded.sampled, strict=True)
        steps.append((episodes, *(torch.cat(part).reshape(*lead, -1) for part in parts)))
        return action

    record: Recorded = play(environment, act)
    shape = record.reward.shape
    command = torch.zeros(*shape, steps[0][1].shape[-1])
    log_prob = torch.zeros(*shape, 1)
    for step, (episodes, commands, probabilities) in enumerate(steps):
        command[episodes, step], log_prob[episodes, step] = commands, probabilities
    follows = torch.cat([record.played[:, 1:], torch.zeros(shape[0], 1, dtype=torch.bool)], 1)
    own = {
        "observation": record.observation,
        "perceived": record.observation,
        "shift": torch.zeros_like(command),
        "action": command,
        "action_log_prob": log_prob.squeeze(-1),
    }
    after = {"observation": record.observation.roll(-1, 1), "reward": -record.reward.unsqueeze(-1)}
    following = {"team": after, "done": ~follows.unsqueeze(-1)}
    return TensorDict({"team": own, "next": following}, shape[:2]), record
