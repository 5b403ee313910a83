"""The adversary contract, applied to all ours."""

from __future__ import annotations

from aajr import Ball, Divergence, ProjectedGradientAscent, UniformNoise
from tests.contracts.adversary_contract import AdversaryContract


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
