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
    return Agent(
        _gaussian(path, arrays).requires_grad_(False),
        GaussianHead(low, high),
        len(sight.mean),
        NORMALISED,
        _layers(path, arrays, "agent", "critic").requires_grad_(False),
        sight=sight,
        source=str(path.parent),
    )


def adversary_from(directory: str | os.PathLike[str], ball: Ball) -> Adversary:
    """The adversary that :func:`aajr.jax.ppo.train_attacker` trained, or an agent's opponent.

    Args:
        directory: directory of the run.
        ball: the threat set, L∞; its ε may differ from that of training.

    Returns:
        The adversary; it acts by its mean command on what :func:`agent_from` sees.

    Raises:
        FileNotFoundError: no checkpoint is there.
        ValueError: a damaged checkpoint, or one without an adversary.
    """
    path = Path(directory) / CHECKPOINT
    arrays, settings = _read(path)
    mean = _layers(path, arrays, "adversary", "actor")
    network = _Commander(mean, _normalisation(arrays, "adversary", settings)).requires_grad_(False)
    opponent = settings["opponent"]
    if opponent["kind"] == "sa_rl":
        return LearnedAdversary(ball, network, squash=False)
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


def _gaussian(path: Path, arrays: Arrays) -> _Gaussian:
    mean = _layers(path, arrays, "agent", "actor")
    return _Gaussian(mean, torch.from_numpy(arrays["agent/params/log_std"]))


def _normalisation(arrays: Arrays, name: str, settings: dict[str, Any]) -> _Normalisation:
    mean, variance = (arrays[f"{name}/observations/{kind}"] for kind in ("mean", "variance"))
    return _Normalisation(mean, np.sqrt(variance + settings["least_variance"]), settings["clip"])


class _Gaussian(nn.Module):
    """Mean and log standard deviation of the actions."""

    def __init__(self, mean: nn.Sequential, log_std: Tensor) -> None:
        super().__init__()
        self.mean, self.log_std = mean, nn.Parameter(log_std)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., features]`` to ``[..., 2 actions]``."""
        mean = self.mean(x)
        return torch.cat([mean, self.log_std.expand_as(mean)], -1)


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


def _layers(path: Path, arrays: Arrays, name: str, part: str) -> nn.Sequential:
    """Linear layers with tanh between them."""
    place = f"{name}/params/{part}"
    number = sum(known.startswith(f"{place}/") for known in arrays) // 2
    if not number:
        raise ValueError(f"{path} is damaged or foreign: it holds no {part} of an {name}")
    layers: list[nn.Module] = []
    for index in range(number):
        weight, bias = (arrays[f"{place}/{index}/{kind}"] for kind in ("weight", "bias"))
        layer = nn.Linear(*weight.shape)
        layer.weight.data, layer.bias.data = torch.tensor(weight.T), torch.tensor(bias)
        layers += [layer, nn.Tanh()]
    return nn.Sequential(*layers[:-1])
