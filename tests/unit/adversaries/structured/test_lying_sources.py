"""Liars among several sources, against closed forms and enumeration."""

from __future__ import annotations

import itertools

import pytest
import torch

from aajr import AAJR, Ball, Minimax, ProjectedGradientAscent
from aajr.adversaries import LyingSources, TemporallyCoupled, fgsm, with_epsilon
from aajr.geometry import Dropped
from aajr.testing import dense

SOURCES = torch.tensor([-1, 0, 0, 1, 1, 2, 2])
CUBE = Ball("linf", 0.5)


def total(output, reference):
    return output.flatten(1).sum(1)


def ascent(ball=CUBE, **settings):
    return ProjectedGradientAscent(ball, total, select="best", **settings)


def moved(trajectory):
    return trajectory.worst != trajectory.origin


@pytest.mark.parametrize("liars", [1, 2, 3])
@pytest.mark.parametrize("who", ["all", "gradient"])
def test_the_worst_liars_of_a_linear_policy_are_those_of_the_largest_weights(liars, who, generator):
    weights = dense.inputs(1, 7, seed=4)
    x = dense.inputs(5, 7)
    attack = LyingSources(ascent(), SOURCES, liars, who)
    found = attack(lambda x: x * weights, x, generator)
    reach = torch.stack([weights[0, s == SOURCES].abs().sum() for s in range(3)])
    best = 0.5 * reach.topk(liars).values.sum()
    torch.testing.assert_close(((found.worst - x) * weights).sum(1), best.expand(5))


def test_all_coalitions_find_what_each_alone_can(generator):
    """The best of searches whose ball is masked to one coalition, sample by sample."""
    policy, x = dense.tanh_net(7, 3), dense.inputs(16, 7)
    attack = LyingSources(ascent(steps=8, random_start=False), SOURCES, 2, "all")
    found = attack(policy, x, generator)
    alone = []
    for pair in itertools.combinations(range(3), 2):
        ball = Ball("linf", 0.5, mask=torch.isin(SOURCES, torch.tensor(pair)))
        alone.append(ascent(ball, steps=8, random_start=False)(policy, x, generator))
    torch.testing.assert_close(
        found.losses.amax(0), torch.stack([a.losses.amax(0) for a in alone]).amax(0)
    )
    assert found.backward_passes == 24


def test_random_liars_are_all_pairs_equally_often(generator):
    x = torch.zeros(6000, 7)
    found = LyingSources(fgsm(CUBE, total), SOURCES, 2)(lambda x: x, x, generator)
    assert torch.equal(moved(found)[:, 1::2], moved(found)[:, 2::2])
    assert not moved(found)[:, 0].any()
    liars = moved(found)[:, 1::2]
    assert bool((liars.sum(1) == 2).all())
    share = torch.stack([(~liars[:, s]).double().mean() for s in range(3)])
    torch.testing.assert_close(share, torch.full((3,), 1 / 3).double(), atol=0.03, rtol=0)


def test_every_agent_has_liars_of_its_own(generator):
    x = torch.zeros(400, 4, 7)
    found = LyingSources(fgsm(CUBE, total), SOURCES, 1)(lambda x: x, x, generator)
    liars = moved(found)[..., 1::2]
    assert bool((liars.sum(-1) == 1).all())
    alike = (liars == liars[:, :1]).all(-1).all(-1).double().mean()
    assert float(alike) < 0.15


def test_a_source_that_is_closed_never_lies(generator):
    ball = Ball("linf", 0.5, mask=torch.tensor([True, False, False, True, True, True, True]))
    found = LyingSources(fgsm(ball, total), SOURCES, 2)(lambda x: x, torch.zeros(50, 7), generator)
    assert torch.equal(moved(found), torch.tensor([0, 0, 0, 1, 1, 1, 1]).bool().expand(50, -1))


