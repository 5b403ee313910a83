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
from tests import dense

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
    attack = Square(ball, linear)
    best = attack.propose(torch.zeros_like(x), attack.ball.around(x), 0, generator)
    proposal = attack.propose(best, attack.ball.around(x), query, generator)
    sizes = ball.size(proposal)
    torch.testing.assert_close(sizes, torch.full_like(sizes, 0.3))
    block = {0: 16, 1: 8, 11: 4, 60: 2, 300: 1, 10_000: 1}[query]
    if norm == "linf":
        assert torch.equal(proposal.abs() > 0, MASK.repeat(4).expand(50, -1))
    changed = ((proposal - best).abs() > 1e-12).sum(1)
    limit = block if norm == "linf" else max(block, 2)
    assert int(changed.max()) == limit if norm == "l2" else int(changed.max()) <= limit
    assert int(changed.max()) > 0


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


def test_square_moves_windows_of_images():
    ball, x = Ball("linf", 0.3, event_dims=3), torch.zeros(4, 2, 8, 8)
    attack, generator = Square(ball, total_of), torch.Generator().manual_seed(0)
    around = ball.around(x)
    stripes = attack.propose(x, around, 0, generator)
    assert torch.equal(stripes, stripes[:, :, :1].expand_as(stripes))
    for query, side in ((1, 7), (11, 5), (300, 3), (10_000, 1)):
        delta = attack.propose(torch.zeros_like(x), around, query, generator)
        changed = (delta != 0)[0, 0]
        assert torch.equal((delta != 0), changed.expand_as(delta))
        assert changed.any(0).sum() == changed.any(1).sum() == side
        assert int(changed.sum()) == side * side
        torch.testing.assert_close(delta.abs().amax((1, 2, 3)), torch.full((4,), 0.3))
