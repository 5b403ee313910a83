"""Strength against known optima, and a longer search never finds less."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from aajr import (
    CMAES,
    NES,
    SPSA,
    Adversary,
    AutoPGD,
    Ball,
    ProjectedGradientAscent,
    RandomSearch,
    SmoothedAscent,
    Square,
    Transfer,
    fgsm,
    imitate,
)
from aajr._inspection import inspect

EPSILON = 0.3
NORMS = ("l2", "linf")


def draw(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def identity(x: Tensor) -> Tensor:
    return x * 1.0


def total(output: Tensor, reference) -> Tensor:
    return output.sum(1)


def found(attack: Adversary, policy, x: Tensor, seed: int = 0) -> Tensor:
    """The objective at the worst point, evaluated here and not by the attack, ``[batch]``."""
    trajectory = attack(policy, x, torch.Generator().manual_seed(seed))
    return attack.objective(policy(trajectory.worst), trajectory.reference).detach()


def linear(cost: Tensor):
    return lambda output, reference: output @ cost


def pgd(ball: Ball, objective, **settings) -> Adversary:
    size = {"steps": 60, "step_size": 0.05 * ball.epsilon, "restarts": 24, "select": "best"}
    return ProjectedGradientAscent(ball, objective, **(size | settings))


GRADIENT = {
    "pgd": pgd,
    "apgd": lambda ball, objective: AutoPGD(ball, objective, steps=40, restarts=24),
    "smoothed": lambda ball, objective: SmoothedAscent(
        ball, objective, steps=30, samples=8, radius=0.05, restarts=24
    ),
}
BLACK_BOX = {
    "square": lambda ball, objective: Square(ball, objective, queries=600),
    "nes": lambda ball, objective: NES(ball, objective, steps=30, samples=20),
    "spsa": lambda ball, objective: SPSA(ball, objective, steps=30, samples=20),
    "cma_es": lambda ball, objective: CMAES(ball, objective, generations=60, population=16),
}
every_norm = pytest.mark.parametrize("norm", NORMS)


def dual(norm: str, cost: Tensor) -> Tensor:
    return cost.norm() if norm == "l2" else cost.abs().sum()


@every_norm
@pytest.mark.parametrize("make", [fgsm, *GRADIENT.values()], ids=["fgsm", *GRADIENT])
def test_gradient_attacks_reach_the_linear_optimum(norm, make):
    cost, x = draw(20, seed=1), draw(6, 20, seed=2)
    gain = found(make(Ball(norm, EPSILON), linear(cost)), identity, x) - x @ cost
    optimum = EPSILON * dual(norm, cost)
    assert bool((gain >= 0.99 * optimum).all())
    assert bool((gain <= optimum + 1e-9).all())


@every_norm
@pytest.mark.parametrize("make", BLACK_BOX.values(), ids=BLACK_BOX)
def test_black_box_attacks_reach_the_linear_optimum_in_few_dimensions(norm, make):
    cost, x = draw(5, seed=1), draw(6, 5, seed=2)
    gain = found(make(Ball(norm, EPSILON), linear(cost)), identity, x) - x @ cost
    optimum = EPSILON * dual(norm, cost)
    assert bool((gain >= 0.99 * optimum).all())
    assert bool((gain <= optimum + 1e-9).all())


@every_norm
def test_cma_does_not_collapse_into_the_first_corner_it_meets(norm):
    cost, x = draw(20, seed=1), draw(6, 20, seed=2)
    attack = CMAES(Ball(norm, EPSILON), linear(cost), generations=60, population=14)
    gain = found(attack, identity, x) - x @ cost
    assert bool((gain >= 0.98 * EPSILON * dual(norm, cost)).all())


def quadratics(rows: int, size: int) -> tuple[Tensor, Tensor]:
    """Indefinite symmetric A ``[rows, size, size]`` and b ``[rows, size]``."""
    a = draw(rows, size, size, seed=3)
    return a + a.transpose(1, 2), draw(rows, size, seed=4)


def quadratic(a: Tensor, b: Tensor):
    """½ dᵀAd + bᵀd of every row's own A and b; x is zero, so that the input is δ."""

    def objective(output: Tensor, reference) -> Tensor:
        a_rows, b_rows = (t.repeat(len(output) // len(t), *[1] * (t.ndim - 1)) for t in (a, b))
        curved = torch.einsum("ri,rij,rj->r", output, a_rows, output) / 2
        return curved + (b_rows * output).sum(1)

    return objective


def trust_region_optimum(a: Tensor, b: Tensor, radius: float) -> float:
    """max ½dᵀAd + bᵀd on ‖d‖ ≤ r: d = (λI - A)⁻¹b with λ ≥ λ_max and, here, ‖d‖ = r."""
    values, vectors = torch.linalg.eigh(a)
    rotated = vectors.T @ b
    assert values[-1] > 0, "an interior maximum is possible; choose another matrix"
    low, high = float(values[-1]), float(values[-1] + b.norm() / radius)
    for _ in range(200):
        middle = (low + high) / 2
        longer = float((rotated / (middle - values)).norm()) > radius
        low, high = (middle, high) if longer else (low, middle)
    d = rotated / (high - values)
    return float((values * d.square()).sum() / 2 + (rotated * d).sum())


@pytest.mark.parametrize("make", GRADIENT.values(), ids=GRADIENT)
def test_gradient_attacks_reach_the_trust_region_optimum(make):
    a, b = quadratics(8, 6)
    gain = found(make(Ball("l2", EPSILON), quadratic(a, b)), identity, torch.zeros_like(b))
    optimum = torch.tensor(
        [trust_region_optimum(m, v, EPSILON) for m, v in zip(a, b, strict=True)],
        dtype=torch.float64,
    )
    assert bool((gain >= 0.99 * optimum).all())
    assert bool((gain <= optimum + 1e-9).all())


@pytest.mark.parametrize("make", GRADIENT.values(), ids=GRADIENT)
def test_gradient_attacks_reach_the_best_corner(make):
    """A convex function is largest at a corner of the box; all 64 are enumerated."""
    a, b = quadratics(8, 6)
    a = a @ a / 6
    ball = Ball("linf", EPSILON)
    gain = found(make(ball, quadratic(a, b)), identity, torch.zeros_like(b))
    corners = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=6))).double() * EPSILON
    values = torch.einsum("ci,rij,cj->rc", corners, a, corners) / 2 + b @ corners.T
    optimum = values.amax(1)
    assert bool((gain >= 0.99 * optimum).all())
    assert bool((gain <= optimum + 1e-9).all())


