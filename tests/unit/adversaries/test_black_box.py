"""Black-box attacks: estimates against closed forms, proposals, the library cma."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from aajr import (
    CMAES,
    NES,
    SPSA,
    Ball,
    MaskedGradientWarning,
    RandomSearch,
    Reference,
    SmoothedAscent,
    Square,
)
from aajr.testing import dense

SCALE = torch.tensor([0.5, 2.0, 1.0, 0.1, 1.0], dtype=torch.float64)
MASK = torch.tensor([True, True, False, True, True])
COST = torch.tensor([3.0, -4.0, 0.5, 2.0, -1.0], dtype=torch.float64)


def linear(output: Tensor, reference) -> Tensor:
    return output @ COST


def reference(x: Tensor) -> Reference:
    return Reference(x, x)


@pytest.mark.parametrize("attack", [NES, SPSA])
def test_estimates_average_to_the_gradient(attack):
    """On a linear F the mean of many estimates is its gradient, whatever the scale."""
    ball, x = Ball("linf", 0.3, scale=SCALE, mask=MASK), dense.inputs(2, 5)
    generator = torch.Generator().manual_seed(0)
    estimate = attack(ball, linear, samples=40_000).estimate(
        lambda x: x * 1.0, reference(x), x, generator
    )
    expected = (COST * MASK).expand(2, -1)
    # an estimate's deviation is ‖s c‖/s per draw, here up to 80
    torch.testing.assert_close(estimate.gradient, expected, atol=1.5, rtol=0)
    narrow = (SCALE >= 0.5).double()
    torch.testing.assert_close(estimate.gradient * narrow, expected * narrow, atol=0.3, rtol=0)
    assert (estimate.forward, estimate.backward) == (80_000, 0)


def test_nes_estimates_the_smoothed_slope_of_a_step():
    """F = 1[x > 0] smoothed by N(0, w²) has the slope φ(0)/w at 0, where F itself has none."""
    ball, x = Ball("linf", 1.0), torch.zeros(1, 1, dtype=torch.float64)

    def stairs(output: Tensor, reference) -> Tensor:
        return (output > 0).double().sum(1)

    attack = NES(ball, stairs, samples=20_000, radius=0.2)
    estimate = attack.estimate(
        lambda x: x, reference(x), x, torch.Generator().manual_seed(0)
    ).gradient
    assert float(estimate) == pytest.approx(1 / (0.2 * (2 * np.pi) ** 0.5), rel=0.02)


def test_the_smoothed_gradient_is_the_gradient_of_the_smoothed_function():
    """E sin(x + wξ) = sin(x) exp(-w²/2)."""
    ball, x = Ball("linf", 2.0), dense.inputs(3, 2)

    def total(output: Tensor, reference) -> Tensor:
        return output.sum(1)

    attack = SmoothedAscent(ball, total, samples=4000, radius=0.4)
    estimate = attack.estimate(torch.sin, reference(x), x, torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        estimate.gradient, x.cos() * np.exp(-(0.8**2) / 2), atol=0.05, rtol=0
    )
    assert (estimate.forward, estimate.backward) == (4000, 4000)


def test_smoothing_a_staircase_warns_and_queries_do_not(generator):
    ball, x = Ball("linf", 0.3), dense.inputs()
    with pytest.warns(MaskedGradientWarning, match="zero everywhere"):
        SmoothedAscent(ball, linear)(lambda x: x.round() + 0 * x, x, generator)
    NES(ball, linear)(lambda x: x.round() + 0 * x, x, generator)


@pytest.mark.parametrize("query", [0, 1, 11, 60, 300, 10_000])
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_square_proposes_points_of_the_surface_that_share_all_but_a_block(norm, query):
    ball = Ball(norm, 0.3, scale=SCALE.repeat(4), mask=MASK.repeat(4))
    x, generator = dense.inputs(50, 20), torch.Generator().manual_seed(0)
    attack = Square(ball, linear, planned=10_000)
    best = attack.propose(torch.zeros_like(x), attack.ball.around(x), 0, generator)
    proposal = attack.propose(best, attack.ball.around(x), query, generator)
    sizes = ball.size(proposal)
    torch.testing.assert_close(sizes, torch.full_like(sizes, 0.3))
    block = {0: 16, 1: 13, 11: 7, 60: 4, 300: 2, 10_000: 2}[query]
    if norm == "linf":
        assert torch.equal(proposal.abs() > 0, MASK.repeat(4).expand(50, -1))
    changed = ((proposal - best).abs() > 1e-12).sum(1)
    assert int(changed.max()) == block if norm == "l2" else int(changed.max()) <= block
    assert int(changed.min()) > 0


def test_blocks_are_random_and_reach_every_attackable_feature():
    ball, x = Ball("linf", 0.3, mask=MASK), dense.inputs(400, 5)
    attack, generator = Square(ball, linear), torch.Generator().manual_seed(0)
    best = attack.propose(torch.zeros_like(x), attack.ball.around(x), 0, generator)
    changed = (attack.propose(best, attack.ball.around(x), 300, generator) != best).double().mean(0)
    assert bool((changed[MASK] > 0.05).all())
    assert float(changed[~MASK]) == 0


def test_random_search_keeps_the_best_of_its_draws(generator):
    ball, x = Ball("l2", 0.4), dense.inputs()
    trajectory = RandomSearch(ball, linear, queries=30)(lambda x: x * 1.0, x, generator)
    again = torch.Generator().manual_seed(0)
    draws = torch.stack([x + ball.sample(x, again) for _ in range(30)])
    best = (draws @ COST).argmax(0)
    assert torch.equal(trajectory.worst, draws[best, torch.arange(len(x))])


def test_cma_uses_no_global_randomness_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    state, results = np.random.get_state(), []
    try:
        for seed in (1, 2):
            np.random.seed(seed)
            before = np.random.get_state()[1].copy()
            attack = CMAES(Ball("linf", 0.3), linear, generations=3)
            generator = torch.Generator().manual_seed(0)
            results.append(attack(lambda x: x * 1.0, dense.inputs(), generator).worst)
            assert np.array_equal(np.random.get_state()[1], before)
    finally:
        np.random.set_state(state)
    assert torch.equal(*results)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""


def test_cma_rows_draw_different_numbers(generator):
    x = dense.inputs(1, 5).expand(2, -1)
    worst = CMAES(Ball("l2", 0.3), linear, generations=1)(lambda x: x * 1.0, x, generator).worst
    assert not torch.equal(worst[0], worst[1])


def test_a_missing_cma_is_explained(monkeypatch):
    monkeypatch.setitem(sys.modules, "cma", None)
    monkeypatch.delitem(sys.modules, "aajr.adversaries._cma_strategies", raising=False)
    with pytest.raises(ImportError, match=r"pip install 'aajr\[attacks\]'"):
        CMAES(Ball("l2", 0.3))


@pytest.mark.parametrize(
    ("attack", "settings", "message"),
    [
        (Square, {"queries": 0}, "queries=0 is not allowed"),
        (Square, {"planned": 0}, "planned=0 is not allowed"),
        (RandomSearch, {"queries": 1.5}, "queries=1.5 is not allowed"),
        (NES, {"steps": 0}, "steps=0 is not allowed"),
        (NES, {"samples": 0}, "samples=0 is not allowed"),
        (SPSA, {"restarts": 0}, "restarts=0 is not allowed"),
        (SPSA, {"radius": 0.0}, "radius=0.0 is not allowed"),
        (SmoothedAscent, {"step_size": 0.0}, "step_size=0.0 is not allowed"),
        (CMAES, {"generations": 0}, "generations=0 is not allowed"),
        (CMAES, {"population": 3}, "population=3 is not allowed; give a whole number >= 4"),
        (CMAES, {"radius": -1.0}, "radius=-1.0 is not allowed"),
    ],
)
def test_bad_settings_are_refused(attack, settings, message):
    with pytest.raises(ValueError, match=message):
        attack(Ball("linf", 0.1), **settings)


def test_finished_rows_are_asked_no_more():
    """Half of the rows cannot be moved above the bound; the others are there at once."""
    seen = []

    def policy(x: Tensor) -> Tensor:
        seen.append(len(x))
        return x

    x = torch.cat([torch.full((5, 2), -9.0), torch.full((5, 2), 9.0)])
    square = Square(Ball("linf", 0.3), total_of, queries=20, until=0.0)
    found = square(policy, x, torch.Generator().manual_seed(0))
    assert seen[-19:] == [5] * 19
    assert found.forward_passes == 1 + (10 + 19 * 5) / 10
    assert bool((found.losses[-1][5:] > 0).all())
    whole = Square(Ball("linf", 0.3), total_of, queries=20)(policy, x, torch.Generator())
    assert bool((whole.losses[-1] >= found.losses[-1]).all())
    torch.testing.assert_close(found.worst[:5], torch.full((5, 2), -8.7))


def total_of(output: Tensor, reference) -> Tensor:
    return output.sum(1)


def side_by_formula(query: int, planned: int, pixels: int) -> int:
    """max(1, round √(p · pixels)), p = max(0.8 · 2^-h, 4/N) and at most 0.8."""
    times = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
    halvings = sum(round(query / planned - time, 12) > 0 for time in times)
    share = min(0.8, max(0.8 / 2**halvings, 4 / planned))
    return max(1, round((share * pixels) ** 0.5))


@pytest.mark.parametrize("planned", [3, 50, 200, 5000, 10_000, 40_000])
def test_windows_shrink_with_the_share_of_the_planned_queries(planned):
    ball, x = Ball("linf", 0.3, event_dims=3), torch.zeros(4, 2, 16, 16)
    attack, generator = Square(ball, total_of, queries=planned), torch.Generator().manual_seed(0)
    around = ball.around(x)
    stripes = attack.propose(x, around, 0, generator)
    assert torch.equal(stripes, stripes[:, :, :1].expand_as(stripes))
    for query in {1, *(planned * part // 1000 + 1 for part in (3, 10, 30, 70, 150, 300, 500, 900))}:
        delta = attack.propose(torch.zeros_like(x), around, query, generator)
        changed = (delta != 0)[0, 0]
        side = side_by_formula(query, planned, 256)
        assert torch.equal((delta != 0), changed.expand_as(delta))
        assert changed.any(0).sum() == changed.any(1).sum() == side
        assert int(changed.sum()) == side * side
        torch.testing.assert_close(delta.abs().amax((1, 2, 3)), torch.full((4,), 0.3))


@pytest.mark.parametrize("shape", [(500, 1, 5, 5), (500, 3, 5, 5), (500, 3), (500, 30)])
def test_square_wastes_no_query_on_the_best_point_itself(shape):
    ball, x = Ball("linf", 0.3, event_dims=len(shape) - 1), torch.zeros(shape)
    attack, generator = Square(ball, total_of, planned=10_000), torch.Generator().manual_seed(0)
    best = attack.propose(x, ball.around(x), 0, generator)
    for query in (1, 60, 9000):
        delta = attack.propose(best, ball.around(x), query, generator)
        assert bool((delta != best).flatten(1).any(1).all())
        assert bool((delta.abs() == delta.abs().amax()).all())


def test_signs_of_one_pixel_are_uniform_but_for_the_present_ones():
    """Each of three channels flips alone in 1/8 + 1/24, two or three together in 1/8."""
    ball, x = Ball("linf", 0.3, event_dims=3), torch.zeros(40_000, 3, 1, 1)
    around, generator = ball.around(x), torch.Generator().manual_seed(0)
    delta = Square(ball, total_of).propose(around.high, around, 199, generator)
    flips = (delta < 0).flatten(1).long() @ torch.tensor([1, 2, 4])
    share = torch.bincount(flips, minlength=8) / len(x)
    expected = torch.tensor([0, 1 / 6, 1 / 6, 1 / 8, 1 / 6, 1 / 8, 1 / 8, 1 / 8])
    torch.testing.assert_close(share, expected, atol=0.01, rtol=0)


def test_few_queries_reach_what_they_should_on_a_linear_loss():
    """On images of 16 × 16, 200 queries: 0.34 of the optimum, 0.21 at the pace of 10,000."""
    ball = Ball("linf", 0.1, event_dims=3)
    cost = torch.randn(3 * 256, generator=torch.Generator().manual_seed(1))

    def gain(output: Tensor, reference) -> Tensor:
        return output @ cost / (0.1 * cost.abs().sum())

    x, generator = torch.zeros(32, 3, 16, 16), torch.Generator().manual_seed(0)
    found = Square(ball, gain, queries=200)(torch.nn.Flatten(), x, generator)
    assert float(found.losses[-1].mean()) > 0.3
