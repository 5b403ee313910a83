"""Threat models by name: what an adversary may change, and the meaning of ε."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

Threat = Literal["full", "others", "reports", "actions"]

Claims: TypeAlias = "tuple[Tensor | float | None, Tensor | float | None]"
"""Least and greatest value that a source can report, for all features or each; None: no limit."""


@dataclass(frozen=True)
class ThreatModel:
    """What an adversary may change.

    Attributes:
        words: what it changes, in words.
        radius: the meaning of ε, in a sentence.
    """

    words: str
    radius: str


_SEEN = "ε is an L∞ radius in units of the observation, each feature of roughly unit scale"

FARTHEST = 2.0
"""Greatest distance in x or y within an arena, in half widths; it limits reported positions."""

THREATS: dict[str, ThreatModel] = {
    "full": ThreatModel("every observed feature", _SEEN),
    "others": ThreatModel("only what an agent perceives or is told of other agents", _SEEN),
    "reports": ThreatModel("any k of the n sources that report where others are", _SEEN),
    "actions": ThreatModel("the actions", "ε is an L∞ radius in units of the action"),
}
"""Every threat model by its name."""
