"""The methods of the comparisons, and the weights that are tried for each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from aajr.hide_and_seek.training.config import PenaltyName

Placement = Literal["none", "update", "rollout", "mixed"]


@dataclass(frozen=True)
class Method:
    """One way to train, over a grid of weights.

    Attributes:
        name: of the method; a penalised method's name is also that of its frontier family.
        penalty: which penalty.
        weights: grid of λ; empty for a method without a penalty.
        direction: of the penalty.
        placement: where the adversary stands in training.
        points: where the Jacobian is taken; None for the last point.
        within: features of a penalty: ``moved``, those that the adversary moved; None for its own.
        front: ``median``, the median of the reports in front of the policy; None for nothing.
        search: ``noise``, random perturbations in place of the search; None for the search.
    """

    name: str
    penalty: PenaltyName = "none"
    weights: tuple[float, ...] = ()
    direction: Literal["unit", "step", "gradient"] = "unit"
    placement: Placement = "rollout"
    points: Literal["last", "trajectory", "origin"] | None = None
    within: Literal["moved"] | None = None
    front: Literal["median"] | None = None
    search: Literal["noise"] | None = None

    @property
    def family(self) -> str | None:
        """The frontier that its weights trace."""
        return self.name if self.weights else None

    def label(self, weight: float | None, seed: int) -> str:
        """Name of one of its runs, such as ``aajr_0.01_100``."""
        name = self.name if weight is None else f"{self.name}_{weight:g}"
        return f"{name}_{seed}"


def middle(methods: Iterable[Method], count: int) -> tuple[Method, ...]:
    """The methods with the middle ``count`` weights of their grids.

    Example:
        >>> [method.weights for method in middle([Method("aajr", "aajr", (0.1, 0.3, 1.0))], 1)]
        [(0.3,)]
    """
    return tuple(
        replace(method, weights=method.weights[skip : skip + count])
        for method in methods
        for skip in [max(0, (len(method.weights) - count) // 2)]
    )


_WEIGHTS = (0.0001, 0.0003, 0.001, 0.003, 0.01)

MAIN_OF_OTHERS = (
    Method("plain", placement="none"),
    Method("adversarial"),
    Method("global", "global", _WEIGHTS),
    Method("aajr", "aajr", _WEIGHTS),
)
"""Baselines, the global penalty and AAJR where the adversary moves all that is perceived."""

ALL_OF_OTHERS = (
    *MAIN_OF_OTHERS,
    Method("aajr_step", "aajr", _WEIGHTS, "step"),
    Method("aajr_gradient", "aajr", _WEIGHTS, "gradient"),
    Method("random_direction", "random_direction", _WEIGHTS),
    Method("random_gradient", "random_direction", _WEIGHTS, "gradient"),
    Method("global_attackable", "global_attackable", _WEIGHTS),
    Method("spectral", "spectral", _WEIGHTS),
    Method("sa", "sa", _WEIGHTS),
    Method("ernie", "ernie", _WEIGHTS),
    Method("input_gradient", "input_gradient", _WEIGHTS),
    Method("adversarial_update", placement="update"),
    Method("adversarial_mixed", placement="mixed"),
)

# A direction costs less than a whole Jacobian, so that its λ is larger.
_ALONG = (0.001, 0.003, 0.01, 0.03, 0.1)
_OVER_REPORTS = (0.0001, 0.0003, 0.001, 0.003, 0.01)
_OVER_ALL = (0.00003, 0.0001, 0.0003, 0.001, 0.003)
_DIVERGENCE = (0.01, 0.03, 0.1, 0.3, 1.0)

MAIN_OF_REPORTS = (
    Method("plain", placement="none"),
    Method("adversarial"),
    Method("global", "global", _OVER_ALL),
    Method("global_reports", "global_attackable", _OVER_REPORTS),
    Method("random_direction", "random_direction", _ALONG, within="moved"),
    Method("aajr", "aajr", _ALONG),
    Method("median", placement="none", front="median"),
)
"""Baselines, AAJR and its main rivals where any k of n reports lie, and the median filter."""

RANDOM_LIES = Method("plain_lies", search="noise")
"""Training on random lies: augmentation, the cheapest rival."""

ALL_OF_REPORTS = (
    *MAIN_OF_REPORTS,
    RANDOM_LIES,
    Method("global_moved", "global_attackable", _OVER_REPORTS, within="moved"),
    Method("aajr_clean", "aajr", _ALONG, points="origin"),
    Method("adversarial_update", placement="update"),
    Method("sa", "sa", _DIVERGENCE),
    Method("spectral", "spectral", _OVER_REPORTS),
    Method("input_gradient", "input_gradient", _OVER_REPORTS),
    Method("median_adversarial", front="median"),
)
"""The same with every control."""

PRIMARY = ("adversarial", "global", "global_reports", "random_direction")
"""Rivals above which AAJR must lie in the game of reports."""
