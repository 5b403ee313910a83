"""Runs of :mod:`aajr.jax.ppo` in torch: agents, and adversaries that were trained against them."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aajr.adversaries import Adversary
from aajr.arena.agents.agent import Agent
from aajr.arena.attacks.learned import DirectedAdversary, LearnedAdversary
from aajr.arena.spaces.heads import GaussianHead
from aajr.geometry import Ball

__all__ = ["CHECKPOINT", "adversary_from", "agent_from"]

CHECKPOINT = "checkpoint.npz"
NORMALISED = "observations normalised by the agent's own running statistics"

Arrays = dict[str, Any]


def agent_from(directory: str | os.PathLike[str]) -> Agent:
    """The agent of a training run; ε is measured in its normalised observations.

    See :meth:`aajr.arena.Agent.from_ppo`, which calls it.
    """
    path = Path(directory) / CHECKPOINT
    arrays, settings = _read(path)
    low, high = (torch.tensor(settings[name]) for name in ("low", "high"))
    sight = _normalisation(arrays, "agent", settings)
    log_std = torch.from_numpy(arrays["agent/params/log_std"])
    layers = _layers(path, arrays, "agent", "actor")
    facts: Any = {"sight": sight, "source": str(path.parent)}
    head, sees = GaussianHead(low, high), len(sight.mean)
    if any(isinstance(layer, nn.LSTMCell) for layer in layers):
        recurrent = _Gaussian(_Recurrent(layers), log_std).requires_grad_(False)
        return _RecurrentAgent(recurrent, head, sees, NORMALISED, **facts)
    policy = _Gaussian(nn.Sequential(*layers), log_std).requires_grad_(False)
    critic = nn.Sequential(*_layers(path, arrays, "agent", "critic")).requires_grad_(False)
    return Agent(policy, head, sees, NORMALISED, critic, **facts)


def adversary_from(
    directory: str | os.PathLike[str], ball: Ball, *, corner: bool = False
) -> Adversary:
    """The adversary that :func:`aajr.jax.ppo.train_attacker` trained, or an agent's opponent.

    Args:
        directory: directory of the run.
        ball: the threat set, L∞; its ε may differ from that of training.
        corner: whether SA-RL goes to the corner of the ball in the direction of its mean command,
            instead of carrying the command out. Trained with noise, it may have learned no more
            than the signs.

    Returns:
        The adversary; it acts by its mean command on what :func:`agent_from` sees.

    Raises:
        FileNotFoundError: no checkpoint is there.
        ValueError: a damaged checkpoint, one without an adversary, or a corner for PA-AD, whose
            search goes to the boundary by itself.
    """
    path = Path(directory) / CHECKPOINT
    arrays, settings = _read(path)
    mean = nn.Sequential(*_layers(path, arrays, "adversary", "actor"))
    network = _Commander(mean, _normalisation(arrays, "adversary", settings)).requires_grad_(False)
    opponent = settings["opponent"]
    if opponent["kind"] == "sa_rl":
        command = nn.Sequential(network, _Signs()) if corner else network
        return LearnedAdversary(ball, command, squash=False)
    if corner:
        raise ValueError("corner=True is for an adversary of kind 'sa_rl', this one is 'pa_ad'")
    return DirectedAdversary(ball, nn.Sequential(network, _ThenZeros()), opponent["steps"])


def _read(path: Path) -> tuple[Arrays, dict[str, Any]]:
    """Arrays and settings of a checkpoint."""
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; train with aajr.jax.ppo.train")
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return arrays, json.loads(str(arrays["facts"]))["settings"]
    except (zipfile.BadZipFile, EOFError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is damaged or foreign ({error}); train again") from error


def _normalisation(arrays: Arrays, name: str, settings: dict[str, Any]) -> _Normalisation:
    mean, variance = (arrays[f"{name}/observations/{kind}"] for kind in ("mean", "variance"))
    return _Normalisation(mean, np.sqrt(variance + settings["least_variance"]), settings["clip"])


class _Gaussian(nn.Module):
    """Mean and log standard deviation of the actions."""

    def __init__(self, mean: nn.Module, log_std: Tensor) -> None:
        super().__init__()
        self.mean, self.log_std = mean, nn.Parameter(log_std)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., features]`` to ``[..., 2 actions]``."""
        return self.whole(self.mean(x))

    def whole(self, mean: Tensor) -> Tensor:
        """Mean actions with the log standard deviations after them."""
        return torch.cat([mean, self.log_std.expand_as(mean)], -1)


