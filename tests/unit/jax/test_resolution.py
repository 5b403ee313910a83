"""Differences and radii near the resolution of the arithmetic, against float64 and fractions."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aajr.jax import (
    AAJR,
    Ball,
    Frobenius,
    ProjectedGradientAscent,
    RandomDirection,
    ResolutionWarning,
    UniformNoise,
    diagnose,
    directional_derivative,
)

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (64, 6))
WEIGHT = jax.random.normal(jax.random.key(2), (6, 3)) / 2
HALF = jnp.bfloat16
DIFFERENCES = ["forward_difference", "central_difference"]


@pytest.mark.parametrize("estimator", DIFFERENCES)
@pytest.mark.parametrize("far", [1e3, 1e4, 1e6])
def test_a_large_feature_that_v_leaves_alone_has_no_say(estimator, far):
    at, v = jnp.array([[0.0, far]]), jnp.array([[1.0, 0.0]])
    _, found = directional_derivative(lambda x: jnp.tanh(x - at), at, v, estimator)
    assert float(found[0, 0]) == pytest.approx(1.0, rel=5e-3)


def in_half(x):
    """A network that computes in bfloat16 and answers in float32."""
    return (x.astype(HALF) @ WEIGHT.astype(HALF)).astype(jnp.float32)


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("estimator", DIFFERENCES)
def test_a_policy_in_bfloat16_is_stepped_by_its_own_precision(transform, estimator):
    exact, v = np.asarray(WEIGHT.astype(HALF), np.float64), np.asarray(X / 5, np.float64)
    _, found = transform(lambda x: directional_derivative(in_half, x, x / 5, estimator))(X)
    error = np.linalg.norm(np.asarray(found) - v @ exact) / np.linalg.norm(v @ exact)
    assert error < 0.05


def test_penalties_on_a_policy_in_bfloat16():
    exact, ones = np.asarray(WEIGHT.astype(HALF), np.float64), np.ones(6) / 6**0.5
    noise = UniformNoise(Ball("linf", 0.1))(in_half, X, KEY)
    trajectory = dataclasses.replace(noise, gradients=jnp.ones((1, 64, 6)))
    aligned = float(np.square(ones @ exact).sum())

    @jax.jit
    def found(trajectory):
        penalties = AAJR(fraction=1.0), RandomDirection(fraction=1.0)
        values = [penalty(in_half, trajectory, KEY) for penalty in penalties]
        return (*values, diagnose(in_half, trajectory, KEY)["aligned"])

    along, random, measured = map(float, found(trajectory))
    assert along == pytest.approx(aligned, rel=0.05)
    assert measured == pytest.approx(aligned, rel=0.05)
    assert random == pytest.approx(float(np.square(exact).sum() / 6), rel=0.4)


@pytest.mark.parametrize("estimator", [*DIFFERENCES, "secant"])
def test_what_cannot_be_resolved_warns(estimator):
    v = 1e-3 * jnp.ones_like(X)
    with pytest.warns(ResolutionWarning, match="rounding"):
        directional_derivative(lambda x: 1e6 + x @ WEIGHT, X, v, estimator)


def test_flat_policies_and_exact_estimators_do_not_warn():
    v = jnp.ones_like(X)
    directional_derivative(lambda x: x * 0 + 1e6, X, v)
    directional_derivative(lambda x: 1e6 + x, X, v, "forward_mode")


def test_masked_actions_have_no_change():
    mask = jnp.array([True, False, False])

    def policy(weight, x):
        return jnp.where(mask, -jnp.inf, x @ weight)

    v = jnp.ones_like(X) / 6**0.5
    for estimator in (*DIFFERENCES, "secant", "forward_mode"):
        gradient, found = jax.grad(
            lambda w, e=estimator: (
                jnp.square(d := directional_derivative(lambda x: policy(w, x), X, v, e)[1]).sum(),
                d,
            ),
            has_aux=True,
        )(WEIGHT)
        assert not found[:, 0].any()
        np.testing.assert_allclose(found[:, 1:], (v @ WEIGHT)[:, 1:], rtol=2e-2, atol=1e-3)
        assert bool(jnp.isfinite(gradient).all())
        assert not gradient[:, 0].any()


DTYPES = ["bfloat16", "float16", "float32"]


def exactly(values) -> list[Fraction]:
    return [Fraction(float(value)) for value in np.asarray(values, np.float64).ravel()]


@cache
def points(dtype: str, norm: str, boxed: bool):
    """Points of a projection and of a sample, compiled once."""

    @jax.jit
    def run(epsilon, x, pushed, key):
        ball = Ball(norm, epsilon, **({"low": -0.9, "high": 0.8} if boxed else {}))
        deltas = ball.project(pushed, x), ball.sample(x, key)
        return jnp.stack([ball.perturbed(x, delta) for delta in deltas])

    return run


@settings(max_examples=50, deadline=None)
@given(
    dtype=st.sampled_from(DTYPES),
    norm=st.sampled_from(["l2", "linf"]),
    boxed=st.booleans(),
    epsilon=st.floats(2**-13, 2.0, width=32),
    size=st.sampled_from([1e-2, 1.0, 1e3]),
    seed=st.integers(0, 10),
)
def test_no_point_leaves_the_ball_by_any_fraction(dtype, norm, boxed, epsilon, size, seed):
    rng = np.random.default_rng(seed)
    x = jnp.asarray(size * rng.normal(size=(3, 4)), dtype)
    pushed = jnp.asarray(3 * epsilon * rng.normal(size=x.shape), dtype)
    found = points(dtype, norm, boxed)(epsilon, x, pushed, KEY)
    assert found.dtype == x.dtype
    for row, start in zip(found.reshape(-1, 4), jnp.tile(x, (2, 1)), strict=True):
        change = [abs(a - b) for a, b in zip(exactly(row), exactly(start), strict=True)]
        if norm == "linf":
            assert max(change) <= Fraction(epsilon)
        else:
            assert sum(c * c for c in change) <= Fraction(epsilon) ** 2
    if boxed:
        known, start = np.asarray(found, np.float64), np.asarray(x, np.float64)
        assert (known >= np.minimum(-0.9, start) - 1e-7).all()
        assert (known <= np.maximum(0.8, start) + 1e-7).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_number_of_python_is_rounded_down(dtype):
    """0.1 is no number of binary floating point; the nearest one is larger in float32."""
    delta = Ball("linf", 0.1).project(jnp.ones((1, 1), dtype), jnp.zeros((1, 1), dtype))
    assert 0.099 < float(np.asarray(delta, np.float64)[0, 0]) <= 0.1


@pytest.mark.parametrize(
    ("dtype", "at", "epsilon"),
    [("bfloat16", 0.26, 1e-3), ("float32", 1e6, 0.1), ("float32", 1e6, 1e-4)],
)
def test_a_radius_of_a_few_ulps_warns_and_keeps_its_promise(dtype, at, epsilon):
    x, noise = jnp.full((4, 2), at, dtype), UniformNoise(Ball("linf", epsilon))
    with pytest.warns(ResolutionWarning, match="units in the last place"):
        worst = noise(lambda z: z * 1.0, x, KEY).worst
    assert np.abs(np.asarray(worst, np.float64) - np.asarray(x, np.float64)).max() <= epsilon


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("box", [{}, {"low": -1e4, "high": 1e4}], ids=["plain", "boxed"])
def test_large_scales_in_half_precision(norm, box):
    """Their squares exceed 65504, the largest number of float16."""
    x, scale = jnp.ones((4, 2), jnp.float16), jnp.array([300.0, 4000.0])
    ball = Ball(norm, 1.0, scale=scale, **box)
    step = ball.steepest(jnp.full_like(x, 300.0))
    delta = jax.jit(lambda x: ball.project_scaled(2 * step, x))(x)
    size = ball.size(ball.perturbed(x, delta) - x)
    assert delta.dtype == step.dtype == jnp.float16
    np.testing.assert_allclose(ball.size(step), 1.0, rtol=2e-3)
    np.testing.assert_allclose(size, 1.0, rtol=5e-3)
    assert bool(jnp.isfinite(ball.diameter(x)).all())


def test_penalties_in_half_precision():
    """Squared gradients of 300 overflow float16."""
    x, weight = X.astype(jnp.float16), WEIGHT.astype(jnp.float16)
    exact, ones = np.asarray(weight, np.float64), np.ones(6) / 6**0.5
    noise = UniformNoise(Ball("l2", 0.1))(lambda z: z @ weight, x, KEY)
    trajectory = dataclasses.replace(noise, gradients=jnp.full((1, 64, 6), 300.0, jnp.float16))
    for penalty, expected in (
        (AAJR(direction="gradient", fraction=1.0), np.square(ones @ exact).sum()),
        (Frobenius(projections=400), np.square(exact).sum()),
    ):
        found = jax.jit(lambda t, p=penalty: p(lambda z: z @ weight, t, KEY))(trajectory)
        assert found.dtype == jnp.float32
        assert float(found) == pytest.approx(float(expected), rel=0.1)


def test_a_traced_radius_of_another_dtype_meets_half_precision():
    x = X.astype(HALF)

    @jax.jit
    def size(epsilon):
        attack = ProjectedGradientAscent(Ball("l2", epsilon), lambda o, r: o.sum(1))
        worst = attack(lambda z: z @ WEIGHT.astype(HALF), x, KEY).worst
        return jnp.sqrt(jnp.square((worst - x).astype(jnp.float32)).sum(1)).max()

    assert 0.4 < float(size(jnp.float32(0.5))) <= 0.5
