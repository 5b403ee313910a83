"""Any environment as one of sources, of which any k may lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from aajr._checks import check_count
from aajr.arena.environments.protocols import Environment, Played, Running
from aajr.arena.environments.wrapping import Wrapping
from aajr.arena.threats import Claims, Threat

Pattern = str | int


@dataclass(frozen=True, eq=False)
class WithSources(Wrapping[Played]):
    """An environment whose features come from sources, of which any k may lie at a time.

    Under the threat ``reports`` the adversary chooses the k sources and what they report; features
    of no source stay as they are. Every other threat is that of the environment. A sensor, a
    channel, a teammate's message or a camera may be a source.

    Attributes:
        environment: the environment.
        reporting: number of the source of each feature, ``[features]``, -1 for none; or one entry
            for each source, which names its features as ``environment.features_named`` takes them.
        liars: k, the number of sources that may lie at a time.
        low: least value that a source can report, for all features or ``[features]``; None for no
            limit.
        high: greatest value.

    Raises:
        ValueError: sources that do not fit the features or share one, or k beyond their number.

    Example:
        >>> from aajr.arena.environments.gymnasium import GymnasiumEnvironment
        >>> cart = GymnasiumEnvironment("CartPole-v1", episodes=2, seed=0)
        >>> radio = WithSources(cart, reporting=["[0]", "[1]", ["[2]", "[3]"]], liars=1)
        >>> radio.sources, radio.liars
        (tensor([0, 1, 2, 2]), 1)
    """

    environment: Environment[Played]
    reporting: Tensor | Sequence[Pattern | Iterable[Pattern]]
    liars: int
    low: Tensor | float | None = None
    high: Tensor | float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.reporting, Tensor):
            found = _sources(self.environment, self.reporting)
            object.__setattr__(self, "reporting", found)
        names = set(self.sources.tolist()) - {-1}
        if self.sources.shape != (self.features,) or names != set(range(len(names))) or not names:
            raise ValueError(
                f"reporting={self.sources.tolist()} is not one source for each of {self.features} "
                "features; number the sources from 0 without a gap, with -1 for features of none"
            )
        check_count("liars", self.liars)
        if self.liars > len(names):
            raise ValueError(f"liars={self.liars} but there are {len(names)} sources; choose fewer")

    @property
    def sources(self) -> Tensor:
        """Source of each feature, -1 for none, ``[features]``."""
        return torch.as_tensor(self.reporting)

    @property
    def claims(self) -> Claims:
        """Least and greatest value that a source can report."""
        return self.low, self.high

    @property
    def features(self) -> int:
        """Size of an agent's observation."""
        return self.environment.features

    @property
    def items(self) -> Tensor:
        """Group number of each feature."""
        return self.environment.items

    @property
    def facts(self) -> Mapping[str, Any]:
        """The environment's settings and those of the sources, as JSON values."""
        ends = [None if end is None else torch.as_tensor(end).tolist() for end in self.claims]
        own = {"sources": self.sources.tolist(), "liars": self.liars, "claims": ends}
        return {**self.environment.facts, **own}

    def attackable(self, threat: Threat) -> Tensor:
        """Features that the adversary may change: those of the sources under ``reports``."""
        return self.sources >= 0 if threat == "reports" else self.environment.attackable(threat)

    def told(self, liars: Sequence[int]) -> Tensor:
        """Features that lying teammates report to others."""
        return self.environment.told(liars)

    def resized(self, episodes: int, seed: int) -> WithSources[Played]:
        """A copy with another number of episodes and another seed."""
        return replace(self, environment=self.environment.resized(episodes, seed))

    def reset(self) -> Running[Played]:
        """Start all episodes."""
        return self.environment.reset()


def _sources(
    environment: Environment[Any], reporting: Sequence[Pattern | Iterable[Pattern]]
) -> Tensor:
    """The source of each feature, from the names of every source's features."""
    named: Any = getattr(environment, "features_named", None)
    if named is None:
        raise ValueError(
            f"reporting={reporting!r} names features but {type(environment).__name__} has no "
            "names; give the number of each feature's source, [features]"
        )
    sources = torch.full((environment.features,), -1)
    for number, patterns in enumerate(reporting):
        mask = named(patterns)
        if bool((sources[mask] >= 0).any()):
            raise ValueError(
                f"reporting={reporting!r} names a feature of source {number} that another source "
                "reports already; give each feature one source"
            )
        sources[mask] = number
    return sources
