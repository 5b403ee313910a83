"""Within the certified radius no action changes; just beyond a tight one, it does."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from aajr import Ball
from aajr.arena.spaces.heads import greedy_heads
from aajr.certification import certified_radius
from aajr.certification._radius import bisect, margin_forms
from tests.unit.certification.networks import ACTIVATIONS, dense_points, linear, network

HEADS = (3, 2, 2)


def states(rows: int = 12, features: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rows, features, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_linear_policies_have_their_closed_form(norm):
    weight, x, largest = states(4), states(), 0.3
    logits = x @ weight.T
    top = logits.argmax(1)
    gaps = weight[top].unsqueeze(1) - weight
    order = 1 if norm == "linf" else 2
    slope = torch.linalg.vector_norm(gaps, ord=order, dim=2)
    distance = (logits.gather(1, top.unsqueeze(1)) - logits) / slope
    exact = distance.masked_fill(slope == 0, torch.inf).amin(1)
    radius = certified_radius(linear(weight), x, Ball(norm, largest), steps=20)
    torch.testing.assert_close(radius, exact.clamp_max(largest), rtol=0, atol=2e-6)
    assert (radius <= exact).all()
    assert 0 < (exact < largest).sum() < len(x)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_no_action_changes_within_the_radius(activation, norm):
    policy, x = network(activation, seed=1, gain=2.0, sizes=(3, 8, 8, 7)), states()
    radius = certified_radius(policy, x, Ball(norm, 0.5), HEADS)
    assert (radius > 0).sum() > 6
    double = copy.deepcopy(policy).double()
    clean = greedy_heads(double(x), HEADS)
    for row, epsilon, action in zip(x, radius.tolist(), clean, strict=True):
        points = dense_points(Ball(norm, epsilon), row.unsqueeze(0), 2000)[:, 0]
        assert (greedy_heads(double(points), HEADS) == action).all()


def test_every_head_counts():
    weight = torch.eye(4, dtype=torch.float64)
    x = torch.tensor([[1.0, 0.0, 0.2, 0.0]], dtype=torch.float64)
    ball = Ball("linf", 1.0)
    together = certified_radius(linear(weight), x, ball, (2, 2), steps=20)
    assert together.item() == pytest.approx(0.1, abs=1e-5)
    one = certified_radius(linear(weight), x, ball, steps=20)
    assert one.item() == pytest.approx(0.4, abs=1e-5)


def test_ties_are_not_certified():
    policy, x = linear(torch.ones(2, 2)), torch.zeros(1, 2)
    assert certified_radius(policy, x, Ball("linf", 1.0)).item() == 0.0


def test_margins_are_those_of_the_top_action():
    output = torch.tensor([[0.0, 3.0, 1.0, 5.0, 7.0]])
    margins = (margin_forms(output, (3, 2)) @ output.unsqueeze(-1)).squeeze(-1)
    assert margins.tolist() == [[3.0, 2.0, 2.0]]


def test_ibp_certifies_less():
    policy, x = network("tanh", seed=1, gain=2.0, sizes=(3, 8, 8, 7)), states()
    crown = certified_radius(policy, x, Ball("linf", 0.5), HEADS)
    ibp = certified_radius(policy, x, Ball("linf", 0.5), HEADS, method="ibp")
    assert (ibp <= crown).all()
    assert ibp.mean() < crown.mean()


def test_bisection_needs_no_monotony():
    tested = []

    def odd(radius: Tensor) -> Tensor:
        tested.append(radius.item())
        return ((radius < 0.2) | ((radius > 0.45) & (radius < 0.6))).reshape(1)

    result = bisect(odd, torch.zeros(1), torch.ones(1), 8)[0].item()
    passed = [value for value in tested if value < 0.2 or 0.45 < value < 0.6]
    assert result == max(passed)
    never = bisect(lambda r: r > 2, torch.zeros(1), torch.ones(1), 8)
    assert [value.item() for value in never] == [0.0, 2**-8]


def test_bad_heads_say_what_to_do():
    policy, x = network("tanh", seed=0), states()
    with pytest.raises(ValueError, match=r"heads=\(3, 2\) need logits"):
        certified_radius(policy, x, Ball("linf", 0.1), (3, 2))
    with pytest.raises(ValueError, match="heads=1"):
        certified_radius(policy, x, Ball("linf", 0.1), (3, 1))
    with pytest.raises(ValueError, match="steps=0"):
        certified_radius(policy, x, Ball("linf", 0.1), steps=0)
