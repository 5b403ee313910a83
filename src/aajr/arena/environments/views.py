"""What an agent reads of a space of observations, and what of it may be attacked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aajr.arena.spaces.features import Entry, Features
from aajr.arena.spaces.gymnasium import features_of, flattened, spaces
from aajr.arena.threats import Threat


def flat(observation: np.ndarray) -> Tensor:
    """Flatten observations ``[rows, *observation]`` to float32 ``[rows, features]``."""
    return torch.as_tensor(observation, dtype=torch.float32).flatten(1)


def pixels(observation: np.ndarray) -> Tensor:
    """Flatten images of bytes and divide them by 255, so that ε is a share of the full range.

    Example:
        >>> pixels(np.array([[[0, 255]]], np.uint8))
        tensor([[0., 1.]])
    """
    return flat(observation) / 255


@dataclass(frozen=True, eq=False)
class View:
    """An agent's view of observations.

    Attributes:
        space: Gymnasium's space of the observations.
        sight: function from raw observations to the agent's input ``[rows, features]``. Raw are
            arrays ``[rows, *observation]``; of other spaces they are flat, ``[rows, features]``.
        attack_choices: whether one-hot features may be attacked.

    Raises:
        ValueError: observations without a fixed size.
    """

    space: Any
    sight: Callable[[np.ndarray], Tensor] = flat
    attack_choices: bool = False

    def __post_init__(self) -> None:
        _ = self._shown

    @cached_property
    def features(self) -> int:
        """Size of the agent's input."""
        array = isinstance(self.space, spaces.Box)
        shape = self.space.shape if array else (self._shown.size,)
        example = np.zeros((1, *shape), self.space.dtype if array else np.float32)
        return self.sight(example).shape[1]

    @cached_property
    def _shown(self) -> Features:
        """The features of the raw observations."""
        return features_of(self.space)

    @cached_property
    def read(self) -> Features:
        """The features that the agent reads; unnamed if ``sight`` changes their number."""
        if self.features == self._shown.size:
            return self._shown
        return Features((Entry("observation", (self.features,)),))

    @property
    def items(self) -> Tensor:
        """Group of each feature: its part of a Dict or Tuple, or every feature its own."""
        parts = self.read.groups
        return parts if int(parts.max()) else torch.arange(self.features)

    def attackable(self) -> Tensor:
        """Mask of all features, without choices unless ``attack_choices``.

        Raises:
            ValueError: there are choices alone, or ``sight`` hides which features are choices.
        """
        if self.read is not self._shown and bool(self._shown.one_hot.any() > self.attack_choices):
            raise ValueError(
                f"sight makes {self.features} features of {self._shown.size}, so that it cannot be "
                "told which of them are choices, which are trusted; give attack_choices=True to "
                "attack all, or a sight that keeps every feature"
            )
        mask = ~self.read.one_hot | self.attack_choices
        if not bool(mask.any()):
            raise ValueError(
                f"all {self.features} features are choices, which are trusted; give "
                "attack_choices=True to attack their one-hot vectors"
            )
        return mask

    def named(self, patterns: str | int | Iterable[str | int]) -> Tensor:
        """Mask of features, chosen as in :meth:`aajr.arena.spaces.features.Features.selected`."""
        return self.read.selected(patterns)

    def raw(self, observations: Sequence[Any]) -> np.ndarray:
        """Observations as an array with one row for each, which ``sight`` reads."""
        if isinstance(self.space, spaces.Box):
            return np.stack(observations)
        return flattened(self.space, observations)


class Viewed(ABC):
    """The part of an environment that follows from what its attacked agents read."""

    @property
    @abstractmethod
    def view(self) -> View:
        """What each attacked agent reads of its observations."""

    @property
    @abstractmethod
    def agents(self) -> int:
        """Number of attacked agents."""

    @property
    def features(self) -> int:
        """Size of an attacked agent's input."""
        return self.view.features

    @property
    def feature_names(self) -> tuple[str, ...]:
        """One name for each feature, such as ``position[0]`` or ``camera[3,4,0]``."""
        return self.view.read.names

    def features_named(self, patterns: str | int | Iterable[str | int]) -> Tensor:
        """Mask of features, chosen as in :meth:`aajr.arena.spaces.features.Features.selected`."""
        return self.view.named(patterns)

    @property
    def items(self) -> Tensor:
        """Group of each feature: its part of a Dict or Tuple, or every feature its own."""
        return self.view.items

    @property
    def sources(self) -> Tensor:
        """Source of each feature: -1, see :class:`aajr.arena.environments.sources.WithSources`."""
        return torch.full((self.features,), -1)

    def attackable(self, threat: Threat) -> Tensor:
        """Mask of the attackable features: all, without choices unless these are attacked too.

        Raises:
            ValueError: another threat than ``full``, or choices alone.
        """
        if threat != "full":
            raise ValueError(f"threat={threat!r} is not known here; choose 'full' and a mask")
        return self.view.attackable()

    def told(self, liars: Sequence[int]) -> Tensor:
        """Raise ValueError, since it is not known which features teammates report."""
        why = "a single agent has no teammates" if self.agents == 1 else "give sources"
        raise ValueError(f"liars={liars} are not known here; {why}, see WithSources")
