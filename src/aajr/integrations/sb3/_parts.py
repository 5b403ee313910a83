"""Observations of several parts, or of choices, as flat features and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from torch import Tensor, nn

from aajr.arena.spaces.gymnasium import features_of
from aajr.integrations.sb3._maps import check_observations
from aajr.integrations.sb3._preprocessing import Normalisation


@dataclass(frozen=True, eq=False)
class Part:
    """One entry of an observation, or the whole of one that is a choice.

    Attributes:
        space: the space that the policy reads.
        features: its features in the flat observation; choices are one-hot.
        turned: whether it is an image that the environment shows with its channels last.
        statistics: VecNormalize's, None without it.
    """

    space: spaces.Space
    features: slice
    turned: bool
    statistics: Normalisation | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape in which the environment shows it."""
        shape = tuple(self.space.shape)
        return (*shape[1:], shape[0]) if self.turned else shape

    def normalised(self, flat: Tensor) -> Tensor:
        """Its features as the policy reads them, ``[rows, features]``."""
        if self.statistics is None:
            return flat
        return self.statistics(flat.reshape(-1, *self.shape)).flatten(1)

    def native(self, flat: Tensor) -> Tensor:
        """The entry that SB3's policy takes: numbers of choices, images with channels first."""
        if isinstance(self.space, spaces.Discrete):
            return flat.argmax(-1)
        if isinstance(self.space, spaces.MultiDiscrete):
            heads = torch.split(flat, [int(n) for n in self.space.nvec.flatten()], -1)
            return torch.stack([head.argmax(-1) for head in heads], -1)
        if isinstance(self.space, spaces.MultiBinary):
            return (flat > 0.5).reshape(-1, *self.space.shape).to(flat.dtype)
        shaped = flat.reshape(-1, *self.shape)
        return shaped.movedim(-1, 1) if self.turned else shaped


class Parts(nn.Module):
    """A map from flat features to what SB3's policy takes: a dict of entries, or one choice.

    Args:
        space: the space that the policy reads.
        statistics: VecNormalize's by entry.
        channels_first: whether the environment shows images with their channels first.

    Raises:
        ValueError: an entry of whole numbers, statistics of another entry.
    """

    def __init__(
        self,
        space: spaces.Space,
        statistics: Mapping[str, Normalisation],
        channels_first: bool = False,
    ) -> None:
        super().__init__()
        entries = dict(space.items()) if isinstance(space, spaces.Dict) else {"": space}
        self.nested, self.features = isinstance(space, spaces.Dict), features_of(space).size
        self.parts: dict[str, Part] = {}
        first = 0
        for name, entry in entries.items():
            if isinstance(entry, spaces.Box):
                check_observations(entry)
            last = first + features_of(entry).size
            turned = is_image_space(entry) and not channels_first
            self.parts[name] = Part(entry, slice(first, last), turned, statistics.get(name))
            first = last
        for name, found in statistics.items():
            known = self.parts[name].shape if name in self.parts else None
            if known != tuple(found.mean.shape):
                raise ValueError(
                    f"normalise has statistics of shape {tuple(found.mean.shape)} for {name!r}, "
                    f"the environment shows {known}; give the file that was saved with this agent"
                )

    def forward(self, x: Tensor) -> Any:
        """What the policy takes for ``[rows, features]``."""
        found = {name: part.native(x[:, part.features]) for name, part in self.parts.items()}
        return found if self.nested else found[""]


class PartsSight:
    """From flat observations, as the arena's environments show them, to the agent's features.

    Args:
        parts: the entries.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def __call__(self, observation: np.ndarray) -> Tensor:
        """Features ``[rows, features]``, float32.

        Raises:
            ValueError: another number of features.
        """
        shown = torch.as_tensor(observation)
        if shown.ndim != 2 or shown.shape[1] != self.parts.features:
            raise ValueError(
                f"the agent reads {self.parts.features} features of its parts, the environment "
                f"shows observations of shape {tuple(shown.shape[1:])}"
            )
        flat = shown.float()
        parts = self.parts.parts.values()
        return torch.cat([part.normalised(flat[:, part.features]) for part in parts], -1)