def test_given_liars_are_those_who_lie(generator):
    liars = torch.tensor([[True, False, True], [False, True, False]])
    attack = LyingSources(fgsm(CUBE, total), SOURCES, 2, "given")
    found = attack(lambda x: x, torch.zeros(2, 7), generator, {"liars": liars})
    assert torch.equal(moved(found)[:, 1::2], liars)
    with pytest.raises(ValueError, match=r"needs data\['liars'\]"):
        attack(lambda x: x, torch.zeros(2, 7), generator)
    with pytest.raises(ValueError, match="names 3 liars but liars=2; name at most"):
        attack(lambda x: x, torch.zeros(2, 7), generator, {"liars": liars | True})
    with pytest.raises(ValueError, match=r"is torch.float32 of shape \(2, 3\); give booleans"):
        attack(lambda x: x, torch.zeros(2, 7), generator, {"liars": liars.float()})


def test_a_lie_without_limit_stays_in_the_box(generator):
    """From a report anywhere in the box to the corner that the weights ask for."""
    ball = Ball("linf", 1e6, low=-10.0, high=10.0)
    weights = torch.tensor([[1.0, 1.0, -1.0, 0.1, 0.1, 0.1, 0.1]])
    found = LyingSources(ascent(ball), SOURCES, 1, "all")(
        lambda x: x * weights, dense.inputs(3, 7).float(), generator
    )
    assert torch.equal(found.worst[:, 1:3], torch.tensor([[10.0, -10.0]]).expand(3, -1))


def test_the_trajectory_is_the_search_that_a_penalty_reads(generator):
    """A scheduled ε reaches the inner search, and AAJR acts on the liars' directions."""
    policy, x = dense.tanh_net(7, 3), dense.inputs(32, 7)
    attack = LyingSources(ascent(steps=2), SOURCES, 2)
    assert with_epsilon(attack, 0.5) is attack
    assert with_epsilon(attack, 0.1).ball.epsilon == 0.1
    minimax = Minimax(attack, AAJR(fraction=1.0, interval=1), epsilon=lambda update: 0.25)
    loss = minimax(policy, x, lambda output: output.square().mean())
    assert float((loss.trajectory.worst - x).abs().max()) <= 0.25 + 1e-9
    assert bool(((loss.trajectory.gradients[-1] != 0).sum(1) == 4).all())
    assert float(loss.penalty.detach()) > 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LyingSources(ascent(), SOURCES, 0), "budget=0 is not allowed|liars=0"),
        (lambda: LyingSources(ascent(Ball("l2", 1.0)), SOURCES, 1), "ball.norm='l2' couples"),
        (lambda: LyingSources(ascent(), SOURCES.float(), 1), "groups is torch.float32"),
        (lambda: LyingSources(ascent(), SOURCES, 1, "some"), "who='some'"),
        (lambda: LyingSources(Dropped(SOURCES), SOURCES, 1), "no Ball of its own"),
        (
            lambda: LyingSources(fgsm(CUBE, total), SOURCES, 1, "all"),
            "who='all' compares coalitions; give a search with select='best'",
        ),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_all_coalitions_are_those_of_one_event(generator):
    attack = LyingSources(ascent(), SOURCES, 1, "all")
    with pytest.raises(ValueError, match="give event_dims=2"):
        attack(lambda x: x, torch.zeros(2, 3, 7), generator)


def test_lies_drift_from_step_to_step(generator):
    """δ of a coalition that stays moves by at most the reach, of others not at all."""
    slow = TemporallyCoupled(ascent(Ball("linf", 1.0)), 0.25)
    attack = LyingSources(slow, SOURCES, 2, "given")
    x, delta = torch.zeros(32, 7), torch.zeros(32, 7)
    liars = attack.drawn(x, generator)
    for step in range(1, 6):
        data = {"previous": delta, "liars": liars}
        delta = attack(torch.clone, x, generator, data).worst - x
        expected = torch.zeros(32, 7)
        expected[:, 1:] = min(1.0, 0.25 * step) * liars.repeat_interleave(2, 1)
        torch.testing.assert_close(delta, expected)
