"""Projection against its argmin, over shapes, norms, scales, masks, boxes and budgets."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from aajr import Ball
from aajr.geometry._projection import project_ellipsoid_in_box, project_sphere_in_box

flag = st.booleans()


def _event_dims(event: tuple[int, ...]) -> list[int | None]:
    """What may be given for a sample of that shape."""
    given = list(range(1, len(event) + 1))
    return given if len(event) > 2 else [None, *given]


@st.composite
def cases(draw) -> tuple[Ball, Tensor, Tensor]:
    """A ball, clean inputs and a displacement to project."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    batch, agents, features = (draw(st.integers(1, 3)) for _ in range(3))
    event = (draw(st.integers(1, 2)), agents, features)[draw(st.integers(0, 2)) :]
    teams = len(event) == 2

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def coin(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator) < 0.7

    x = normal(batch, *event)
    box = draw(flag)
    ball = Ball(
        draw(st.sampled_from(["l2", "linf"])),
        draw(st.floats(0.05, 3.0)),
        scale=(normal(features) * 0.7).exp() if draw(flag) else None,
        mask=coin(features) if draw(flag) else None,
        coalition=coin(batch, agents) if teams and draw(flag) else None,
        low=x.amin(0) - normal(*event).abs() if box else None,
        high=x.amax(0) + normal(*event).abs() if box else None,
        event_dims=draw(st.sampled_from(_event_dims(event))),
    )
    return ball, x, normal(batch, *event) * draw(st.sampled_from([0.1, 1.0, 10.0]))


def argmin(ball: Ball, x: Tensor, delta: Tensor) -> Tensor:
    """The nearest point of the set by a general solver, one budget at a time."""
    allowed = ball.attackable(x) > 0
    scale = torch.ones_like(x) if ball.scale is None else ball.scale.expand_as(x)
    low = (torch.full_like(x, -math.inf) if ball.low is None else ball.low - x).clamp(-50, 0)
    high = (torch.full_like(x, math.inf) if ball.high is None else ball.high - x).clamp(0, 50)
    size = math.prod(x.shape[-ball.budget_dims :])
    rows = zip(
        *(t.reshape(-1, size).numpy() for t in (delta, allowed, scale, low, high)), strict=True
    )
    solved = [_solve(ball, *row) for row in rows]
    return torch.tensor(np.stack(solved)).reshape(x.shape)


def _solve(ball: Ball, y, allowed, scale, low, high):
    if ball.norm == "linf":
        low, high = np.maximum(low, -ball.epsilon * scale), np.minimum(high, ball.epsilon * scale)
    bounds = [(a, b) if free else (0, 0) for a, b, free in zip(low, high, allowed, strict=True)]
    inside = {
        "type": "ineq",
        "fun": lambda z: ball.epsilon**2 - ((z / scale) ** 2).sum(),
        "jac": lambda z: -2 * z / scale**2,
    }
    result = minimize(
        lambda z: ((z - y) ** 2).sum() / 2,
        np.zeros_like(y),
        jac=lambda z: z - y,
        bounds=bounds,
        constraints=[inside] if ball.norm == "l2" else [],
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    return result.x


@given(cases())
def test_projection_is_the_nearest_point(case):
    ball, x, delta = case
    z, nearest = ball.project(delta, x), argmin(ball, x, delta)
    torch.testing.assert_close(z, nearest, rtol=1e-4, atol=1e-4)
    # SLSQP stops within 1e-7 of the set, so only a clearly smaller distance would refute ours
    assert float((z - delta).norm()) <= float((nearest - delta).norm()) + 1e-6


@given(cases())
def test_projection_is_inside_and_idempotent(case):
    ball, x, delta = case
    z = ball.project(delta, x)
    assert bool((ball.size(z) <= ball.epsilon * (1 + 1e-12)).all())
    assert bool((z[ball.attackable(x) == 0] == 0).all())
    if ball.low is not None and ball.high is not None:
        assert bool(((x + z >= ball.low - 1e-12) & (x + z <= ball.high + 1e-12)).all())
    torch.testing.assert_close(ball.project(z, x), z, rtol=1e-12, atol=1e-12)


@given(cases(), st.integers(0, 10**6))
def test_projection_does_not_expand(case, seed):
    ball, x, delta = case
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)
    other = delta + noise
    dims = tuple(range(-ball.budget_dims, 0))
    before = torch.linalg.vector_norm(delta - other, dim=dims)
    after = torch.linalg.vector_norm(ball.project(delta, x) - ball.project(other, x), dim=dims)
    assert bool((after <= before + 1e-10).all())


@given(cases(), st.integers(0, 10**6))
def test_projection_makes_an_obtuse_angle_with_the_set(case, seed):
    ball, x, delta = case
    z = ball.project(delta, x)
    generator = torch.Generator().manual_seed(seed)
    dims = tuple(range(-ball.budget_dims, 0))
    for _ in range(5):
        w = ball.sample(x, generator)
        assert bool((((delta - z) * (w - z)).sum(dims) <= 1e-9).all())


@given(cases())
def test_rows_are_projected_alone(case):
    ball, x, delta = case
    z = ball.project(delta, x)
    for row in range(x.shape[0]):
        coalition = None if ball.coalition is None else ball.coalition[row : row + 1]
        alone = dataclasses.replace(ball, coalition=coalition)
        part = slice(row, row + 1)
        torch.testing.assert_close(alone.project(delta[part], x[part]), z[part], rtol=0, atol=1e-14)


