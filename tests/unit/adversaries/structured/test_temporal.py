"""Budgets over an episode: linear optima by SciPy, and whole episodes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize

from aajr import Ball, Divergence, ProjectedGradientAscent, UniformNoise
from aajr._inspection import inspect
from aajr.adversaries import (
    NES,
    AutoPGD,
    EpisodeBudget,
    RandomSearch,
    SmoothedAscent,
    Square,
    SubsetSearch,
    TemporallyCoupled,
)
from aajr.geometry import Dropped
from aajr.testing import dense


def total(output, reference):
    return output.sum(1)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def linear_optimum(norm, gradient, previous, epsilon, reach):
    """max ⟨g, δ⟩ subject to both balls, by linear programming or SLSQP."""
    if norm == "linf":
        low = np.maximum(-epsilon, previous - reach)
        high = np.minimum(epsilon, previous + reach)
        return -linprog(-gradient, bounds=list(zip(low, high, strict=True))).fun
    constraints = [
        {"type": "ineq", "fun": lambda z: epsilon**2 - z @ z},
        {"type": "ineq", "fun": lambda z: reach**2 - (z - previous) @ (z - previous)},
    ]
    found = minimize(
        lambda z: -gradient @ z, 0.9 * previous, method="SLSQP", constraints=constraints
    )
    return -found.fun


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("reach", [0.05, 0.2, 0.7])
def test_coupled_ascent_reaches_the_linear_optimum(norm, reach):
    ball = Ball(norm, 0.5)
    weights = dense.inputs(1, 5, seed=4)
    x = dense.inputs()
    previous = ball.project(dense.inputs(seed=7), x)
    pgd = ProjectedGradientAscent(ball, total, steps=60, step_size=0.1)
    coupled = TemporallyCoupled(pgd, reach)
    found = coupled(lambda x: x * weights, x, generator(), {"previous": previous})
    gain = ((found.worst - x) * weights).sum(1)
    for row in range(len(x)):
        best = linear_optimum(norm, weights[0].numpy(), previous[row].numpy(), 0.5, reach)
        assert float(gain[row]) >= best - 0.01 * abs(best)
        assert float(gain[row]) <= best + 1e-6


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("inner", [ProjectedGradientAscent, UniformNoise])
def test_an_episode_of_coupled_perturbations_moves_slowly(norm, inner):
    ball = Ball(norm, 0.5, scale=torch.tensor([1.0, 2.0, 0.5, 1.0, 1.0]), low=-2.0, high=2.0)
    coupled, g = TemporallyCoupled(inner(ball), 0.1), generator()
    previous, drift = torch.zeros(4, 5).double(), []
    for step in range(12):
        x = dense.inputs(seed=step // 6).clamp(-2, 2)
        kept = ball.project_scaled(previous, x)
        delta = coupled(dense.tanh_net(), x, g, {"previous": previous}).worst - x
        assert bool((ball.size(delta) <= 0.5 + 1e-6).all())
        assert bool((ball.size(delta - kept) <= 0.1 + 1e-6).all())
        drift.append(ball.size(delta))
        previous = delta
    assert bool((drift[0] <= 0.1 + 1e-6).all())
    if inner is ProjectedGradientAscent:
        assert bool((drift[-1] > drift[0]).all())


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("solver", [AutoPGD, NES, RandomSearch, SmoothedAscent, Square])
def test_every_solver_works_in_a_lens(norm, solver):
    """It knows the loss of the point that it settles on, and finds most of what ascent finds."""
    ball, x, policy = Ball(norm, 0.5), dense.inputs(), dense.tanh_net()
    previous = ball.project(dense.inputs(seed=7), x)
    found = []
    for inner in (solver(ball), ProjectedGradientAscent(ball, steps=20, select="best")):
        coupled = TemporallyCoupled(inner, 0.1)
        found.append(coupled(policy, x, generator(), {"previous": previous}))
        assert bool((ball.size(found[-1].worst - x - previous) <= 0.1 + 1e-6).all())
    loss = Divergence()(policy(found[0].worst), found[0].reference).detach()
    torch.testing.assert_close(found[0].losses.amax(0), loss)
    share = 0.6 if solver is RandomSearch else 0.95
    assert float(loss.mean()) >= share * float(found[1].losses.amax(0).mean())


def test_a_wide_reach_changes_nothing():
    ball, x = Ball("linf", 0.3), dense.inputs()
    pgd = ProjectedGradientAscent(ball, Divergence(), steps=5, select="best")
    plain = pgd(dense.tanh_net(), x, generator())
    data = {"previous": torch.zeros_like(x)}
    coupled = TemporallyCoupled(pgd, 0.7)(dense.tanh_net(), x, generator(), data)
    torch.testing.assert_close(coupled.worst, plain.worst)
    assert coupled.forward_passes == plain.forward_passes


def test_no_reach_repeats_the_last_perturbation():
    ball, x = Ball("l2", 0.3), dense.inputs()
    previous = ball.project(dense.inputs(seed=3), x)
    coupled = TemporallyCoupled(ProjectedGradientAscent(ball), 0.0)
    found = coupled(dense.tanh_net(), x, generator(), {"previous": previous})
    torch.testing.assert_close(found.worst - x, previous)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_an_episode_never_overspends(norm):
    ball = Ball(norm, 0.5)
    thrifty, g = EpisodeBudget(ProjectedGradientAscent(ball), total=1.2), generator()
    spent = torch.zeros(4).double()
    for step in range(5):
        x = dense.inputs(seed=step)
        found = thrifty(dense.tanh_net(), x, g, {"spent": spent})
        spent = spent + ball.size(found.worst - x)
        assert bool((spent <= 1.2 + 1e-6).all())
    torch.testing.assert_close(spent, torch.full_like(spent, 1.2))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_rest_of_a_budget_is_spent_as_a_smaller_ball_would(norm):
    weights, x = dense.inputs(1, 5, seed=4), dense.inputs()
    spent = torch.tensor([0.0, 0.9, 1.1, 2.0]).double()
    pgd = ProjectedGradientAscent(Ball(norm, 0.5), total, steps=150)
    thrifty = EpisodeBudget(pgd, total=1.2)
    found = thrifty(lambda x: x * weights, x, generator(), {"spent": spent})
    gain = ((found.worst - x) * weights).sum(1)
    dual = weights.abs().sum() if norm == "linf" else weights.norm()
    expected = torch.tensor([0.5, 0.3, 0.1, 0.0]).double() * dual
    torch.testing.assert_close(gain, expected, rtol=0.01, atol=1e-9)
    assert bool((gain <= expected * (1 + 1e-6) + 1e-9).all())


def test_only_what_pays_is_attacked():
    """The gain of row i is i ε; a threshold between 1 ε and 2 ε leaves two rows alone."""
    weights = torch.arange(4.0).unsqueeze(1)
    pgd = ProjectedGradientAscent(Ball("linf", 0.1), total, random_start=False)
    thrifty = EpisodeBudget(pgd, total=9.0, threshold=0.15)
    data = {"spent": torch.zeros(4)}
    found = thrifty(lambda x: x * weights, torch.zeros(4, 1), generator(), data)
    torch.testing.assert_close(found.worst.flatten(), torch.tensor([0.0, 0.0, 0.1, 0.1]))


def test_the_gain_is_counted_as_a_pass():
    x, rows = dense.inputs(), []

    def policy(x):
        rows.append(len(x))
        return dense.tanh_net()(x)

    inspect(policy, x)
    rows.clear()
    thrifty = EpisodeBudget(ProjectedGradientAscent(Ball("l2", 0.3)), total=1.0)
    found = thrifty(policy, x, generator(), {"spent": torch.zeros(4)})
    assert found.forward_passes == sum(rows) / 4


def test_a_spent_budget_needs_no_search():
    def policy(x):
        assert torch.equal(x, dense.inputs())
        return dense.tanh_net()(x)

    thrifty = EpisodeBudget(ProjectedGradientAscent(Ball("l2", 0.3)), total=1.0)
    found = thrifty(policy, dense.inputs(), generator(), {"spent": torch.full((4,), 1.5)})
    assert torch.equal(found.worst, dense.inputs())
    assert found.forward_passes == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TemporallyCoupled(ProjectedGradientAscent(Ball("l2", 0.1)), -0.1), "reach=-0.1"),
        (lambda: TemporallyCoupled(SubsetSearch(Dropped(torch.arange(2))), 0.1), "has no Ball of"),
        (lambda: EpisodeBudget(UniformNoise(Ball("l2", 0.1)), 1.0), "has no objective, so that"),
        (lambda: EpisodeBudget(ProjectedGradientAscent(Ball("l2", 0.1)), -1.0), "total=-1.0"),
        (
            lambda: EpisodeBudget(
                TemporallyCoupled(ProjectedGradientAscent(Ball("l2", 0.1)), 0.1), 1.0
            ),
            "adversary=TemporallyCoupled has no Ball of its own",
        ),
    ],
)
def test_bad_wrappers_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_inner_adversary_keeps_its_needs():
    class Needy(ProjectedGradientAscent):
        needs = ("state",)

    coupled = TemporallyCoupled(Needy(Ball("linf", 0.1)), 0.1)
    assert coupled.needs == ("previous", "state")
    assert TemporallyCoupled.needs == ("previous",)


def test_missing_and_bad_data_are_refused():
    pgd = ProjectedGradientAscent(Ball("linf", 0.1))
    x, policy = dense.inputs(), dense.tanh_net()
    with pytest.raises(ValueError, match="previous"):
        TemporallyCoupled(pgd, 0.1)(policy, x, generator())
    with pytest.raises(ValueError, match=r"data\['previous'\] has shape \(4, 3\)"):
        TemporallyCoupled(pgd, 0.1)(policy, x, generator(), {"previous": torch.zeros(4, 3)})
    with pytest.raises(ValueError, match="spent"):
        EpisodeBudget(pgd, 1.0)(policy, x, generator())
    with pytest.raises(ValueError, match="negative or NaN"):
        EpisodeBudget(pgd, 1.0)(policy, x, generator(), {"spent": torch.full((4,), -1.0)})
