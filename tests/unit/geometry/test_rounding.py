"""The promise ‖(x + δ) - x‖ ≤ ε where x + δ is rounded, and the warning where little can move."""

from __future__ import annotations

import warnings
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from aajr import Ball, ProjectedGradientAscent, ResolutionWarning
from aajr.geometry._rounding import (
    float_rounded_down,
    gap_to_face,
    loss_of_rounding,
    moved_inward,
    reach,
    rounded_down,
)

DTYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float64]
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def draws(seed: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Numbers of very different sizes, some of them zero, and sizes that they may move by."""
    generator = torch.Generator().manual_seed(seed)
    powers = torch.randn(2, 200, generator=generator, dtype=torch.float64) * 2.5
    x = torch.randn(200, generator=generator, dtype=torch.float64) * 10 ** powers[0]
    x[::10] = 0
    radius = 10 ** (powers[1] - 1)
    return x.clamp(-1e4, 1e4).to(dtype), radius.clamp(1e-4, 1e4).to(dtype)


def exactly(values: Tensor) -> list[Fraction]:
    return [Fraction(value) for value in values.double().tolist()]


def moves(x: Tensor, delta: Tensor) -> list[Fraction]:
    """|fl(x + δ) - x|, exact."""
    return [abs(a - b) for a, b in zip(exactly(x + delta), exactly(x), strict=True)]


@every_dtype
@given(seed=st.integers(0, 10**6))
def test_what_is_within_reach_moves_by_no_more_than_the_radius(dtype, seed):
    x, radius = draws(seed, dtype)
    furthest = reach(x, radius)
    for delta in (furthest, -furthest, 0.7 * furthest):
        pairs = zip(moves(x, delta), exactly(radius), strict=True)
        assert all(moved <= allowed for moved, allowed in pairs)
    lost = (radius - furthest).double() / torch.finfo(dtype).eps
    assert bool((lost <= 0.6 * x.abs().double() + 2.1 * radius.double()).all())
    assert torch.equal(furthest[x == 0], radius[x == 0])


@every_dtype
@given(seed=st.integers(0, 10**6))
def test_there_is_room_up_to_the_face(dtype, seed):
    x, gap = draws(seed, dtype)
    face = torch.maximum(x + gap, x)
    furthest = gap_to_face(x, face)
    assert bool((x + furthest <= face).all())
    assert bool((x + 0.9 * furthest <= face).all())
    left = face.double() - x.double() - furthest.double()
    assert bool((left <= 4 * torch.finfo(dtype).eps * (face - x).double()).all())


@every_dtype
@given(seed=st.integers(0, 10**6))
def test_inward_rounding_moves_by_no_more_than_was_asked(dtype, seed):
    x, radius = draws(seed, dtype)
    asked = radius.to(torch.promote_types(dtype, torch.float32)) * 1.01
    for delta in (asked, -asked):
        pairs = zip(moves(x, moved_inward(delta, loss_of_rounding(x))), exactly(asked), strict=True)
        assert all(moved <= allowed for moved, allowed in pairs)


@every_dtype
def test_numbers_are_rounded_down(dtype):
    values = torch.tensor([0.1, 0.25, -0.1, 1e-3, 255.7, -7e-6], dtype=torch.float64)
    below = rounded_down(values, dtype)
    assert bool((below.double() <= values).all())
    above = torch.nextafter(below, torch.full_like(below, torch.inf))
    assert bool(((above.double() > values) | (below.double() == values)).all())
    assert float_rounded_down(0.1, dtype) == float(below[0])
    assert float_rounded_down(torch.inf, dtype) == torch.inf


@pytest.mark.parametrize(
    ("dtype", "at", "epsilon", "moved"),
    [
        (torch.bfloat16, 0.26, 1e-3, 0.0),
        (torch.float32, 1e6, 0.1, 0.0625),
        (torch.float32, 1e6, 1e-4, 0.0),
    ],
)
def test_a_radius_of_few_ulps_is_kept_and_warned_of(dtype, at, epsilon, moved):
    x, ball = torch.full((1, 1), at, dtype=dtype), Ball("linf", epsilon)
    attack = ProjectedGradientAscent(ball, lambda u, reference: u.sum(1), random_start=False)
    with pytest.warns(ResolutionWarning, match=rf"epsilon={epsilon} is within a few units .* 100%"):
        found = attack(lambda z: z * 3, x, torch.Generator())
    assert float((found.worst.double() - x.double()).abs()) == moved


def test_the_warning_speaks_of_what_may_move():
    x = torch.tensor([[1e6, 0.5]])
    with pytest.warns(ResolutionWarning, match="50%"):
        Ball("linf", 0.1).check(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Ball("linf", 0.1, mask=torch.tensor([False, True])).check(x)
        Ball("linf", 0.1, scale=torch.tensor([1e6, 1.0])).check(x)
        Ball("linf", 0.0).check(x)
        Ball("l2", 0.5, event_dims=3).check(torch.ones(1, 3, 32, 32))
    with pytest.warns(ResolutionWarning):
        Ball("l2", 0.5, event_dims=3).check(torch.ones(1, 3, 32, 32, dtype=torch.bfloat16))


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("box", [None, 2000.0])
def test_scales_whose_squares_overflow_in_half_precision(norm, box):
    scale = torch.tensor([300.0, 1000.0, 2.0])
    x = torch.tensor([[100.0, 500.0, 1.0]], dtype=torch.float16)
    ball = Ball(norm, 0.5, scale=scale, high=box)
    w = torch.tensor([1.0, 0.2, 30.0], dtype=torch.float16) / 300
    found = {}
    for dtype in (torch.float16, torch.float64):
        attack = ProjectedGradientAscent(ball, lambda u, r: u.sum(1), random_start=False)
        result = attack(lambda z: z * w.to(z), x.to(dtype), torch.Generator())
        found[dtype] = result.worst.double()
    torch.testing.assert_close(found[torch.float16], found[torch.float64], rtol=3e-3, atol=0)
    size = ball.size(found[torch.float16] - x.double())
    assert bool((size <= 0.5).all())
    assert bool((size >= 0.49).all())


def test_an_image_moves_by_all_of_its_budget():
    x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    ball = Ball("l2", 0.5, event_dims=3)
    attack = ProjectedGradientAscent(ball, lambda u, reference: u.sum(1), step_size=1.0)
    found = attack(lambda z: z.flatten(1), x, torch.Generator().manual_seed(0))
    moved = float((found.worst.double() - x.double()).norm())
    assert 0.5 * (1 - 1e-5) <= moved <= 0.5
