"""The radio by which short-sighted hiders learn where the seekers are: n sources, some may lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aajr._settings import check_choice, check_count, check_number

Content = Literal["nearest", "all"]
"""What a source reports: where the nearest seeker is, or where every seeker is."""


@dataclass(frozen=True)
class Radio:
    """n sources report to every hider, at every step, where the seekers are.

    A report is the true position relative to the hider, plus Gaussian noise that is drawn anew for
    every hider, source and step. Beyond ``sight`` the hiders have nothing else to go by.

    Attributes:
        sources: n, reports that each hider gets.
        noise: standard deviation of a report, in arena half widths: one for all sources, or one
            for each.
        sight: how far a hider sees seekers itself; what it sees is true.
        content: ``nearest``, every source reports the seeker that is nearest to the hider;
            ``all``, every source reports every seeker.
        liars: k, sources that may lie to a hider under the threat ``reports``.
        tracked: the seekers are told where the hiders are, seen or not, so that who stands still
            is found.

    Raises:
        ValueError: numbers out of range, noise for another number of sources, no honest source.

    Example:
        >>> Radio(sources=3, noise=(0.1, 0.1, 0.3), liars=1).deviations
        (0.1, 0.1, 0.3)
    """

    sources: int = 5
    noise: tuple[float, ...] = (0.1,)
    sight: float = 0.15
    content: Content = "nearest"
    liars: int = 2
    tracked: bool = True

    def __post_init__(self) -> None:
        check_count("sources", self.sources)
        check_count("liars", self.liars)
        check_number("sight", self.sight)
        check_choice("content", self.content, ("nearest", "all"))
        for deviation in self.noise:
            check_number("noise", deviation)
        if len(self.noise) not in (1, self.sources):
            raise ValueError(
                f"noise={self.noise} has {len(self.noise)} numbers for sources={self.sources}; "
                "give one for all sources or one for each"
            )
        if self.liars >= self.sources:
            raise ValueError(
                f"liars={self.liars} leaves no honest one of sources={self.sources}; lower it"
            )

    @property
    def deviations(self) -> tuple[float, ...]:
        """Standard deviation of every source's noise."""
        return self.noise * self.sources if len(self.noise) == 1 else self.noise

    def seekers_reported(self, seekers: int) -> int:
        """How many of the seekers every source reports."""
        return 1 if self.content == "nearest" else seekers
