"""Vertex search against brute force, and against longer searches inside the ball."""

import itertools

import pytest
import torch

from aajr import AutoPGD, Ball, RandomSearch, VertexSearch
from aajr.testing import dense

EPSILON = 0.3


def rough(output, reference):
    return torch.sin(3 * output).sum(1)


@pytest.mark.parametrize("rows", [1, 5])
def test_it_finds_the_worst_corner_of_a_scaled_masked_and_cut_box(rows):
    x, policy = dense.inputs(rows, 5), dense.tanh_net()
    scale = torch.tensor([1.0, 2.0, 0.5, 1.0, 3.0], dtype=x.dtype)
    mask = torch.tensor([True, True, False, True, True])
    high = x[0] + 0.1
    ball = Ball("linf", EPSILON, scale=scale, mask=mask, low=-10 * torch.ones_like(high), high=high)
    trajectory = VertexSearch(ball, rough)(policy, x, torch.Generator())
    best = rough(policy(x), None)
    for signs in itertools.product((-1.0, 1.0), repeat=5):
        reach = EPSILON * scale * torch.tensor(signs, dtype=x.dtype)
        top = (high - x).clamp_min(0)
        corner = torch.minimum(reach, top) * mask
        best = torch.maximum(best, rough(policy(x + corner), None))
    torch.testing.assert_close(trajectory.losses[-1], best)
    torch.testing.assert_close(rough(policy(trajectory.worst), None), best)
    assert trajectory.forward_passes == 1 + 2**4
    assert trajectory.backward_passes == 0


def test_no_search_inside_finds_more_of_a_monotone_objective():
    x = dense.inputs(8, 4)
    weight = torch.tensor([[1.0, -2.0, 0.5, 3.0]], dtype=x.dtype).T
    ball, objective = Ball("linf", EPSILON), lambda output, reference: output.sum(1)

    def policy(x):
        return torch.tanh(x @ weight)

    found = VertexSearch(ball, objective)(policy, x, torch.Generator()).losses[-1]
    for other in (AutoPGD(ball, objective, steps=50), RandomSearch(ball, objective, queries=500)):
        other = other(policy, x, torch.Generator().manual_seed(0)).losses.amax(0)
        assert bool((other <= found + 1e-12).all())


def test_it_stays_where_every_corner_is_better_for_the_policy():
    x = torch.zeros(2, 3, dtype=torch.float64)
    objective = lambda output, reference: -output.square().sum(1)  # noqa: E731
    trajectory = VertexSearch(Ball("linf", EPSILON), objective)(
        lambda x: x * 1.0, x, torch.Generator()
    )
    assert torch.equal(trajectory.worst, x)


def test_balls_without_corners_and_too_many_corners_are_refused():
    with pytest.raises(ValueError, match="has no corners; use an linf ball"):
        VertexSearch(Ball("l2", EPSILON))
    x = torch.zeros(1, 13)
    with pytest.raises(ValueError, match=r"13 attackable features, thus 2\^13 corners"):
        VertexSearch(Ball("linf", EPSILON))(torch.tanh, x, torch.Generator())
