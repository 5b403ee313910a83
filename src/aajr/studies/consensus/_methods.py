"""The methods: how each trains, and which weights are tried for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor

from aajr._modes import Policy
from aajr.adversaries import (
    Adversary,
    CrossEntropy,
    LyingSources,
    ProjectedGradientAscent,
    UniformNoise,
    fgsm,
)
from aajr.geometry import Ball, Categorical
from aajr.penalties import (
    AAJR,
    Frobenius,
    InputGradient,
    Penalty,
    RandomDirection,
    Spectral,
    StateAdversarial,
)
from aajr.studies.consensus._case import Case
from aajr.studies.consensus._policies import Front
from aajr.trajectory import Trajectory

Training = Literal["plain", "lies", "adversarial", "one_step"]
"""What the task loss is computed on: clean inputs (``plain``), random lies (``lies``), lies found
by gradient ascent (``adversarial``) or by one step from noise (``one_step``)."""

FISHER = Categorical()
INNER_STEPS = 3


@dataclass(frozen=True)
class Method:
    """How a policy is trained.

    Attributes:
        name: name in settings and results.
        title: name in tables and plots.
        training: inputs of the task loss.
        penalty: function that builds the penalty of a case; None for no penalty.
        weights: values of λ that are tried on the validation seeds.
        front: estimate that replaces the reports before the network, see :data:`Front`.
    """

    name: str
    title: str
    training: Training = "adversarial"
    penalty: Callable[[Case], Penalty] | None = None
    weights: tuple[float, ...] = ()
    front: Front = "none"


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class SideBySide(Penalty):
    """A penalty of several policies in one batched network, each with its own λ.

    Attributes:
        penalty: penalty of a single policy.
        weights: λ of every member, ``[members]``.
    """

    penalty: Penalty
    weights: Tensor

    def per_sample(
        self, policy: Policy, trajectory: Trajectory, generator: torch.Generator
    ) -> Tensor:
        """The penalty of each row times the λ of the row's member, ``[rows]``."""
        values = self.penalty.per_sample(policy, trajectory, generator)
        return values * self.weights.repeat(len(values) // len(self.weights))


def adversary_of(method: Method, case: Case, epsilon: float) -> Adversary:
    """The adversary of training: it draws k liars for every sample and searches their lies.

    With ``one_step`` the liars are those of the noise that comes first.
    """
    ball = Ball("linf", epsilon)
    if method.training == "one_step":
        return LyingSources(fgsm(ball, CrossEntropy()), case.sources, case.liars, "given")
    ascent = ProjectedGradientAscent(ball, CrossEntropy(), steps=INNER_STEPS)
    return LyingSources(ascent, case.sources, case.liars)


def noise_of(method: Method, case: Case, epsilon: float) -> Adversary | None:
    """Random lies before a one-step adversary, up to twice ε, or in place of an adversary."""
    reach = {"lies": epsilon, "one_step": 2 * epsilon}.get(method.training)
    if reach is None:
        return None
    return LyingSources(UniformNoise(Ball("linf", reach)), case.sources, case.liars)


def _frobenius(
    points: Literal["origin", "last"], where: Literal["all", "reports", "spoofed"]
) -> Callable[[Case], Penalty]:
    def make(case: Case) -> Penalty:
        masks: dict[str, Tensor | Literal["moved"] | None] = {
            "all": None,
            "reports": case.sources >= 0,
            "spoofed": "moved",
        }
        return Frobenius(metric=FISHER, points=points, mask=masks[where])

    return make


def _random(points: Literal["origin", "last"]) -> Callable[[Case], Penalty]:
    return lambda case: RandomDirection(
        metric=FISHER, points=points, mask="moved", fraction=1.0, interval=1
    )


def _aajr(points: Literal["origin", "last"]) -> Callable[[Case], Penalty]:
    return lambda case: AAJR(metric=FISHER, points=points, fraction=1.0, interval=1)


_LOW, _MIDDLE, _HIGH = (
    tuple(float(f"{last / 10 ** (step / 2):.2g}") for step in (4, 3, 2, 1, 0))
    for last in (0.3, 1.0, 3.0)
)

ALL = (
    Method("plain", "plain", "plain"),
    Method("lies", "plain, on random lies", "lies"),
    Method("adversarial", "adversarial training"),
    Method("one_step", "one step from noise (N-FGSM)", "one_step"),
    Method("mean", "mean of the reports, then plain", "plain", front="mean"),
    Method("median", "median of the reports, then plain", "plain", front="median"),
    Method("aajr", "AAJR", penalty=_aajr("last"), weights=_HIGH),
    Method("aajr_clean", "AAJR at the clean point", penalty=_aajr("origin"), weights=_HIGH),
    Method("random", "random direction of the liars", penalty=_random("last"), weights=_HIGH),
    Method(
        "random_clean",
        "random direction of the liars, clean point",
        penalty=_random("origin"),
        weights=_HIGH,
    ),
    Method(
        "spoofed",
        "Frobenius over the liars",
        penalty=_frobenius("last", "spoofed"),
        weights=_MIDDLE,
    ),
    Method(
        "spoofed_clean",
        "Frobenius over the liars, clean point",
        penalty=_frobenius("origin", "spoofed"),
        weights=_MIDDLE,
    ),
    Method(
        "reports",
        "Frobenius over the reports",
        penalty=_frobenius("last", "reports"),
        weights=_MIDDLE,
    ),
    Method(
        "reports_clean",
        "Frobenius over the reports, clean point",
        penalty=_frobenius("origin", "reports"),
        weights=_MIDDLE,
    ),
    Method("all", "Frobenius over all inputs", penalty=_frobenius("last", "all"), weights=_LOW),
    Method(
        "all_clean",
        "Frobenius over all inputs, clean point",
        penalty=_frobenius("origin", "all"),
        weights=_LOW,
    ),
    Method(
        "sa",
        "SA: divergence at the worst point",
        penalty=lambda case: StateAdversarial(metric=FISHER),
        weights=_HIGH,
    ),
    Method(
        "spectral",
        "spectral norm over the reports",
        penalty=lambda case: Spectral(metric=FISHER, iterations=2, mask=case.sources >= 0),
        weights=_MIDDLE,
    ),
    Method(
        "input_gradient",
        "input gradient",
        penalty=lambda case: InputGradient(objective=CrossEntropy()),
        weights=_MIDDLE,
    ),
)
METHODS = {method.name: method for method in ALL}
