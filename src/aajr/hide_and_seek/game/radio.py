"""The radio: n sources report the seekers' positions to the hiders, and some sources may lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aajr._settings import check_choice, check_count, check_number

Content = Literal["nearest", "all"]
"""What a source reports: the position of the nearest seeker, or of every seeker."""


@dataclass(frozen=True)
class Radio:
    """A radio: n sources tell every hider, at every step, where the seekers are.

    A report is the seeker's true position relative to the hider, plus Gaussian noise. The noise is
    drawn anew for every hider, source and step. Reports are all that a hider knows of seekers
    farther away than ``sight``.

    Attributes:
        sources: n, the number of sources; each hider gets a report from every one.
        noise: standard deviation of a report, in arena half widths: one for all sources, or one
            for each.
        sight: distance up to which a hider sees seekers itself, without error.
        content: with ``nearest`` every source reports the seeker nearest to the hider; with
            ``all`` every source reports every seeker.
        liars: k, the number of sources that may lie to a hider under the threat ``reports``.
        tracked: whether the seekers are told where all hiders are, even those they do not see. If
            so, they find hiders that stand still.

    Raises:
        ValueError: a number is out of range, ``noise`` does not fit the number of sources, or no
            source is honest.

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