@given(cases())
def test_the_scaled_projection_is_the_nearest_point_in_units_of_the_scale(case):
    ball, x, delta = case
    scale = torch.ones_like(x) if ball.scale is None else ball.scale.expand_as(x)
    z = ball.project_scaled(delta, x)
    assert bool((ball.size(z) <= ball.epsilon * (1 + 1e-12)).all())
    sphere = dataclasses.replace(
        ball,
        scale=None,
        low=None if ball.low is None else (ball.low - x) / scale,
        high=None if ball.high is None else (ball.high - x) / scale,
    )
    nearest = argmin(sphere, torch.zeros_like(x), delta / scale) * scale
    torch.testing.assert_close(z, nearest, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_l2_projection_survives_extreme_lengths_in_float32(size):
    delta = torch.tensor([[3.0, 4.0]]) * size
    z = Ball("l2", 5.0).project(delta, torch.zeros(1, 2))
    torch.testing.assert_close(z, delta if size < 1 else torch.tensor([[3.0, 4.0]]))


def test_a_clean_input_outside_the_box_stays_admissible_and_may_only_return():
    ball, x = Ball("linf", 0.5, low=0.0, high=1.0), torch.tensor([[1.2, -0.3]])
    outward, inward = torch.tensor([[0.4, -0.4]]), torch.tensor([[-0.4, 0.4]])
    torch.testing.assert_close(ball.project(outward, x), torch.zeros(1, 2))
    torch.testing.assert_close(ball.project(inward, x), inward)


def test_zero_radius_allows_nothing():
    for norm in ("l2", "linf"):
        z = Ball(norm, 0.0).project(torch.ones(2, 3), torch.zeros(2, 3))
        assert bool((z == 0).all())


def test_a_box_given_as_float64_keeps_the_dtype_of_x():
    low = torch.zeros(3, dtype=torch.float64)
    z = Ball("linf", 0.1, low=low).project(torch.ones(2, 3), torch.zeros(2, 3))
    assert z.dtype == torch.float32


@given(st.integers(0, 10**6), st.booleans(), st.sampled_from([0.1, 10.0, 1000.0]))
def test_float32_agrees_with_float64_over_extreme_scales(seed, boxed, size):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(8, 20, generator=generator)
    scale = (3 * torch.randn(20, generator=generator)).exp()
    delta = size * scale * torch.randn(8, 20, generator=generator)
    ball = Ball("l2", 0.3, scale=scale, low=-3.0 if boxed else None)
    for name in ("project", "project_scaled"):
        single = getattr(ball, name)(delta, x)
        double = getattr(ball, name)(delta.double(), x.double())
        assert bool((ball.size(single) <= 0.3 * (1 + 1e-5)).all())
        gap = ((single - double) / scale).norm(dim=1)
        rounded = torch.finfo(torch.float32).eps * (x / scale).norm(dim=1)  # of x + δ
        assert bool((gap < 1e-3 * 0.3 + rounded).all())


def bisected(y: Tensor, epsilon: float, scale: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The multiplier of ‖z/s‖ ≤ ε by halving its bracket."""

    def candidate(multiplier: Tensor) -> Tensor:
        return (y * (scale**2 / (scale**2 + multiplier))).clamp(low, high)

    def inside(z: Tensor) -> Tensor:
        return (z / scale).norm(dim=-1, keepdim=True) <= epsilon

    lower, upper = torch.zeros(len(y), 1).double(), (y * scale).norm(dim=-1, keepdim=True) / epsilon
    for _ in range(200):
        middle = (lower + upper) / 2
        feasible = inside(candidate(middle))
        upper, lower = torch.where(feasible, middle, upper), torch.where(feasible, lower, middle)
    free = candidate(torch.zeros_like(upper))
    return torch.where(inside(free), free, candidate(upper))


@given(
    st.integers(0, 10**6),
    st.sampled_from([0.0, 1.0, 3.0]),
    st.sampled_from([1e-3, 1.0, 1e3]),
    st.sampled_from([1e-2, 0.3, 10.0]),
)
def test_projection_on_a_cut_ellipsoid_agrees_with_bisection(seed, spread, size, tightness):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    scale = (spread * normal(30)).exp().expand(16, 30)
    y = size * scale * normal(16, 30)
    low, high = (
        -tightness * scale * normal(16, 30).abs(),
        tightness * scale * normal(16, 30).abs(),
    )
    low, high = low * (normal(16, 30) < 1), high * (normal(16, 30) < 1)  # some are at the face
    expected = bisected(y, 0.5, scale, low, high)
    found = project_ellipsoid_in_box(y, torch.full_like(y[:, :1], 0.5), scale, low, high)
    assert float(((found - expected) / scale).norm(dim=1).max()) < 1e-11
    if spread == 0:
        found = project_sphere_in_box(y, torch.full_like(y[:, :1], 0.5), low, high)
        assert float((found - expected).norm(dim=1).max()) < 1e-11
        single = project_sphere_in_box(
            y.float(), torch.full((len(y), 1), 0.5), low.float(), high.float()
        )
        assert float((single - expected).norm(dim=1).max()) < 1e-5


def test_the_projection_on_a_cut_sphere_takes_few_steps(monkeypatch):
    """Images in [0, 1], most pixels of which can move one way only."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(64, 3072, generator=generator).mul(1.5).sub(0.25).clamp(0, 1)
    y = torch.randn(64, 3072, generator=generator)
    monkeypatch.setattr("aajr.geometry._projection._ITERATIONS", 6)
    z = project_sphere_in_box(y, torch.full_like(y[:, :1], 2.0), -x, 1 - x)
    torch.testing.assert_close(z.norm(dim=1), torch.full((64,), 2.0))