@pytest.mark.parametrize("make", GRADIENT.values(), ids=GRADIENT)
def test_gradient_attacks_reach_the_maximum_over_a_grid(make):
    """A bumpy function of two features, largest inside the box, on 401 x 401 points."""
    axis = torch.linspace(-EPSILON, EPSILON, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)

    def bumpy(x: Tensor) -> Tensor:
        return ((6 * x).sin() + 0.5 * (11 * x + 1).cos()).sum(1, keepdim=True)

    x = draw(6, 2, seed=5)
    clean = bumpy(x).squeeze(1)
    optimum = bumpy((x.unsqueeze(1) + grid).flatten(0, 1)).reshape(6, -1).amax(1) - clean
    gain = found(make(Ball("linf", EPSILON), total), bumpy, x) - clean
    assert bool((gain >= 0.99 * optimum).all())


def rugged(x: Tensor) -> Tensor:
    return (7 * x).sin() * (3 * x.roll(1, 1)).cos()


LONGER = {
    "apgd steps": [lambda b, n=n: AutoPGD(b, total, steps=n) for n in (1, 3, 6, 12, 24)],
    "apgd restarts": [lambda b, n=n: AutoPGD(b, total, steps=3, restarts=n) for n in (1, 2, 4, 8)],
    "pgd restarts": [
        lambda b, n=n: ProjectedGradientAscent(b, total, restarts=n, select="best")
        for n in (1, 2, 4, 8)
    ],
    "smoothed": [lambda b, n=n: SmoothedAscent(b, total, steps=n) for n in (1, 3, 9)],
    "nes restarts": [lambda b, n=n: NES(b, total, steps=2, restarts=n) for n in (1, 2, 4)],
    "random search": [lambda b, n=n: RandomSearch(b, total, n) for n in (1, 5, 25, 125)],
    "square": [lambda b, n=n: Square(b, total, n, planned=125) for n in (1, 5, 25, 125)],
    "nes": [lambda b, n=n: NES(b, total, steps=n) for n in (1, 3, 9)],
    "spsa": [lambda b, n=n: SPSA(b, total, steps=n) for n in (1, 3, 9)],
    "cma_es": [lambda b, n=n: CMAES(b, total, generations=n) for n in (1, 3, 9)],
}


