"""The adversary contract on structured threat sets, temporal wrappers and learned adversaries.

A structured set is no norm ball, so the two tests that read a ball's own budget are replaced by
those of the set: membership, and one budget for a sample with all its agents.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from aajr import Adversary, Ball, ProjectedGradientAscent, Reference
from aajr.adversaries import (
    CoordinateAscent,
    EpisodeBudget,
    LyingSources,
    SparseAscent,
    SubsetSearch,
    TemporallyCoupled,
)
from aajr.arena.attacks.learned import DirectedAdversary, LearnedAdversary, LearnedLiars
from aajr.geometry import Dropped, Quantised, Sparse
from aajr.testing import dense
from aajr.testing.adversaries import (
    BALLS,
    AdversaryContract,
    attack,
    clean,
    every_ball,
)


def cube(ball: Ball) -> Ball:
    """The L∞ ball with everything else as it is."""
    return replace(ball, norm="linf")


class StructuredContract(AdversaryContract):
    """Suite of an adversary on a set that is no ball."""

    @every_ball
    def test_points_are_inside_ball_box_and_mask(self, ball):
        x, adversary = clean(), self.make(ball)
        trajectory = attack(adversary, dense.tanh_net(), x)
        allowed = adversary.ball.attackable(x)
        assert bool((trajectory.worst != x).any())
        for point in [*trajectory.points, trajectory.worst]:
            assert bool(adversary.ball.contains(point - x, x).all())
            assert bool((adversary.ball.size(point - x) <= adversary.ball.epsilon + 1e-9).all())
            assert torch.equal(point[allowed == 0], x[allowed == 0])

    @pytest.mark.parametrize("event_dims", [2])
    def test_agents_have_their_own_ball_or_one_for_the_team(self, event_dims):
        flat, x = dense.tanh_net(6, 4), dense.inputs(3, 2, 3)
        coalition = torch.tensor([[True, True], [True, False], [False, True]])
        ball = Ball("linf", 0.3, coalition=coalition, event_dims=event_dims)
        trajectory = attack(self.make(ball), lambda x: flat(x.flatten(1)), x)
        assert trajectory.event_dims == event_dims
        moved = (trajectory.worst - x).abs().sum(-1) > 0
        assert not bool((moved & ~coalition).any())
        assert bool(moved.any(-1).all())


class TestSparseAscent(StructuredContract):
    def make(self, ball: Ball):
        return SparseAscent(Sparse(cube(ball), budget=2))


class TestSparseAscentWithoutEnumeration(StructuredContract):
    def make(self, ball: Ball):
        return SparseAscent(Sparse(cube(ball), budget=2), steps=3, enumerate_up_to=0)


def two_liars(ball: Ball, who: str) -> LyingSources:
    event = (2, 3) if ball.event_dims == 2 else (5,)
    sources = torch.arange(torch.Size(event).numel()).reshape(event) // 2
    search = ProjectedGradientAscent(cube(ball), select="best")
    return LyingSources(search, sources, liars=2, who=who)


class TestRandomLiars(StructuredContract):
    def make(self, ball: Ball):
        return two_liars(ball, "random")


class TestLiarsByGradient(StructuredContract):
    def make(self, ball: Ball):
        return two_liars(ball, "gradient")


class TestAllCoalitionsOfLiars(StructuredContract):
    def make(self, ball: Ball):
        return two_liars(ball, "all")


class TestQuantisedCoordinateAscent(StructuredContract):
    def make(self, ball: Ball):
        return CoordinateAscent(Quantised(cube(ball), quantum=0.1))


class TestSparseOnAGrid(StructuredContract):
    def make(self, ball: Ball):
        return SubsetSearch(Quantised(cube(ball), quantum=0.1, budget=2), enumerate_up_to=0)


class TestDroppedSubsets(StructuredContract):
    """The set has no radius and no coalition: a group is lost or not."""

    def make(self, ball: Ball):
        event = (2, 3) if ball.event_dims == 2 else (5,)
        groups = torch.arange(torch.Size(event).numel()).reshape(event)
        return SubsetSearch(Dropped(groups, budget=2))

    def test_the_promise_holds_to_the_last_bit(self):
        """Nothing is promised but the number of groups, as above."""

    def test_a_ball_of_radius_zero_changes_nothing(self):
        x = torch.zeros(4, 5, dtype=torch.float64)
        assert torch.equal(attack(self.make(BALLS["l2"]), dense.tanh_net(), x).worst, x)

    def test_agents_have_their_own_ball_or_one_for_the_team(self):
        x = dense.inputs(3, 2, 3)
        adversary = self.make(Ball("linf", 0.3, event_dims=2))
        flat = dense.tanh_net(6, 4)
        trajectory = attack(adversary, lambda x: flat(x.flatten(1)), x)
        assert ((trajectory.worst != x).flatten(1).sum(1) == 2).all()


class Midway(Adversary):
    """Plays one step in the middle of an episode, with data that depend on the sample alone."""

    def __init__(self, adversary):
        self.adversary = adversary
        self.ball = adversary.ball
        self.objective = adversary.objective

    def run(self, policy, reference, generator):
        x = reference.inputs
        data = {
            "previous": self.ball.project_scaled(x.flip(-1).sin(), x),
            "spent": torch.full(x.shape[:1], 0.4, dtype=x.dtype),
        }
        return self.adversary.run(policy, Reference(x, reference.outputs, data), generator)


class TestTemporallyCoupled(AdversaryContract):
    def make(self, ball: Ball):
        return Midway(TemporallyCoupled(ProjectedGradientAscent(ball), reach=0.2))


class TestEpisodeBudget(AdversaryContract):
    def make(self, ball: Ball):
        return Midway(EpisodeBudget(ProjectedGradientAscent(ball), total=0.6))

    def test_agents_have_their_own_ball_or_one_for_the_team(self):
        """One number was spent by a sample, so that its agents share one ball."""
        super().test_agents_have_their_own_ball_or_one_for_the_team(event_dims=2)


class TestLearnedAdversary(AdversaryContract):
    def make(self, ball: Ball):
        def network(x):
            size = x[0].numel() if ball.mask is None else int(ball.mask.sum())
            return 3 * (x.flatten(1)[:, :size] + 0.5).sin()

        return LearnedAdversary(ball, network)


class TestDirectedAdversary(AdversaryContract):
    def make(self, ball: Ball):
        def network(x):
            """A direction of as many entries as the suite's policies have outputs."""
            outputs = 4 if x.ndim == 3 else 6
            first = (x.flatten(1)[:, :1] + 0.5).sin()
            return torch.cat([first * (index + 1) for index in range(outputs)], 1).cos()

        return DirectedAdversary(ball, network, steps=2)


def learned_liars(inner, ball: Ball) -> LearnedLiars:
    """Two of the sources lie, as waves of the first feature say."""
    sources = two_liars(ball, "random").sources

    def network(x):
        told = sources[replace(ball, coalition=None).attackable(x[:1])[0].bool()]
        outputs = 4 if x.ndim == 3 else 6
        lies = len(told) if inner is LearnedAdversary else outputs
        count = lies + len(told.unique())
        return 3 * (x.flatten(1)[:, :1] + 0.5 + torch.arange(count)).sin()

    return LearnedLiars(inner(cube(ball), network), sources, liars=2)


class TestLearnedLiars(StructuredContract):
    def make(self, ball: Ball):
        return learned_liars(LearnedAdversary, ball)


class TestDirectedLiars(StructuredContract):
    def make(self, ball: Ball):
        return learned_liars(DirectedAdversary, ball)
