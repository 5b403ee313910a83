"""Agents of :func:`aajr.jax.ppo.train` as torch modules, read from their checkpoints."""

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

from aajr.arena.agents.agent import Agent
from aajr.arena.spaces.heads import GaussianHead

__all__ = ["CHECKPOINT", "agent_from"]

CHECKPOINT = "checkpoint.npz"
NORMALISED = "observations normalised by the agent's own running statistics"

Arrays = dict[str, Any]


def agent_from(directory: str | os.PathLike[str]) -> Agent:
    """The agent of a training run; ε is measured in its normalised observations.

    See :meth:`aajr.arena.Agent.from_ppo`, which calls it.
    """
    path = Path(directory) / CHECKPOINT
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; train with aajr.jax.ppo.train")
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        settings = json.loads(str(arrays["facts"]))["settings"]
        return _agent(arrays, settings, str(path.parent))
    except (zipfile.BadZipFile, EOFError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is damaged or foreign ({error}); train again") from error


def _agent(arrays: Arrays, settings: dict[str, Any], source: str) -> Agent:
    low, high = (torch.tensor(settings[name]) for name in ("low", "high"))
    network = _Gaussian(_layers(arrays, "actor"), torch.from_numpy(arrays["params/log_std"]))
    deviation = np.sqrt(arrays["observations/variance"] + settings["least_variance"])
    sight = _Normalisation(arrays["observations/mean"], deviation, settings["clip"])
    critic = _layers(arrays, "critic")
    return Agent(
        network.requires_grad_(False),
        GaussianHead(low, high),
        len(sight.mean),
        NORMALISED,
        critic.requires_grad_(False),
        sight=sight,
        source=source,
    )


class _Gaussian(nn.Module):
    """Mean and log standard deviation of the actions."""

    def __init__(self, mean: nn.Sequential, log_std: Tensor) -> None:
        super().__init__()
        self.mean, self.log_std = mean, nn.Parameter(log_std)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., features]`` to ``[..., 2 actions]``."""
        mean = self.mean(x)
        return torch.cat([mean, self.log_std.expand_as(mean)], -1)


@dataclass(frozen=True)
class _Normalisation:
    """(o - mean) / σ, clipped."""

    mean: np.ndarray
    deviation: np.ndarray
    clip: float

    def __call__(self, observation: np.ndarray) -> Tensor:
        scaled = (observation.reshape(len(observation), -1) - self.mean) / self.deviation
        return torch.from_numpy(np.float32(scaled.clip(-self.clip, self.clip)))


def _layers(arrays: Arrays, part: str) -> nn.Sequential:
    """Linear layers with tanh between them."""
    number = sum(name.startswith(f"params/{part}/") for name in arrays) // 2
    layers: list[nn.Module] = []
    for index in range(number):
        weight, bias = (arrays[f"params/{part}/{index}/{kind}"] for kind in ("weight", "bias"))
        layer = nn.Linear(*weight.shape)
        layer.weight.data, layer.bias.data = torch.tensor(weight.T), torch.tensor(bias)
        layers += [layer, nn.Tanh()]
    return nn.Sequential(*layers[:-1])
