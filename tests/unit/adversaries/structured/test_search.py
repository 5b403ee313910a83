"""Searches against plain enumeration and closed forms."""

from __future__ import annotations

import itertools

import pytest
import torch

from aajr import Ball
from aajr.adversaries import CoordinateAscent, SparseAscent, SubsetSearch
from aajr.geometry import Delayed, Dropped, Frozen, Quantised, Sparse
from aajr.testing import dense

GROUPS = torch.tensor([0, 0, 1, 2, -1])


def first(output, reference):
    """A nonlinear objective that is not flat at the start."""
    return output[:, 0] - output[:, 1].square()


def loss(x):
    return first(dense.tanh_net()(x), None).detach()


def run(adversary, x, data=None, seed=0):
    policy = dense.tanh_net()
    return adversary(policy, x, torch.Generator().manual_seed(seed), data)


def data_of(x):
    return {"history": torch.stack([dense.inputs(*x.shape, seed=s) for s in (8, 9)], 1)}


def enumerate_replacements(options, budget):
    """Every δ of at most k groups, by nested loops: ``[count, batch, features]``."""
    points = []
    for taken in itertools.product(range(len(options) + 1), repeat=3):
        if sum(t > 0 for t in taken) <= budget:
            delta = torch.zeros_like(options[0])
            for group, option in enumerate(taken):
                if option:
                    inside = group == GROUPS
                    delta[:, inside] = options[option - 1][:, inside]
            points.append(delta)
    return torch.stack(points)


@pytest.mark.parametrize("budget", [1, 2, 3])
@pytest.mark.parametrize("kind", [Dropped, Frozen, Delayed])
def test_enumeration_finds_the_worst_subset(kind, budget):
    x = dense.inputs(6, 5)
    data = data_of(x)
    threat = Delayed(GROUPS, 2, budget) if kind is Delayed else kind(GROUPS, budget)
    found = run(SubsetSearch(threat, first), x, data)
    past = data["history"]
    options = {
        Dropped: [-x],
        Frozen: [past[:, 1] - x],
        Delayed: [past[:, 1] - x, past[:, 0] - x],
    }[kind]
    points = enumerate_replacements(options, budget)
    best = torch.stack([loss(x + p) for p in points]).amax(0)
    torch.testing.assert_close(loss(found.worst), best)
    torch.testing.assert_close(found.losses[-1], best)
    torch.testing.assert_close(found.losses[0], loss(x))
    assert found.forward_passes == len(points)
    assert found.backward_passes == 0


@pytest.mark.parametrize("swaps", [0, 1, 2])
def test_greedy_adds_the_best_and_swaps_never_hurt(swaps):
    x = dense.inputs(16, 5)
    threat = Dropped(torch.arange(5), budget=2)
    search = SubsetSearch(threat, first, enumerate_up_to=0, swaps=swaps)
    greedy = loss(run(search, x).worst)
    exact = loss(run(SubsetSearch(threat, first), x).worst)
    singles = torch.stack([loss(x * (torch.arange(5) != i)) for i in range(5)]).amax(0)
    assert bool((greedy >= torch.maximum(singles, loss(x)) - 1e-12).all())
    assert bool((greedy <= exact + 1e-12).all())
    if swaps == 2:
        assert float((greedy >= exact - 1e-12).double().mean()) >= 0.8


def test_greedy_is_exact_where_the_loss_is_a_sum():
    weights = dense.inputs(1, 12, seed=4)
    x = dense.inputs(5, 12)
    threat = Dropped(torch.arange(12), budget=3)
    search = SubsetSearch(threat, lambda u, _: u.sum(1), enumerate_up_to=0)
    found = search(lambda x: x * weights, x, torch.Generator())
    expected = (-x * weights).clamp_min(0).topk(3, 1).values.sum(1)
    torch.testing.assert_close(found.losses[1] - found.losses[0], expected)


def test_a_swap_repairs_a_greedy_mistake():
    """{0} is the best single, {1, 2} the best pair; greedy alone ends with 0 in it."""
    table = {(): 0.0, (0,): 3.0, (1,): 2.0, (2,): 2.0, (0, 1): 3.5, (0, 2): 3.5, (1, 2): 9.0}

    def policy(x):
        keys = [tuple(i for i in range(3) if row[i] == 0) for row in x.tolist()]
        return torch.tensor([[table[k]] for k in keys])

    threat, objective = Dropped(torch.arange(3), 2), lambda u, _: u.sum(1)
    found = []
    for swaps in (0, 1):
        search = SubsetSearch(threat, objective, enumerate_up_to=0, swaps=swaps)
        found.append(float(search(policy, torch.ones(1, 3), torch.Generator()).losses[-1]))
    assert found == [3.5, 9.0]


def test_nothing_changes_where_nothing_helps():
    x = dense.inputs()
    search = SubsetSearch(Dropped(GROUPS, 2), lambda u, _: -(u - dense.tanh_net()(x)).norm(dim=1))
    assert torch.equal(run(search, x).worst, x)


