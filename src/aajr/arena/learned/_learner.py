"""Proximal policy optimisation of an attacker."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModule
from torch import Tensor, nn
from torchrl.modules import IndependentNormal, ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss

from aajr.arena.agents import mlp
from aajr.arena.learned._network import Attacker
from aajr.arena.ppo import PPOConfig


class AttackLearner:
    """An attacker with its critic and optimiser.

    Args:
        ppo: the algorithm.
        features: size of the attacker's observation.
        commands: size of its command.
        critic_features: size of the critic's input.
        deviation: initial standard deviation of the commands.
        seed: of the initial weights.
        device: where to compute.
    """

    def __init__(
        self,
        ppo: PPOConfig,
        features: int,
        commands: int,
        critic_features: int,
        deviation: float,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.ppo = ppo
        generator = torch.Generator().manual_seed(seed)
        self.attacker = Attacker(features, commands, ppo.hidden, deviation, generator).to(device)
        self.critic = mlp(critic_features, 1, ppo.hidden, generator).to(device)
        self.loss = _ppo_loss(self.attacker, self.critic, ppo)
        self.optimizer = torch.optim.Adam(self.modules().parameters(), lr=ppo.learning_rate)

    def modules(self) -> nn.ModuleDict:
        """Both networks by name."""
        return nn.ModuleDict({"attacker": self.attacker, "critic": self.critic})

    def update(self, rows: TensorDict, generator: torch.Generator) -> None:
        """Epochs over rows ``[samples]`` of ``observation``, ``state``, ``action`` (the command),
        ``action_log_prob``, ``advantage`` and ``value_target``.
        """
        for _ in range(self.ppo.epochs):
            order = torch.randperm(len(rows), generator=generator, device=generator.device)
            for index in order.tensor_split(self.ppo.minibatches):
                losses = self.loss(rows[index])
                total = losses["loss_objective"] + losses["loss_critic"] + losses["loss_entropy"]
                self._descend(total)

    def state(self) -> dict[str, Tensor]:
        """Everything needed to go on exactly, by name."""
        tensors = {name: value.clone() for name, value in self.modules().state_dict().items()}
        for index, entries in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": v.clone() for name, v in entries.items()}
        return tensors

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what :meth:`state` gave."""
        names = self.modules().state_dict().keys()
        self.modules().load_state_dict({name: tensors[name] for name in names})
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                _, index, key = name.split(".")
                # Adam keeps its step counts on the CPU
                state.setdefault(int(index), {})[key] = value.cpu() if key == "step" else value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})

    def _descend(self, total: Tensor) -> None:
        self.optimizer.zero_grad()
        torch.autograd.backward(total)
        for network in (self.attacker, self.critic):
            norm = nn.utils.clip_grad_norm_(network.parameters(), self.ppo.max_gradient_norm)
            if not torch.isfinite(norm):
                raise FloatingPointError(
                    f"the attacker's gradient norm is {float(norm)}; lower ppo.learning_rate"
                )
        self.optimizer.step()


def _ppo_loss(attacker: Attacker, critic: nn.Module, ppo: PPOConfig) -> ClipPPOLoss:
    parameters = TensorDictModule(_Parameters(attacker), ["observation"], ["loc", "scale"])
    actor = ProbabilisticActor(
        parameters,
        in_keys=["loc", "scale"],
        out_keys=["action"],
        distribution_class=IndependentNormal,
        return_log_prob=True,
    )
    return ClipPPOLoss(
        actor,
        ValueOperator(critic, in_keys=["state"]),
        clip_epsilon=ppo.clip,
        entropy_coeff=ppo.entropy,
        critic_coeff=0.5,
        normalize_advantage=True,
        functional=False,
    )


class _Parameters(nn.Module):
    """Mean and deviation of an attacker as a module's output."""

    def __init__(self, attacker: Attacker) -> None:
        super().__init__()
        self.attacker = attacker

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        return self.attacker.parameters_of(observation)
