"""RLlib's MeanStdFilter, read from a checkpoint as plain data."""

from __future__ import annotations

import base64
import io
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ray.rllib.utils.numpy import SMALL_NUMBER
from torch import Tensor

from aajr.integrations._inert import array_of, read_inert


@dataclass(frozen=True, eq=False)
class Filter:
    """The running statistics of MeanStdFilter: x = clip((o - mean) / (std + 1e-8)).

    Attributes:
        mean: mean of the observations.
        deviation: their standard deviation.
        clip: greatest absolute value of a normalised observation; None for none.
    """

    mean: np.ndarray
    deviation: np.ndarray
    clip: float | None

    def __call__(self, observation: np.ndarray) -> Tensor:
        """The agent's input ``[rows, features]``, float32.

        Raises:
            ValueError: the wrong shape.
        """
        if observation.shape[1:] != self.mean.shape:
            raise ValueError(
                f"the agent reads observations of shape {self.mean.shape}, the environment shows "
                f"{observation.shape[1:]}"
            )
        x = (observation - self.mean) / (self.deviation + SMALL_NUMBER)
        x = x if self.clip is None else np.clip(x, -self.clip, self.clip)
        return torch.as_tensor(x, dtype=torch.float32).flatten(1)


def read_filter(directory: Path) -> Filter:
    """The filter of a single agent from its connector's directory.

    Raises:
        ValueError: several agents, observations of several parts, a damaged file.
    """
    state = read_inert((directory / "state.pkl").read_bytes())
    try:
        (settings,) = state.values()
        (found,) = settings["running_stats"]
        mean, squares = (_unpacked(found[name]) for name in ("mean_array", "sum_sq_diff_array"))
        pushes = int(array_of(found["num_pushes"]))
        clip = settings["clip_by_value"]
        centred, scaled = (bool(settings[n]) for n in ("de_mean_to_zero", "de_std_to_one"))
    except (AttributeError, KeyError, TypeError, ValueError, zlib.error) as error:
        raise ValueError(
            f"{directory} holds no statistics of one agent's array ({error}); give sight="
        ) from error
    variance = squares / (pushes - 1) if pushes > 1 else np.zeros_like(mean)
    deviation = np.sqrt(variance.astype(np.float32))
    unit = np.full_like(deviation, 1.0 - SMALL_NUMBER)
    return Filter(mean if centred else np.zeros_like(mean), deviation if scaled else unit, clip)


def _unpacked(text: Any) -> np.ndarray:
    content = zlib.decompress(base64.b64decode(text))
    found: np.ndarray = np.load(io.BytesIO(content), allow_pickle=False)
    return found