@pytest.mark.parametrize("quantum", [0.4, 0.2])
def test_coordinate_ascent_ends_where_no_single_change_helps(quantum):
    x = dense.inputs(8, 5)
    threat = Quantised(Ball("linf", 0.4), quantum)
    found = run(CoordinateAscent(threat, first, sweeps=12), x)
    options = threat.options(x, {})
    delta = found.worst - x
    for feature in range(5):
        for option in (*options, torch.zeros_like(x)):
            other = delta.clone()
            other[:, feature] = option[:, feature]
            assert bool((loss(x + other) <= found.losses[-1] + 1e-9).all())


def test_coordinate_ascent_nearly_reaches_the_best_grid_point():
    x = dense.inputs(8, 5)
    found = run(CoordinateAscent(Quantised(Ball("linf", 0.4), 0.2), first, restarts=3), x)
    grid = torch.tensor(list(itertools.product([-0.4, -0.2, 0, 0.2, 0.4], repeat=5))).double()
    best = torch.stack([loss(x + point) for point in grid]).amax(0)
    reached = (found.losses[-1] - loss(x)) / (best - loss(x))
    assert bool((reached >= 0.99).all())


def test_coordinate_ascent_needs_no_gradient():
    """The policy is a staircase: its gradient is zero, its steps are not."""

    def staircase(x):
        return (x * 10).round().sum(1, keepdim=True)

    ascent = CoordinateAscent(Quantised(Ball("linf", 0.3), 0.1), lambda u, _: u.sum(1))
    found = ascent(staircase, torch.zeros(2, 4), torch.Generator())
    assert found.losses[-1].tolist() == [12.0, 12.0]


@pytest.mark.parametrize("budget", [1, 2, 4])
@pytest.mark.parametrize("count", [0, 256])
def test_sparse_ascent_on_a_linear_policy_is_the_sum_of_the_largest_reaches(budget, count):
    weights = dense.inputs(1, 6, seed=4)
    scale = torch.tensor([1.0, 0.1, 3.0, 1.0, 0.5, 2.0])
    x = dense.inputs(5, 6)
    threat = Sparse(Ball("linf", 0.2, scale=scale), budget)
    adversary = SparseAscent(threat, lambda u, _: u.sum(1), enumerate_up_to=count)
    found = adversary(lambda x: x * weights, x, torch.Generator().manual_seed(0))
    gain = ((found.worst - x) * weights).sum(1)
    best = (weights.abs() * 0.2 * scale).topk(budget, 1).values.sum()
    torch.testing.assert_close(gain, best.expand(5))


def test_sparse_ascent_with_groups_spends_its_budget_on_whole_groups():
    groups = torch.tensor([0, 0, 0, 1, 2, -1])
    weights = torch.tensor([[1.0, -1.0, 1.0, 2.5, 0.1, 9.0]]).double()
    adversary = SparseAscent(Sparse(Ball("linf", 0.1), 1, groups), lambda u, _: u.sum(1))
    x = dense.inputs(3, 6)
    found = adversary(lambda x: x * weights, x, torch.Generator().manual_seed(0))
    expected = torch.tensor([0.1, -0.1, 0.1, 0, 0, 0]).double().expand(3, -1)
    torch.testing.assert_close(found.worst - x, expected)


@pytest.mark.parametrize("count", [0, 256])
def test_sparse_ascent_is_as_strong_as_all_supports(count):
    """Every pair of features, each with a fine grid, against the search."""
    x = dense.inputs(8, 5)
    levels = torch.linspace(-0.5, 0.5, 21, dtype=torch.float64)
    points = []
    for one, two in itertools.combinations(range(5), 2):
        for a, b in itertools.product(levels, levels):
            point = torch.zeros(5, dtype=torch.float64)
            point[one], point[two] = a, b
            points.append(point)
    best = loss((x[:, None] + torch.stack(points)).flatten(0, 1)).reshape(8, -1).amax(1)
    adversary = SparseAscent(Sparse(Ball("linf", 0.5), 2), first, restarts=2, enumerate_up_to=count)
    reached = (run(adversary, x).losses[-1] - loss(x)) / (best - loss(x))
    if count:
        assert bool((reached >= 0.97).all())
    assert float(reached.mean()) >= 0.9


@pytest.mark.parametrize("count", [0, 256])
def test_sparse_ascent_never_settles_below_the_clean_loss(count):
    x = dense.inputs()
    clean = dense.tanh_net()(x).detach()
    adversary = SparseAscent(
        Sparse(Ball("linf", 0.5), 2), lambda u, _: -(u - clean).norm(dim=1), enumerate_up_to=count
    )
    assert torch.equal(run(adversary, x).worst, x)


def test_coordinate_ascent_refuses_a_budget():
    with pytest.raises(ValueError, match=r"ball\.budget=2 is not supported, .*SubsetSearch"):
        CoordinateAscent(Quantised(Ball("linf", 0.4), 0.2, budget=2))


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (lambda u, _: u, r"the objective returned \(4, 6\); it must return one loss"),
        (lambda u, _: u.sum(1) * torch.nan, "the objective returned NaN or infinite losses"),
    ],
)
def test_bad_objectives_are_refused(objective, message):
    with pytest.raises(ValueError, match=message):
        run(SubsetSearch(Dropped(GROUPS), objective), dense.inputs())
