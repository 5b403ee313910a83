"""The statements against closed forms in which they are equalities."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aajr import theory

positive = st.floats(0.01, 100.0)


def parabola(curvature: float, slope: float):
    """F(t) = slope t - ½ curvature t²: effective smoothness and slope are exact everywhere."""
    return lambda t: slope * t - curvature * t**2 / 2


@given(positive, positive)
def test_the_euclidean_limit_is_where_a_parabola_stops_to_rise(curvature, slope):
    f = parabola(curvature, slope)
    limit = theory.euclidean_step_limit(curvature)
    assert f(0.999 * limit * slope) > 0
    assert f(1.001 * limit * slope) < 0


@given(positive, positive)
def test_the_normalized_limit_is_where_a_parabola_stops_to_rise(curvature, slope):
    f = parabola(curvature, slope)
    limit = theory.normalized_step_limit(slope, curvature)
    assert f(0.999 * limit) > 0
    assert f(1.001 * limit) < 0


@given(positive, st.lists(st.floats(0.1, 3.0), min_size=2, max_size=4))
def test_the_sign_limit_is_where_a_paraboloid_stops_to_rise(curvature, scale):
    s = torch.tensor(scale, dtype=torch.float64)
    g = torch.linspace(-1, 2, len(scale), dtype=torch.float64) + 0.01
    limit = theory.sign_step_limit(float((s * g).abs().sum()), float(s.norm()), curvature)
    for share, rises in ((0.999, True), (1.001, False)):
        d = share * limit * s * g.sign()
        assert (float(g @ d - curvature * d @ d / 2) > 0) == rises


def test_the_sign_limit_does_not_hold_where_a_coordinate_is_clipped():
    # the first coordinate, which alone gains, rests at the edge of the ball
    g, smoothness = torch.tensor([1.0, 0.01]), 1.0
    limit = theory.sign_step_limit(float(g.abs().sum()), math.sqrt(2), smoothness)
    d = torch.tensor([0.0, 0.99 * limit])
    assert float(g @ d - smoothness * d @ d / 2) < 0
    assert theory.guaranteed_gain(float(g @ d / d.norm()), float(d.norm()), smoothness) < 0


@given(positive, positive, st.floats(0.01, 2.0))
def test_the_guarantees_are_exact_on_a_parabola(curvature, slope, share):
    step = share / curvature
    length = step * slope
    gain = parabola(curvature, slope)(length)
    euclidean = theory.guaranteed_ascent(step, length, curvature)
    general = theory.guaranteed_gain(slope, length, curvature)
    assert math.isclose(euclidean, gain, rel_tol=1e-9, abs_tol=1e-9 * slope * length)
    assert math.isclose(general, gain, rel_tol=1e-9, abs_tol=1e-9 * slope * length)


def test_gradient_and_damage_are_exact_for_a_linear_policy():
    J = torch.tensor([[2.0, 0.0], [0.0, 7.0]])
    slope = torch.tensor([3.0, 0.0])  # the objective reads the first output, G = 3
    g = J.T @ slope
    sensitivity = float((J @ (g / g.norm())).norm())
    assert theory.gradient_bound(3.0, sensitivity) == float(g.norm()) == 6.0
    path = 0.25 * g / g.norm()
    assert theory.damage_bound(3.0, sensitivity, 0.25) == float(slope @ J @ path)


def test_no_curvature_means_no_limit():
    assert theory.euclidean_step_limit(0.0) == math.inf
    assert bool(theory.euclidean_step_limit(torch.zeros(2)).isinf().all())


def test_tensors_and_floats_agree():
    numbers = (2.0, 0.5, 3.0, 0.25)
    tensors = [torch.tensor([number]) for number in numbers]
    assert float(theory.effective_smoothness(*tensors)) == theory.effective_smoothness(*numbers)


@pytest.mark.parametrize("bad", [-1.0, math.nan])
def test_negative_constants_are_refused(bad):
    with pytest.raises(ValueError, match="lipschitz="):
        theory.effective_smoothness(1.0, 1.0, bad, 1.0)
    with pytest.raises(ValueError, match="smoothness="):
        theory.euclidean_step_limit(torch.tensor([1.0, bad]))


def test_a_step_of_length_zero_gains_nothing_even_where_the_constants_are_infinite():
    assert theory.guaranteed_ascent(0.5, 0.0, math.inf) == 0
    assert theory.guaranteed_gain(1.0, 0.0, math.inf) == 0
    zero, infinite = torch.zeros(1), torch.full((1,), math.inf)
    assert theory.guaranteed_ascent(torch.ones(1), zero, infinite).tolist() == [0.0]
    assert theory.guaranteed_gain(zero, torch.ones(1), infinite).tolist() == [-math.inf]
