"""The numbers of an audit; each one is marked as measured or certified."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

Kind = Literal["measured", "certified"]
UNCERTIFIED = "nothing is certified"


@dataclass(frozen=True)
class Quantity:
    """One number per state, or one for all.

    Attributes:
        name: name of the field in ``audit.json``.
        label: description in words.
        kind: ``measured`` holds for the attacks that were run, ``certified`` for every δ of the
            ball.
        unit: unit of the values.
        values: one value per state, or a single value for all states; infinite for "none found
            within ε", NaN where undefined, empty where not available.
        note: why the values are missing, or how to read them.
    """

    name: str
    label: str
    kind: Kind
    unit: str
    values: tuple[float, ...]
    note: str = ""

    def quantile(self, level: float) -> float | None:
        """The nearest value of that rank among the defined values; None if there are none."""
        known = sorted(value for value in self.values if not math.isnan(value))
        return known[round(level * (len(known) - 1))] if known else None

    @property
    def available(self) -> bool:
        """Whether there is any value."""
        return self.quantile(0.5) is not None

    def to_json(self) -> dict[str, Any]:
        """Plain data; infinite and undefined values become null."""
        levels = {"minimum": 0.0, "median": 0.5, "quantile_95": 0.95, "maximum": 1.0}
        return {
            "label": self.label,
            "kind": self.kind,
            "unit": self.unit,
            "note": self.note,
            **{name: finite(self.quantile(level)) for name, level in levels.items()},
            "per_state": [finite(value) for value in self.values],
        }


@dataclass(frozen=True)
class Share:
    """A share of the states.

    Attributes:
        name: name of the field in ``audit.json``.
        label: description in words.
        kind: ``measured`` or ``certified``.
        value: between 0 and 1; None where not available.
        note: why the value is missing.
    """

    name: str
    label: str
    kind: Kind
    value: float | None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"label": self.label, "kind": self.kind, "value": self.value, "note": self.note}


@dataclass(frozen=True)
class Finding:
    """A warning of the audit.

    Attributes:
        name: short name for programs; it does not change between versions.
        text: explanation for people.
    """

    name: str
    text: str


def per_state(values: Tensor | None) -> tuple[float, ...]:
    """The values as floats; empty for None."""
    return () if values is None else tuple(values.double().tolist())


def finite(value: float | None) -> float | None:
    """The value, or None if it is infinite or NaN: JSON has no such numbers."""
    return value if value is not None and math.isfinite(value) else None


def find(items: Sequence[Quantity], name: str) -> Quantity:
    """The quantity of that name."""
    return next(item for item in items if item.name == name)
