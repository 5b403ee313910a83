"""Sparse and finite threat sets against enumeration."""

from __future__ import annotations

import itertools

import pytest
import torch

from aajr import Ball
from aajr.geometry import Delayed, Dropped, Frozen, Quantised, Sparse
from aajr.testing import dense

SCALE = torch.tensor([0.5, 2.0, 1.0, 0.1, 1.0], dtype=torch.float64)
MASK = torch.tensor([True, False, True, True, True])
BOXED = Ball("linf", 0.3, scale=SCALE, mask=MASK, low=-1.0, high=1.0)
GROUPS = torch.tensor([0, 0, -1, 3, 5])


def nearest(points, delta):
    """Nearest of ``[count, batch, features]`` to δ, per sample."""
    best = (points - delta).square().sum(-1).argmin(0)
    return points[best, torch.arange(len(delta))]


@pytest.mark.parametrize("groups", [None, GROUPS])
@pytest.mark.parametrize("budget", [1, 2, 9])
def test_sparse_projection_is_the_nearest_of_all_supports(groups, budget):
    sparse = Sparse(BOXED, budget, groups)
    x, delta = dense.inputs().clamp(-1, 1), dense.inputs(seed=3)
    names = range(5) if groups is None else [0, 3, 5]
    owner = torch.arange(5) if groups is None else groups
    points = []
    for size in range(min(budget, len(names)) + 1):
        for chosen in itertools.combinations(names, size):
            mask = MASK & torch.isin(owner, torch.tensor(chosen, dtype=torch.long))
            faces = (torch.where(mask, f, 0) for f in ((-1 - x), (1 - x)))
            low, high = faces
            reach = 0.3 * SCALE * mask
            points.append(delta.clamp(torch.maximum(low, -reach), torch.minimum(high, reach)))
    expected = nearest(torch.stack(points), delta)
    found = sparse.project(delta, x)
    torch.testing.assert_close(
        (found - delta).square().sum(-1), (expected - delta).square().sum(-1)
    )
    assert bool(sparse.contains(found, x).all())
    torch.testing.assert_close(sparse.project(found, x), found)


def test_sparse_size_is_the_gauge():
    sparse = Sparse(Ball("linf", 0.3), budget=1)
    delta = torch.tensor([[0.0, -0.6, 0.0], [0.1, 0.1, 0.0], [0.0, 0.0, 0.0]])
    assert sparse.size(delta).tolist() == pytest.approx([0.6, torch.inf, 0.0])
    assert sparse.contains(delta, torch.zeros(3, 3)).tolist() == [False, False, True]


