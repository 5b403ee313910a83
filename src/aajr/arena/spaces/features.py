"""Names of an observation's features, and their selection by name or number."""

from __future__ import annotations

import fnmatch
import itertools
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

_NUMBERS = re.compile(r"[-\d: ]+")


@dataclass(frozen=True)
class Entry:
    """One array of an observation.

    Attributes:
        name: its name.
        shape: its shape; the number of choices for a one-hot entry.
        one_hot: whether it is a choice, shown as a one-hot vector or as zeros and ones.
        group: number of the observation's outermost part that it belongs to.
    """

    name: str
    shape: tuple[int, ...]
    one_hot: bool = False
    group: int = 0

    @property
    def size(self) -> int:
        """Number of its features."""
        return math.prod(self.shape)

    @property
    def names(self) -> tuple[str, ...]:
        """One name for each feature, such as ``camera[3,4,0]`` or ``goal=2``."""
        if self.one_hot:
            return tuple(f"{self.name}={choice}" for choice in range(self.size))
        if not self.shape:
            return (self.name,)
        places = itertools.product(*map(range, self.shape))
        return tuple(f"{self.name}[{','.join(map(str, place))}]" for place in places)


@dataclass(frozen=True)
class Features:
    """The features of a flattened observation, entry after entry.

    Attributes:
        entries: the observation's arrays.

    Example:
        >>> features = Features((Entry("position", (2,)), Entry("goal", (3,), one_hot=True)))
        >>> features.names
        ('position[0]', 'position[1]', 'goal=0', 'goal=1', 'goal=2')
        >>> features.selected(["position[1]", "goal"])
        tensor([False,  True,  True,  True,  True])
    """

    entries: tuple[Entry, ...]

    @property
    def size(self) -> int:
        """Number of features."""
        return sum(entry.size for entry in self.entries)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """One name for each feature."""
        return tuple(name for entry in self.entries for name in entry.names)

    @property
    def one_hot(self) -> Tensor:
        """True for features that show a choice, ``[features]``."""
        return self._of_each([entry.one_hot for entry in self.entries]).bool()

    @property
    def groups(self) -> Tensor:
        """Number of the outermost part that each feature belongs to, ``[features]``."""
        return self._of_each([entry.group for entry in self.entries])

    def selected(self, patterns: str | int | Iterable[str | int]) -> Tensor:
        """Mask of the features that any of the patterns names, boolean ``[features]``.

        Args:
            patterns: each is a feature's name (``position[0]``, ``goal=2``); an entry's name
                (``position``), in which ``*`` stands for any letters; a part of an entry, in
                NumPy's notation (``camera[10:20,10:20]``), whose name may be left out if the entry
                is the only one; or a number or a range of numbers among all features (``3``,
                ``0:8``).

        Raises:
            ValueError: a pattern that names nothing.
        """
        several = [patterns] if isinstance(patterns, str | int) else list(patterns)
        if not several:
            raise ValueError("patterns is empty; name at least one feature")
        mask = torch.zeros(self.size, dtype=torch.bool)
        for pattern in several:
            found = self._numbers(str(pattern))
            if not len(found):
                raise ValueError(
                    f"pattern {pattern!r} names no feature; there are {self.size}: {self._shown()}"
                )
            mask[found] = True
        return mask

    def _numbers(self, pattern: str) -> Tensor:
        """Numbers of the features that a pattern names."""
        if pattern in self.names:
            return torch.tensor([self.names.index(pattern)])
        if pattern.startswith("[") and len(self.entries) == 1:
            pattern = self.entries[0].name + pattern
        if _NUMBERS.fullmatch(pattern):
            return _part(torch.arange(self.size), pattern)
        found, first = [], 0
        for entry in self.entries:
            found.append(first + _within(entry, pattern))
            first += entry.size
        return torch.cat(found)

    def _of_each(self, values: Sequence[int]) -> Tensor:
        sizes = torch.tensor([entry.size for entry in self.entries])
        return torch.tensor(values).repeat_interleave(sizes)

    def _shown(self) -> str:
        names = self.names if self.size <= 12 else (*self.names[:8], "...", self.names[-1])
        return ", ".join(names)


def _within(entry: Entry, pattern: str) -> Tensor:
    """Numbers of an entry's features that a pattern names, counted from its first."""
    name, bracket, rest = pattern.partition("[")
    places = torch.arange(entry.size)
    if not fnmatch.fnmatchcase(entry.name, name):
        return places[:0]
    return _part(places.reshape(entry.shape), bracket + rest) if bracket else places


def _part(places: Tensor, pattern: str) -> Tensor:
    """The entries of an array that NumPy's notation chooses, flattened; none where it is wrong."""
    try:
        index = tuple(_index(part) for part in pattern.strip().strip("[]").split(","))
        return places[index].flatten()
    except (IndexError, ValueError):
        return places.flatten()[:0]


def _index(text: str) -> int | slice:
    if ":" not in text:
        return int(text)
    return slice(*(int(end) if end.strip() else None for end in text.split(":")))
