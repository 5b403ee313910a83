"""Sampling, steepest directions, diameter and bad input of balls."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from aajr import Ball

SCALE = torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64)
MASK = torch.tensor([True, True, False])


def centre(rows: int = 4000) -> torch.Tensor:
    return torch.zeros(rows, 3, dtype=torch.float64)


@pytest.mark.parametrize(("mask", "dimensions"), [(None, 3), (MASK, 2)])
def test_l2_samples_are_uniform(mask, dimensions, generator):
    ball = Ball("l2", 0.3, scale=SCALE, mask=mask)
    delta = ball.sample(centre(), generator)
    radius = ball.size(delta) / 0.3
    assert kstest((radius**dimensions).numpy(), "uniform").pvalue > 0.01
    unit = (delta / SCALE) / (delta / SCALE).norm(dim=1, keepdim=True)
    unit = unit[:, :dimensions]
    covariance = unit.T @ unit / len(unit)
    expected = torch.eye(dimensions, dtype=torch.float64) / dimensions
    torch.testing.assert_close(covariance, expected, rtol=0, atol=0.03)
    torch.testing.assert_close(unit.mean(0), torch.zeros_like(unit[0]), rtol=0, atol=0.03)


def test_linf_samples_are_uniform_in_the_cut_box(generator):
    ball = Ball("linf", 0.3, scale=SCALE, mask=MASK, low=-0.1)
    delta = ball.sample(centre(), generator)
    assert kstest(delta[:, 0].numpy(), "uniform", (-0.1, 0.25)).pvalue > 0.01
    assert kstest(delta[:, 1].numpy(), "uniform", (-0.1, 0.7)).pvalue > 0.01
    assert bool((delta[:, 2] == 0).all())


def test_every_agent_has_its_own_l2_sample_or_the_team_one(generator):
    x = torch.zeros(2000, 2, 2, dtype=torch.float64)
    own = Ball("l2", 1.0).sample(x, generator)
    radius = own.norm(dim=-1).flatten()
    assert kstest((radius**2).numpy(), "uniform").pvalue > 0.01
    joint = Ball("l2", 1.0, event_dims=2).sample(x, generator)
    radius = joint.flatten(1).norm(dim=-1)
    assert kstest((radius**4).numpy(), "uniform").pvalue > 0.01


def test_samples_of_a_coalition_leave_the_others_alone(generator):
    coalition = torch.tensor([[True, False], [False, False], [False, True]])
    delta = Ball("l2", 1.0, coalition=coalition).sample(torch.zeros(3, 2, 4), generator)
    assert torch.equal(delta.abs().sum(-1) > 0, coalition)


@given(st.integers(0, 10**6), st.sampled_from(["l2", "linf"]), st.booleans(), st.integers(1, 2))
def test_steepest_attains_the_support_function(seed, norm, scaled, event_dims):
    generator = torch.Generator().manual_seed(seed)
    g = torch.randn(2, 3, 3, generator=generator, dtype=torch.float64)
    ball = Ball(norm, 0.1, scale=SCALE if scaled else None, event_dims=event_dims)
    d = ball.steepest(g)
    dims = tuple(range(-event_dims, 0))
    dual = torch.linalg.vector_norm(
        (SCALE if scaled else 1.0) * g, ord=2 if norm == "l2" else 1, dim=dims
    )
    torch.testing.assert_close((g * d).sum(dims), dual)
    assert bool((ball.size(d) <= 1 + 1e-12).all())


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_steepest_of_zero_is_zero_and_does_not_depend_on_length(norm):
    g = torch.tensor([[3.0, -4.0, 0.0]])
    ball = Ball(norm, 0.1)
    assert torch.equal(ball.steepest(torch.zeros(1, 3)), torch.zeros(1, 3))
    for size in (1e-30, 1e30):
        torch.testing.assert_close(ball.steepest(g * size), ball.steepest(g))


@pytest.mark.parametrize("mask", [None, MASK])
def test_diameter_is_the_greatest_distance(mask, generator):
    x = centre(1)
    box = Ball("linf", 0.3, scale=SCALE, mask=mask)
    signs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=3)), dtype=torch.float64)
    corners = box.project(signs * 100, x.expand(8, -1))
    brute = (corners.unsqueeze(0) - corners.unsqueeze(1)).norm(dim=-1).max()
    torch.testing.assert_close(box.diameter(x), brute.reshape(1))
    ellipsoid = Ball("l2", 0.3, scale=SCALE, mask=mask)
    axes = torch.cat([torch.eye(3), -torch.eye(3)]).double() * 100
    ends = ellipsoid.project(axes, x.expand(6, -1))
    brute = (ends.unsqueeze(0) - ends.unsqueeze(1)).norm(dim=-1).max()
    torch.testing.assert_close(ellipsoid.diameter(x), brute.reshape(1))
    inner = ellipsoid.sample(centre(500), generator)
    assert float((inner.unsqueeze(0) - inner.unsqueeze(1)).norm(dim=-1).max()) <= float(brute)


@pytest.mark.parametrize("event_dims", [1, 2, 3, 4])
def test_the_budget_is_that_of_the_dimensions_named(event_dims, generator):
    x = torch.zeros(1, 2, 3, 4, 4, dtype=torch.float64)
    ball = Ball("l2", 0.5, event_dims=event_dims)
    budgets = x.numel() / math.prod(x.shape[-event_dims:])
    far = torch.randn(x.shape, generator=generator, dtype=x.dtype) * 10
    for delta in (ball.project(far, x), 0.5 * ball.steepest(far)):
        assert ball.size(delta).shape == x.shape[:-event_dims]
        torch.testing.assert_close(float(delta.norm()), 0.5 * budgets**0.5)
    assert bool((ball.size(ball.sample(x, generator)) <= 0.5).all())
    assert ball.diameter(x).shape == x.shape[:-event_dims]
    assert bool((ball.diameter(x) == 1).all())


def test_an_image_needs_the_number_of_its_dimensions(generator):
    x, ball = torch.zeros(1, 3, 8, 8), Ball("l2", 0.5)
    message = r"\(1, 3, 8, 8\) but event_dims=None .* give event_dims=3 for one budget"
    for call in (
        lambda: ball.check(x),
        lambda: ball.project(x, x),
        lambda: ball.sample(x, generator),
        lambda: ball.diameter(x),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert Ball("l2", 0.5).budget_dims == 1


def test_diameter_per_budget():
    x = torch.zeros(2, 3, 4)
    assert Ball("linf", 0.5).diameter(x).shape == (2, 3)
    torch.testing.assert_close(
        Ball("linf", 0.5, event_dims=2).diameter(x), torch.full((2,), 12**0.5)
    )


def test_sampling_reads_only_its_generator():
    x = torch.zeros(5, 3)
    for norm in ("l2", "linf"):
        torch.manual_seed(1)
        first = Ball(norm, 0.1).sample(x, torch.Generator().manual_seed(0))
        torch.manual_seed(2)
        assert torch.equal(first, Ball(norm, 0.1).sample(x, torch.Generator().manual_seed(0)))


def test_with_epsilon_keeps_the_rest():
    ball = Ball("l2", 0.1, mask=MASK, low=0.0).with_epsilon(0.2)
    assert ball.epsilon == 0.2
    assert ball.mask is MASK
    assert ball.low == 0.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"norm": "l1"}, "norm='l1' is unknown; choose one of 'l2', 'linf'"),
        ({"epsilon": -0.1}, r"epsilon=-0\.1 is not allowed; give a finite number >= 0"),
        ({"epsilon": float("nan")}, "epsilon=nan is not allowed"),
        ({"epsilon": "0.1"}, r"epsilon='0\.1' is not allowed"),
        ({"event_dims": 0}, "event_dims=0 is not allowed; give a whole number >= 1"),
        ({"event_dims": 1.5}, r"event_dims=1\.5 is not allowed; give a whole number"),
        ({"scale": torch.tensor([0.0, 1.0])}, "scale holds 0; give positive finite values"),
        ({"scale": 2.0}, "scale is a float; give a torch.Tensor"),
        ({"mask": [True, False]}, "mask is a list; give a torch.Tensor"),
        ({"mask": torch.ones(2)}, "mask has dtype torch.float32; give a boolean torch.Tensor"),
        ({"coalition": torch.ones(2)}, "coalition has dtype torch.float32; give a boolean"),
        ({"low": 1.0, "high": 0.0}, r"low=1\.0 exceeds high=0\.0 somewhere; swap them"),
        ({"low": float("nan")}, "low or high holds NaN; give numbers"),
        ({"low": torch.zeros(2), "high": torch.ones(3)}, "do not broadcast; give both the shape"),
    ],
)
def test_bad_balls_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Ball(**{"norm": "linf", "epsilon": 0.1, **arguments})


@pytest.mark.parametrize(
    ("ball", "x", "message"),
    [
        (
            Ball("l2", 0.1, scale=torch.ones(4)),
            torch.zeros(2, 3),
            r"scale of shape \(4,\) does not",
        ),
        (
            Ball("l2", 0.1, low=torch.ones(4)),
            torch.zeros(2, 3),
            r"low of shape \(4,\) does not fit",
        ),
        (Ball("l2", 0.1, coalition=MASK), torch.zeros(2, 2, 3), r"coalition of shape \(3, 1\)"),
        (Ball("l2", 0.1, mask=MASK & ~MASK), torch.zeros(2, 3), "allow at least one"),
        (Ball("l2", 0.1, event_dims=2), torch.zeros(2, 3), r"event_dims=2; .* of at most 1"),
        (Ball("l2", 0.1), torch.zeros(1, 3, 4, 4), r"give event_dims=3 for one budget per sample"),
        (Ball("l2", 0.1), torch.zeros(0, 3), r"x has shape \(0, 3\).*at least one row"),
        (Ball("l2", 0.1), torch.zeros(3), r"x has shape \(3,\); give \[batch"),
        (Ball("l2", 0.1), torch.zeros(2, 3).long(), r"x has dtype torch.int64; convert it with"),
        (Ball("l2", 0.1), torch.full((2, 3), torch.nan), "x holds 6 NaN or infinite values"),
        (Ball("l2", 0.1), [[0.0]], "x is a list; give a torch.Tensor"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(ball, x, message):
    with pytest.raises(ValueError, match=message):
        ball.check(x)


def test_projection_refuses_bad_displacements():
    ball = Ball("l2", 0.1)
    with pytest.raises(ValueError, match=r"delta has shape \(2, 4\) but x has \(2, 3\)"):
        ball.project(torch.zeros(2, 4), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="delta holds 1 NaN or infinite values"):
        ball.project(torch.tensor([[torch.nan, 0.0]]), torch.zeros(1, 2))
