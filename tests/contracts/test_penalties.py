"""The penalty contract, applied to all ours."""

from __future__ import annotations

from aajr import (
    AAJR,
    ERNIE,
    Ball,
    Frobenius,
    InputGradient,
    RandomDirection,
    Spectral,
    StateAdversarial,
)
from aajr.testing.penalties import PenaltyContract, weighted_output


class TestAAJR(PenaltyContract):
    def make(self, **common):
        return AAJR(**common)


class TestAAJRAlongTheTrajectory(PenaltyContract):
    def make(self, **common):
        return AAJR(points="trajectory", estimator="central_difference", **common)


class TestAAJROfTheStep(PenaltyContract):
    def make(self, **common):
        return AAJR(direction="step", estimator="forward_mode", **common)


class TestAAJROfTheGradient(PenaltyContract):
    def make(self, **common):
        return AAJR(direction="gradient", estimator="double_backward", **common)


class TestAAJRWithHinge(PenaltyContract):
    def make(self, **common):
        return AAJR(gamma=0.05, estimator="forward_mode", **common)


class TestAAJRSecant(PenaltyContract):
    def make(self, **common):
        return AAJR(direction="step", estimator="secant", **common)


class TestRandomDirection(PenaltyContract):
    def make(self, **common):
        return RandomDirection(**common)


class TestRandomDirectionWeightedByTheGradient(PenaltyContract):
    def make(self, **common):
        return RandomDirection(weight="gradient", estimator="forward_mode", **common)


class TestFrobenius(PenaltyContract):
    def make(self, **common):
        return Frobenius(points="trajectory", **common)


class TestSpectral(PenaltyContract):
    def make(self, **common):
        return Spectral(iterations=60, **common)


class TestStateAdversarial(PenaltyContract):
    def make(self, **common):
        return StateAdversarial(**common)


class TestSymmetricStateAdversarial(PenaltyContract):
    def make(self, **common):
        return StateAdversarial(symmetric=True, **common)


class TestERNIE(PenaltyContract):
    zero = 1e-150
    gradient_of_value = False

    def make(self, **common):
        return ERNIE(ball=Ball("linf", 0.3), **common)


class TestInputGradient(PenaltyContract):
    def make(self, **common):
        return InputGradient(objective=weighted_output, **common)
