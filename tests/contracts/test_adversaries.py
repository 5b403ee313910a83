"""The adversary contract, applied to all ours."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from aajr import (
    CMAES,
    FAB,
    NES,
    SPSA,
    AttackOn,
    AutoPGD,
    Ball,
    Divergence,
    LeastValue,
    Mixture,
    ProjectedGradientAscent,
    RandomSearch,
    SmoothedAscent,
    Square,
    Transfer,
    UniformNoise,
    VertexSearch,
    fgsm,
)
from aajr.testing import AdversaryContract, dense


def total(output: Tensor, reference) -> Tensor:
    return output.flatten(1).sum(1)


def curved_value(x: Tensor) -> Tensor:
    return (2 * x).sin().flatten(1).sum(1, keepdim=True)


class TestUniformNoise(AdversaryContract):
    def make(self, ball: Ball):
        return UniformNoise(ball)


class TestProjectedGradientAscent(AdversaryContract):
    def make(self, ball: Ball):
        return ProjectedGradientAscent(ball)


class TestProjectedGradientAscentWithRestarts(AdversaryContract):
    def make(self, ball: Ball):
        return ProjectedGradientAscent(ball, Divergence(), restarts=3, select="best")


class TestProjectedGradientAscentFromTheCentre(AdversaryContract):
    def make(self, ball: Ball):
        return ProjectedGradientAscent(
            ball, lambda output, reference: output.flatten(1).sum(1), random_start=False
        )


class TestRawProjectedGradientAscent(AdversaryContract):
    def make(self, ball: Ball):
        return ProjectedGradientAscent(ball, step_direction="raw", step_size=0.1)


class TestNormalizedProjectedGradientAscent(AdversaryContract):
    def make(self, ball: Ball):
        return ProjectedGradientAscent(ball, step_direction="raw", step_rule="normalized")


class TestSignProjectedGradientAscent(AdversaryContract):
    def make(self, ball: Ball):
        return ProjectedGradientAscent(ball, step_direction="sign")


class TestStableProjectedGradientAscent(AdversaryContract):
    def make(self, ball: Ball):
        return ProjectedGradientAscent(ball, step_rule="stable")


class TestBacktrackingProjectedGradientAscent(AdversaryContract):
    def make(self, ball: Ball):
        return ProjectedGradientAscent(ball, step_direction="raw", step_rule="backtracking")


class TestFastGradientSignMethod(AdversaryContract):
    def make(self, ball: Ball):
        return fgsm(ball, total)


class TestAutoPGD(AdversaryContract):
    def make(self, ball: Ball):
        return AutoPGD(ball, steps=6, window=2)


class TestAutoPGDWithRestarts(AdversaryContract):
    def make(self, ball: Ball):
        return AutoPGD(ball, steps=3, restarts=2)


class TestProjectedGradientAscentOnAMixture(AdversaryContract):
    def make(self, ball: Ball):
        return ProjectedGradientAscent(ball, Mixture(LeastValue(), Divergence(), 0.5, 2.0, 0.1))


class TestSmoothedAscent(AdversaryContract):
    def make(self, ball: Ball):
        return SmoothedAscent(ball, steps=3, samples=4)


class TestRandomSearch(AdversaryContract):
    def make(self, ball: Ball):
        return RandomSearch(ball, queries=12)


class TestVertexSearch(AdversaryContract):
    def make(self, ball: Ball):
        if ball.norm == "l2":  # a ball without corners: take the box inside it
            ball = replace(ball, norm="linf", epsilon=ball.epsilon / math.sqrt(dense.INPUTS))
        return VertexSearch(ball)


class TestSquare(AdversaryContract):
    def make(self, ball: Ball):
        return Square(ball, queries=12)


class TestFAB(AdversaryContract):
    def make(self, ball: Ball):
        return FAB(ball, steps=4, bisections=2)


class TestNES(AdversaryContract):
    def make(self, ball: Ball):
        return NES(ball, steps=3, samples=4)


class TestSPSA(AdversaryContract):
    def make(self, ball: Ball):
        return SPSA(ball, steps=3, samples=4)


class TestCMAES(AdversaryContract):
    def make(self, ball: Ball):
        return CMAES(ball, generations=3, population=6)


class TestTransfer(AdversaryContract):
    def make(self, ball: Ball):
        return Transfer(torch.sin, ProjectedGradientAscent(ball))


class TestAttackOnAValue(AdversaryContract):
    def make(self, ball: Ball):
        return AttackOn(curved_value, ProjectedGradientAscent(ball, LeastValue()))