@every_norm
@pytest.mark.parametrize("series", LONGER.values(), ids=LONGER)
def test_a_longer_search_never_finds_less(norm, series):
    x = draw(16, 6, seed=6)
    results = [found(make(Ball(norm, 0.8)), rugged, x) for make in series]
    for fewer, more in itertools.pairwise(results):
        assert bool((more >= fewer - 1e-12).all())
    assert bool((results[-1] > results[0]).any())


def staircase(x: Tensor) -> Tensor:
    return (20 * x).floor() / 20


@pytest.mark.parametrize("make", BLACK_BOX.values(), ids=BLACK_BOX)
def test_black_box_attacks_climb_stairs(make):
    x = draw(6, 5, seed=7)
    cost = draw(5, seed=8)
    gain = found(make(Ball("linf", EPSILON), linear(cost)), staircase, x) - staircase(x) @ cost
    optimum = ((staircase(x + EPSILON * cost.sign()) - staircase(x)) * cost).sum(1)
    assert bool((gain >= 0.9 * optimum).all())


def test_a_smoothed_direction_climbs_where_the_gradient_points_down():
    """x + 0.02 sin(100x) rises on the whole; at half of its points the gradient is negative."""

    def ripple(x: Tensor) -> Tensor:
        return x + 0.02 * (100 * x).sin()

    x = torch.full((8, 4), math.pi / 100, dtype=torch.float64)
    ball = Ball("linf", 0.5)
    plain = found(fgsm(ball, total), ripple, x)
    smoothed = found(SmoothedAscent(ball, total, steps=3, samples=40), ripple, x)
    assert bool((plain < x.sum(1)).all())
    assert bool((smoothed > (x + 0.45).sum(1)).all())


@every_norm
def test_a_transferred_attack_reaches_most_of_the_linear_optimum(norm):
    cost, x = draw(5, seed=1), draw(6, 5, seed=2)
    weight = draw(5, 5, seed=9)
    generator, asked = torch.Generator().manual_seed(0), []

    def victim(x: Tensor) -> Tensor:
        asked.append(len(x))
        return x @ weight

    copy = imitate(victim, draw(1000, 5, seed=10), generator, epochs=30)
    assert sum(asked) == copy.queries
    inspect(victim, x)
    asked.clear()
    ball = Ball(norm, EPSILON)
    trajectory = Transfer(copy, AutoPGD(ball, linear(cost)))(victim, x, generator)
    assert sum(asked) == len(x)
    gain = (trajectory.worst - x) @ weight @ cost
    assert bool((gain > 0.9 * EPSILON * dual(norm, weight @ cost)).all())


@every_norm
def test_passes_are_what_the_settings_say(norm):
    x, ball = draw(3, 5, seed=2), Ball(norm, EPSILON)
    expected = {
        fgsm(ball, total): (2, 1),
        AutoPGD(ball, total, steps=5, restarts=3): (1 + 3 * 6, 15),
        SmoothedAscent(ball, total, steps=3, samples=4): (2 + 3 * 5, 12),
        RandomSearch(ball, total, queries=7): (8, 0),
        Square(ball, total, queries=7): (8, 0),
        NES(ball, total, steps=3, samples=4, restarts=2): (1 + 2 * 28, 0),
        SPSA(ball, total, steps=3, samples=4): (2 + 3 * 9, 0),
        CMAES(ball, total, generations=3, population=6): (19, 0),
    }
    for attack, (forward, backward) in expected.items():
        trajectory = attack(identity, x, torch.Generator().manual_seed(0))
        assert (trajectory.forward_passes, trajectory.backward_passes) == (forward, backward)
        assert bool((trajectory.gradients == 0).all()) == (backward == 0)
