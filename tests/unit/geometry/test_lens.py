"""Two balls intersected, against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from aajr import Ball
from aajr.geometry._lens import Lens, project_two_spheres
from aajr.testing import dense

SCALE = torch.tensor([0.5, 2.0, 1.0, 0.7], dtype=torch.float64)


def oracle(y, epsilon, centre, radius):
    """SLSQP from several starts; both constraints are smooth after squaring."""
    best = None
    constraints = [
        {"type": "ineq", "fun": lambda z: epsilon**2 - z @ z},
        {"type": "ineq", "fun": lambda z: radius**2 - (z - centre) @ (z - centre)},
    ]
    for start in (centre * 0.9, y * 0.01 + centre * 0.5):
        found = minimize(
            lambda z: (z - y) @ (z - y),
            start,
            jac=lambda z: 2 * (z - y),
            method="SLSQP",
            constraints=constraints,
            options={"ftol": 1e-14, "maxiter": 300},
        )
        if best is None or (found.success and found.fun < best.fun):
            best = found
    return best.x


@pytest.mark.parametrize("seed", range(12))
def test_two_spheres_against_scipy(seed):
    y = 1.5 * dense.inputs(1, 4, seed=seed)
    centre = dense.inputs(1, 4, seed=seed + 100)
    centre = centre / centre.norm() * (0.2 + 0.8 * (seed % 4) / 3)
    radius = torch.full((1, 1), 0.1 + 0.25 * (seed % 5), dtype=torch.float64)
    found = project_two_spheres(y, 1.0, centre, radius)
    expected = oracle(y[0].numpy(), 1.0, centre[0].numpy(), float(radius))
    np.testing.assert_allclose(found[0].numpy(), expected, atol=2e-5)


def test_every_case_of_two_spheres_occurs():
    """First ball only, second ball only, the rim, and inside both."""
    centre = torch.tensor([[0.8, 0.0]]).double()
    cases = {
        (0.9, 0.1): (0.9, 0.1),
        (3.0, 0.0): (1.0, 0.0),
        (-2.0, 0.0): (0.3, 0.0),
        (3.0, 3.0): (0.86875, (1 - 0.86875**2) ** 0.5),
    }
    for y, expected in cases.items():
        point = torch.tensor([y]).double()
        found = project_two_spheres(point, 1.0, centre, torch.full((1, 1), 0.5).double())
        torch.testing.assert_close(found[0], torch.tensor(expected).double())


@given(st.integers(0, 10_000), st.floats(0.0, 3.0), st.sampled_from([torch.float32, torch.float64]))
def test_two_spheres_are_feasible_and_fix_what_is_inside(seed, radius, dtype):
    y = 3 * dense.inputs(8, 3, seed=seed, dtype=dtype)
    centre = dense.inputs(8, 3, seed=seed + 1, dtype=dtype)
    centre = centre / centre.norm(dim=1, keepdim=True).clamp_min(1)
    radii = torch.full((8, 1), radius, dtype=dtype)
    found = project_two_spheres(y, 1.0, centre, radii)
    slack = 1e-5 if dtype == torch.float32 else 1e-6
    assert bool((found.norm(dim=1) <= 1 + slack).all())
    assert bool(((found - centre).norm(dim=1) <= radius + slack).all())
    again = project_two_spheres(found, 1.0, centre, radii)
    torch.testing.assert_close(
        again, found, rtol=1e-4, atol=5e-3 if dtype == torch.float32 else 1e-6
    )


def test_no_radius_leaves_the_centre_and_no_centre_the_smaller_ball():
    y = dense.inputs(3, 4)
    centre = 0.1 * dense.inputs(3, 4, seed=2)
    zero = torch.zeros(3, 1, dtype=torch.float64)
    torch.testing.assert_close(project_two_spheres(y, 1.0, centre, zero), centre)
    for radius in (0.3, 1.0, 2.0):
        found = project_two_spheres(y, 1.0, torch.zeros_like(y), torch.full_like(zero, radius))
        expected = y * (min(1.0, radius) / y.norm(dim=1, keepdim=True)).clamp_max(1)
        torch.testing.assert_close(found, expected)


def test_a_lens_of_boxes_is_a_box():
    x, centre = dense.inputs(6, 4).clamp(-1, 1), None
    ball = Ball("linf", 0.5, scale=SCALE, low=-1.0, high=1.0, mask=torch.arange(4) > 0)
    centre = ball.project(dense.inputs(6, 4, seed=2), x)
    lens = Lens("linf", 0.5, SCALE, ball.mask, None, -1.0, 1.0, 1, centre, torch.full((6,), 0.2))
    delta = dense.inputs(6, 4, seed=3)
    low = torch.stack([-0.5 * SCALE.expand(6, 4), -1 - x, centre - 0.2 * SCALE]).amax(0)
    high = torch.stack([0.5 * SCALE.expand(6, 4), 1 - x, centre + 0.2 * SCALE]).amin(0)
    expected = torch.minimum(torch.maximum(delta, low), high) * (torch.arange(4) > 0)
    torch.testing.assert_close(lens.project(delta, x), expected)


@pytest.mark.parametrize("event_dims", [1, 2])
def test_a_scaled_lens_is_a_lens_in_units_of_the_scale(event_dims):
    x, delta = torch.zeros(3, 2, 4).double(), 2 * dense.inputs(3, 2, 4)
    ball = Ball("l2", 1.0, scale=SCALE, event_dims=event_dims)
    centre = ball.project_scaled(dense.inputs(3, 2, 4, seed=2), x)
    radius = torch.tensor([0.1, 0.4, 0.8]).double()
    found = Lens("l2", 1.0, SCALE, None, None, None, None, event_dims, centre, radius)
    rows = (6, 4) if event_dims == 1 else (3, 8)
    radii = radius.repeat_interleave(rows[0] // 3).unsqueeze(1)
    parts = ((value / SCALE).reshape(rows) for value in (delta, centre))
    expected = project_two_spheres(next(parts), 1.0, next(parts), radii)
    torch.testing.assert_close(found.project(delta, x) / SCALE, expected.reshape(3, 2, 4))


def test_an_l2_lens_in_a_box_stays_in_all_three():
    x = dense.inputs(40, 4).clamp(-1, 1)
    ball = Ball("l2", 1.0, scale=SCALE, low=-1.0, high=1.0)
    centre = ball.project_scaled(dense.inputs(40, 4, seed=2), x)
    radius = torch.full((), 0.3)
    lens = Lens("l2", 1.0, SCALE, None, None, -1.0, 1.0, 1, centre, radius)
    found = lens.project(3 * dense.inputs(40, 4, seed=3), x)
    assert bool((ball.size(found) <= 1 + 1e-6).all())
    assert bool((ball.size(found - centre) <= 0.3 + 1e-6).all())
    assert bool(((x + found).abs() <= 1 + 1e-9).all())


def test_many_candidates_of_every_row_are_projected_at_once():
    x, delta = torch.zeros(3, 4).double(), dense.inputs(6, 4)
    centre, radius = 0.1 * dense.inputs(3, 4, seed=2), torch.tensor([0.1, 0.2, 0.3])
    for norm in ("l2", "linf"):
        lens = Lens(norm, 0.5, centre=centre, radius=radius)
        both = lens.project(delta, torch.cat([x, x]))
        parts = [lens.project(part, x) for part in (delta[:3], delta[3:])]
        torch.testing.assert_close(both, torch.cat(parts))