class _Recurrent(nn.Module):
    """Layers of which one is an LSTM; its state is ``[rows, 2, units]``, h and c."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        (self.units,) = {one.hidden_size for one in layers if isinstance(one, nn.LSTMCell)}

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs, and the state after."""
        for layer in self.layers:
            if isinstance(layer, nn.LSTMCell):
                state = torch.stack(layer(x, state.unbind(1)), 1)
                x = state[:, 0]
            else:
                x = layer(x)
        return x, state


class _RecurrentAgent(Agent):
    """An agent whose memory is the state of its LSTM.

    It has no V of its own in the arena, since that has another memory.
    """

    network: _Gaussian

    def forward(self, observation: Tensor) -> Tensor:
        """Outputs at the start of an episode."""
        return self.recall(observation, self.begin(len(observation)).to(observation))[0]

    def begin(self, rows: int) -> Tensor:
        """The zero state, ``[rows, 2, units]``."""
        return torch.zeros(rows, 2, self._layers.units)

    def recall(self, observation: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs after one step of the LSTM, and its new state."""
        home, there = observation.device, self.network.log_std.device
        mean, memory = self._layers(observation.to(there), memory.to(there))
        return self.network.whole(mean).to(home), memory.to(home)

    @property
    def _layers(self) -> _Recurrent:
        layers: Any = self.network.mean
        return layers


class _Commander(nn.Module):
    """Mean commands of an adversary at what its victim sees."""

    centre: Tensor
    deviation: Tensor

    def __init__(self, mean: nn.Module, sight: _Normalisation) -> None:
        super().__init__()
        self.mean, self.clip = mean, sight.clip
        self.register_buffer("centre", torch.from_numpy(sight.mean))
        self.register_buffer("deviation", torch.from_numpy(sight.deviation))

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, features]`` to ``[batch, commands]``."""
        scaled = (x - self.centre) / self.deviation
        commands: Tensor = self.mean(scaled.clamp(-self.clip, self.clip))
        return commands


class _Signs(nn.Module):
    """The sign of every command."""

    def forward(self, command: Tensor) -> Tensor:
        return command.sign()


class _ThenZeros(nn.Module):
    """Zeros for the log standard deviations, which a direction leaves as they are."""

    def forward(self, direction: Tensor) -> Tensor:
        return torch.cat([direction, torch.zeros_like(direction)], -1)


@dataclass(frozen=True)
class _Normalisation:
    """(o - mean) / σ, clipped."""

    mean: np.ndarray
    deviation: np.ndarray
    clip: float

    def __call__(self, observation: np.ndarray) -> Tensor:
        scaled = (observation.reshape(len(observation), -1) - self.mean) / self.deviation
        return torch.from_numpy(np.float32(scaled.clip(-self.clip, self.clip)))


def _layers(path: Path, arrays: Arrays, name: str, part: str) -> list[nn.Module]:
    """Linear layers with tanh between them, and an LSTM where one is."""
    place = f"{name}/params/{part}"
    number = sum(known.startswith(f"{place}/") and known.endswith("/bias") for known in arrays)
    if not number:
        raise ValueError(f"{path} is damaged or foreign: it holds no {part} of an {name}")
    layers: list[nn.Module] = []
    for index in range(number):
        own = {
            kind: torch.tensor(arrays[f"{place}/{index}/{kind}"])
            for kind in ("weight", "bias", "recurrent")
            if f"{place}/{index}/{kind}" in arrays
        }
        layers += [_lstm(**own)] if "recurrent" in own else [_linear(**own), nn.Tanh()]
    return layers[:-1]


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(*weight.shape)
    layer.weight.data, layer.bias.data = weight.T.contiguous(), bias
    return layer


def _lstm(weight: Tensor, recurrent: Tensor, bias: Tensor) -> nn.LSTMCell:
    """A cell with the same order of gates; all of the bias is on the inputs."""
    cell = nn.LSTMCell(len(weight), len(recurrent))
    cell.weight_ih.data, cell.weight_hh.data = weight.T.contiguous(), recurrent.T.contiguous()
    cell.bias_ih.data, cell.bias_hh.data = bias, torch.zeros_like(bias)
    return cell