def test_the_corners_are_the_furthest_admissible_values():
    x = torch.tensor([[0.9, 0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    low, high = Sparse(BOXED, 1).corners(x)
    torch.testing.assert_close(low[0], torch.tensor([-0.15, 0, -0.3, -0.03, -0.3]).double())
    torch.testing.assert_close(high[0], torch.tensor([0.1, 0, 0.3, 0.03, 0.3]).double())


@pytest.mark.parametrize("quantum", [0.3, 0.15, 0.1, 0.08])
@pytest.mark.parametrize("budget", [None, 2])
def test_the_grid_projection_is_the_nearest_grid_point(quantum, budget):
    grid = Quantised(BOXED, quantum, budget)
    x, delta = dense.inputs().clamp(-1, 1), 0.3 * dense.inputs(seed=3)
    count = int(0.3 / quantum + 1e-9)
    levels = torch.arange(-count, count + 1) * quantum
    points = torch.tensor(list(itertools.product(levels.tolist(), repeat=5))).double() * SCALE
    legal = ((points == 0) | MASK).all(-1)
    legal &= (points != 0).sum(-1) <= (5 if budget is None else budget)
    inside = ((points[:, None] + x).abs() <= 1 + 1e-9) & ((points == 0) | MASK)[:, None]
    points = points[:, None].expand(-1, len(x), -1)
    far = (points - delta).square().sum(-1)
    far = far.masked_fill(~(inside.all(-1) & legal[:, None]), torch.inf)
    found = grid.project(delta, x)
    torch.testing.assert_close((found - delta).square().sum(-1), far.amin(0), rtol=1e-5, atol=1e-8)
    assert bool(grid.contains(found, x).all())


def test_a_point_off_the_grid_is_not_inside():
    grid = Quantised(Ball("linf", 0.3), 0.1)
    x = torch.zeros(3, 2)
    delta = torch.tensor([[0.1, -0.3], [0.15, 0.0], [0.4, 0.0]])
    assert grid.contains(delta, x).tolist() == [True, False, False]


@pytest.mark.parametrize("epsilon", [0.0, 0.3])
def test_levels_of_radius_zero_are_zero(epsilon):
    options = Quantised(Ball("linf", epsilon), 0.1).options(torch.zeros(2, 3), {})
    assert options.shape[0] == (6 if epsilon else 1)
    assert bool((options != 0).any()) == (epsilon > 0)


def test_replacements_are_what_they_say():
    x = dense.inputs()
    history = torch.stack([dense.inputs(seed=s) for s in (5, 6, 7)], 1)
    data = {"history": history}
    lost = x + Dropped(GROUPS, 1, fill=torch.arange(5.0)).options(x, data)[0]
    torch.testing.assert_close(lost, torch.arange(5.0).double().expand(4, -1))
    torch.testing.assert_close(x + Frozen(GROUPS).options(x, data)[0], history[:, 2])
    late = x + Delayed(GROUPS, delay=3).options(x, data)
    torch.testing.assert_close(late, history.flip(1).transpose(0, 1))


@pytest.mark.parametrize("budget", [1, 2, 3])
def test_membership_of_replacements(budget):
    """Of all sets of replaced features, those are inside that are unions of at most k groups."""
    groups = torch.tensor([0, 0, 1, 1, 1, 2, -1, -1])
    x = torch.arange(1.0, 9.0).expand(256, 8)
    replaced = torch.arange(256).unsqueeze(1) >> torch.arange(8) & 1 == 1
    unions = {
        tuple(torch.isin(groups, torch.tensor(chosen, dtype=torch.long)).tolist())
        for size in range(budget + 1)
        for chosen in itertools.combinations(range(3), size)
    }
    expected = [tuple(row) in unions for row in replaced.tolist()]
    inside = Dropped(groups, budget).contains(torch.where(replaced, -x, 0), x)
    assert inside.tolist() == expected
    assert sum(expected) == len(unions)


def test_features_of_one_group_are_late_by_the_same_time():
    late = Delayed(torch.tensor([0, 0]), delay=2)
    data = {"history": torch.tensor([[[3.0, 3.0], [2.0, 2.0]]])}
    x = torch.ones(1, 2)
    for shown, inside in [((2, 2), True), ((3, 3), True), ((2, 3), False), ((2, 1), False)]:
        delta = torch.tensor([shown]) - x
        assert bool(late.contains(delta, x, data)) == inside


def test_the_projection_on_dropped_groups_keeps_the_most_similar():
    lost = Dropped(torch.tensor([0, 1, 1]), budget=1)
    x = torch.tensor([[1.0, 2.0, 3.0]])
    found = lost.project(torch.tensor([[-0.9, -2.0, -2.0]]), x)
    assert found.tolist() == [[0.0, -2.0, -3.0]]
    assert lost.project(torch.tensor([[0.1, 0.0, 0.0]]), x).tolist() == [[0.0, 0.0, 0.0]]


def test_the_size_of_a_replacement_counts_groups():
    lost = Dropped(GROUPS, budget=2)
    delta = torch.tensor([[1.0, 0, 0, 0, 0], [1, 1, 0, 0, 2], [0, 0, 0, 0, 0]])
    assert lost.size(delta).tolist() == [1, 2, 0]
    assert lost.epsilon == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sparse(Ball("l2", 0.1), 1), "ball.norm='l2' couples the features"),
        (lambda: Sparse(Ball("linf", 0.1), 0), "budget=0 is not allowed"),
        (lambda: Sparse(Ball("linf", 0.1), 1, torch.zeros(3)), "groups is torch.float32; give"),
        (lambda: Quantised(Ball("l2", 0.1), 0.1), "ball.norm='l2' couples the features"),
        (lambda: Quantised(Ball("linf", 0.1), 0.2), "quantum=0.2 exceeds epsilon=0.1"),
        (lambda: Quantised(Ball("linf", 0.1), 0.0), "quantum=0.0 is not allowed"),
        (lambda: Quantised(Ball("linf", 0.1), 0.1, 0), "budget=0 is not allowed"),
        (lambda: Dropped(torch.tensor([-1, -1])), "groups holds no group"),
        (lambda: Dropped([0]), "groups is list; give a torch.long tensor"),
        (lambda: Dropped(GROUPS, fill=torch.tensor(torch.nan)), "fill holds 1 NaN"),
        (lambda: Frozen(GROUPS, budget=0), "budget=0 is not allowed"),
        (lambda: Delayed(GROUPS, delay=0), "delay=0 is not allowed"),
    ],
)
def test_bad_sets_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, r"data\['history'\] is missing; pass the clean"),
        ({"history": torch.zeros(2, 1, 5)}, r"has shape \(2, 1, 5\); give at least \(2, 2, 5\)"),
        ({"history": torch.zeros(2, 2, 4)}, r"has shape \(2, 2, 4\); give at least \(2, 2, 5\)"),
        ({"history": torch.full((2, 2, 5), torch.nan)}, "holds 20 NaN"),
    ],
)
def test_bad_histories_are_refused(data, message):
    with pytest.raises(ValueError, match=message):
        Delayed(GROUPS, delay=2).options(torch.zeros(2, 5), data)


