"""Proximal policy optimisation of an attacker."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModule
from torch import Tensor, nn
from torchrl.modules import ProbabilisticActor
from torchrl.objectives import ClipPPOLoss

from aajr.arena.agents.actors import mlp
from aajr.arena.attacks.learned._coalitions import Commands
from aajr.arena.attacks.learned._network import Attacker
from aajr.arena.training.ppo import PPOConfig
from aajr.arena.training.ppo_update import (
    clipped_gradients,
    clipped_loss,
    load_training_state,
    minibatches,
    training_state,
)


class AttackLearner:
    """An attacker with its critic and optimiser.

    Args:
        ppo: the algorithm.
        features: size of the attacker's observation.
        commands: size of its command.
        critic_features: size of the critic's input.
        deviation: initial standard deviation of the commands.
        seed: seed of the initial weights.
        sources: number of sources that it scores.
        liars: number of them that it draws.
    """

    def __init__(
        self,
        ppo: PPOConfig,
        features: int,
        commands: int,
        critic_features: int,
        deviation: float,
        seed: int,
        sources: int = 0,
        liars: int = 0,
    ) -> None:
        self.ppo = ppo
        generator = torch.Generator().manual_seed(seed)
        sizes = features, commands, ppo.hidden
        self.attacker = Attacker(*sizes, deviation, generator, sources, liars)
        self.critic = mlp(critic_features, 1, ppo.hidden, generator)
        self.loss = _ppo_loss(self.attacker, self.critic, ppo)
        self.optimizer = torch.optim.Adam(self.modules().parameters(), lr=ppo.learning_rate)

    def modules(self) -> nn.ModuleDict:
        """Both networks by name."""
        return nn.ModuleDict({"attacker": self.attacker, "critic": self.critic})

    def update(self, rows: TensorDict, generator: torch.Generator) -> None:
        """Run all epochs of PPO over the rows.

        Args:
            rows: ``[samples]`` with ``observation``, ``state``, ``action`` (the command),
                ``action_log_prob``, ``advantage`` and ``value_target``.
            generator: source of the order of the rows.
        """
        for batch in minibatches(rows, self.ppo, generator):
            losses = self.loss(batch)
            self._descend(losses["loss_objective"] + losses["loss_critic"] + losses["loss_entropy"])

    def state(self) -> dict[str, Tensor]:
        """Named tensors with everything needed to continue exactly."""
        return training_state(self.modules(), self.optimizer)

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what :meth:`state` returned."""
        load_training_state(self.modules(), self.optimizer, tensors)

    def _descend(self, total: Tensor) -> None:
        networks = (self.attacker, self.critic)
        for norm in clipped_gradients(total, self.optimizer, networks, self.ppo):
            if not torch.isfinite(norm):
                raise FloatingPointError(
                    f"the attacker's gradient norm is {float(norm)}; lower ppo.learning_rate"
                )
        self.optimizer.step()


_KEYS = ["loc", "scale", "scores"]


def _ppo_loss(attacker: Attacker, critic: nn.Module, ppo: PPOConfig) -> ClipPPOLoss:
    parameters = TensorDictModule(_Parameters(attacker), ["observation"], _KEYS)
    actor = ProbabilisticActor(
        parameters,
        in_keys=_KEYS,
        out_keys=["action"],
        distribution_class=Commands,
        return_log_prob=True,
    )
    return clipped_loss(actor, critic, ppo)


class _Parameters(nn.Module):
    """A module that outputs the parameters of :class:`Commands`."""

    def __init__(self, attacker: Attacker) -> None:
        super().__init__()
        self.attacker = attacker

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.attacker.parameters_of(observation)
