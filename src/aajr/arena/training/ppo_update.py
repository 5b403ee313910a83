"""Parts of a PPO update, shared by victims and learned attackers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from tensordict import TensorDict
from torch import Tensor, nn
from torch.distributions import Distribution

from aajr.arena.training.ppo import PPOConfig


def clipped_loss(
    policy: Distribution, critic: nn.Module, batch: TensorDict, ppo: PPOConfig
) -> Tensor:
    """PPO's loss: the clipped surrogate, an entropy bonus and half the critic's smooth L1 error.

    With log-ratio r = log π(a) - log π_old(a) and standardised advantage A, the surrogate is
    min(eʳA, e^{clip(r)}A). The value and its gradient are those of TorchRL's ``ClipPPOLoss``, which
    takes three times as long, because it also computes what nobody reads here.

    Args:
        policy: distribution of the actions at the batch's observations.
        critic: map from ``state`` to values ``[rows, 1]``.
        batch: ``[rows]`` with ``state``, ``action``, ``action_log_prob``, ``advantage`` and
            ``value_target``, the last two ``[rows, 1]``.
        ppo: range of the clip and weight of the entropy.

    Source: Schulman et al., Proximal policy optimization algorithms, 2017,
    https://arxiv.org/abs/1707.06347.
    """
    advantage = _standardised(batch["advantage"])
    change = (policy.log_prob(batch["action"]) - batch["action_log_prob"]).unsqueeze(-1)
    gain = change.exp() * advantage
    clip = torch.tensor(ppo.clip, device=change.device)
    clipped = change.clamp((-clip).log1p(), clip.log1p()).exp() * advantage
    surrogate = torch.stack([gain, clipped], -1).min(dim=-1).values
    bonus = -ppo.entropy * policy.entropy()
    error = nn.functional.smooth_l1_loss(
        batch["value_target"], critic(batch["state"]), reduction="none"
    )
    return (-surrogate).mean() + (0.5 * error).mean() + bonus.mean()


def _standardised(advantage: Tensor) -> Tensor:
    if advantage.numel() == 1:
        return advantage
    least = torch.finfo(torch.float).resolution
    return (advantage - advantage.mean()) / advantage.std().clamp_min(least)


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
