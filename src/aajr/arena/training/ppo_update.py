"""Parts of a PPO update, shared by victims and learned attackers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from tensordict import TensorDict
from torch import Tensor, nn
from torchrl.modules import ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss

from aajr.arena.training.ppo import PPOConfig


def clipped_loss(actor: ProbabilisticActor, critic: nn.Module, ppo: PPOConfig) -> ClipPPOLoss:
    """TorchRL's clipped surrogate with critic and entropy; the critic reads ``state``."""
    return ClipPPOLoss(
        actor,
        ValueOperator(critic, in_keys=["state"]),
        clip_epsilon=ppo.clip,
        entropy_coeff=ppo.entropy,
        critic_coeff=0.5,
        normalize_advantage=True,
        functional=False,
    )


def minibatches(
    rows: TensorDict, ppo: PPOConfig, generator: torch.Generator
) -> Iterator[TensorDict]:
    """The minibatches of all epochs; the order is drawn again for each epoch."""
    for _ in range(ppo.epochs):
        order = torch.randperm(rows.shape[0], generator=generator, device=generator.device)
        for index in order.tensor_split(ppo.minibatches):
            # equals rows[index] and takes a quarter of the time
            chosen = {name: part.index_select(0, index) for name, part in rows.items()}
            yield TensorDict(chosen, index.shape)


def clipped_gradients(
    total: Tensor, optimizer: torch.optim.Optimizer, networks: tuple[nn.Module, ...], ppo: PPOConfig
) -> list[Tensor]:
    """Differentiate the loss and clip each network's gradient; return the norms before."""
    optimizer.zero_grad()
    torch.autograd.backward(total)
    most = ppo.max_gradient_norm
    return [nn.utils.clip_grad_norm_(network.parameters(), most) for network in networks]


def training_state(modules: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Weights and optimiser state as named tensors for safetensors."""
    tensors = {name: value.clone() for name, value in modules.state_dict().items()}
    for index, entries in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": v.clone() for name, v in entries.items()}
    return tensors


def load_training_state(
    modules: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]
) -> None:
    """Restore what :func:`training_state` returned."""
    modules.load_state_dict({name: tensors[name] for name in modules.state_dict()})
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            # Adam keeps its step counts on the CPU
            state.setdefault(int(index), {})[key] = value.cpu() if key == "step" else value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