def test_the_budget_counts_the_pixels_of_an_image():
    sparse = Sparse(Ball("linf", 0.5, event_dims=3), budget=2)
    x = torch.zeros(2, 3, 4, 4)
    sparse.check(x)
    delta = sparse.project(torch.arange(96.0).reshape(x.shape), x)
    assert torch.equal((delta != 0).flatten(1).sum(1), torch.tensor([2, 2]))
    assert bool((delta[:, -1, -1, -2:] == 0.5).all())


def test_every_agent_has_a_sparse_budget_of_its_own_or_the_team_has_one():
    """As many rows as there are agents, or one row that holds them all."""
    delta = dense.inputs(4, 3, 6)
    x = torch.zeros_like(delta)
    groups = torch.tensor([0, 0, 1, 1, 2, -1])
    alone = Sparse(Ball("linf", 0.5), 1, groups)
    flat = alone.project(delta.flatten(0, 1), x.flatten(0, 1))
    found = alone.project(delta, x)
    assert torch.equal(found.flatten(0, 1), flat)
    assert torch.equal(alone.size(found).flatten(), alone.size(flat))
    assert bool(alone.contains(found, x).all())
    team = Sparse(
        Ball("linf", 0.5, event_dims=2), 1, torch.arange(9).repeat_interleave(2).reshape(3, 6)
    )
    assert bool(((team.project(delta, x) != 0).any(-1).sum(1) == 1).all())


def test_a_sample_is_one_event():
    with pytest.raises(ValueError, match=r"x has shape \(2, 3, 5\) but event_dims=1.*event_dims=2"):
        Dropped(GROUPS).check(torch.zeros(2, 3, 5))
    with pytest.raises(ValueError, match=r"groups has shape \(5,\) but one sample of x has \(4,\)"):
        Dropped(GROUPS).check(torch.zeros(2, 4))
    with pytest.raises(ValueError, match="groups and mask leave no attackable feature"):
        Sparse(Ball("linf", 0.1, mask=GROUPS < 0), 1, GROUPS).check(torch.zeros(2, 5))
