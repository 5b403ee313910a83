"""How many rows a policy sees at a time, and that the number changes nothing."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajr.jax import (
    Ball,
    CrossEntropy,
    Divergence,
    ProjectedGradientAscent,
    objective_scale,
    rows_at_once,
)
from aajr.jax._rows import in_parts, row_bound
from tests.jax_sides import compiled_quickly

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (13, 4))
BALL = Ball("linf", 0.3)
TEAM = Ball(
    "linf",
    0.3,
    scale=jnp.array([[1.0, 2.0], [1.0, 0.5]]),
    coalition=jnp.arange(26).reshape(13, 2) % 3 > 0,
)
ATTACKS = {
    "restarts": ProjectedGradientAscent(BALL, steps=2, restarts=2, select="best"),
    "stable": ProjectedGradientAscent(BALL, steps=2, step_rule="stable"),
    "l2": ProjectedGradientAscent(Ball("l2", 0.3, low=-1.0, high=1.0), steps=2),
    "kept outputs": ProjectedGradientAscent(BALL, steps=2, keep_outputs=True),
    "last": ProjectedGradientAscent(BALL, steps=3, select="best", record="last"),
}


@pytest.fixture(autouse=True, scope="module")
def quick():
    """Without the passes that join a multiplication and an addition here and not there."""
    with compiled_quickly():
        yield


class Witness:
    """A policy of row by row arithmetic that notes the largest batch it sees."""

    def __init__(self, weight: float | jax.Array = 1.0) -> None:
        self.weight, self.largest = weight, 0

    def __call__(self, x):
        self.largest = max(self.largest, len(x))
        flat = x.reshape(len(x), -1)
        return self.weight * jnp.stack([(2 * flat).sum(1), (flat * flat[:, ::-1]).sum(1)], 1)


def same(found, expected):
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    for one, other in pairs:
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_the_bound_is_kept_and_changes_no_bit(attack):
    policy = Witness()
    with rows_at_once(5):
        found = jax.jit(lambda x, key: attack(policy, x, key))(X, KEY)
    assert policy.largest == 5
    same(found, jax.jit(lambda x, key: attack(Witness(), x, key))(X, KEY))


def test_a_ball_that_differs_between_samples_is_cut_with_them():
    x, attack = X.reshape(13, 2, 2), ProjectedGradientAscent(TEAM, steps=2)
    with rows_at_once(5):
        found = jax.jit(lambda x, key: attack(Witness(), x, key))(x, KEY)
    same(found, jax.jit(lambda x, key: attack(Witness(), x, key))(x, KEY))


@pytest.mark.parametrize(("rows", "bound"), [(1, 1), (7, 1), (7, 2), (7, 6), (8, 4), (8, 9)])
def test_parts_make_up_the_whole(rows, bound):
    x = jnp.arange(3.0 * rows).reshape(rows, 3)
    with rows_at_once(bound):
        found = in_parts(lambda part: {"twice": 2 * part(x), "first": part((x, x))[1][:, 0]}, rows)
    same(found, {"twice": 2 * x, "first": x[:, 0]})


def test_kept_outputs_lead_to_the_parameters():
    attack = ProjectedGradientAscent(BALL, steps=2, keep_outputs=True)

    def sensitivity(weight):
        return jnp.square(attack(Witness(weight), X, KEY).outputs).sum()

    with rows_at_once(5):
        found = jax.jit(jax.grad(sensitivity))(0.5)
    np.testing.assert_allclose(found, jax.jit(jax.grad(sensitivity))(0.5), rtol=1e-6)


def test_a_jitted_attack_follows_the_bound_of_its_block():
    policy, attack = Witness(), ProjectedGradientAscent(BALL, steps=1)
    jitted = jax.jit(lambda x, key: attack(policy, x, key).worst)
    with rows_at_once(4):
        jitted(X, KEY)
    assert policy.largest == 4
    with rows_at_once(4), rows_at_once(7):
        pass
    jitted(X, KEY)
    assert policy.largest == 13
    with pytest.raises(ValueError, match="count=0 is not allowed"), rows_at_once(0):
        pass


def test_a_batch_that_may_be_spread_over_devices_is_not_cut_by_default(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    assert row_bound() == 65536
    monkeypatch.setattr(jax, "device_count", lambda: 2)
    assert row_bound() > 1e12
    with rows_at_once(3):
        assert row_bound() == 3


def test_outside_jit_too_no_evaluation_sees_more_rows():
    policy = Witness()
    with rows_at_once(5):
        found = ProjectedGradientAscent(BALL, steps=1)(policy, X, KEY)
        scale = objective_scale(Divergence(), policy, X, BALL, KEY, draws=2)
    assert policy.largest == 5
    same(scale, objective_scale(Divergence(), policy, X, BALL, KEY, draws=2))
    assert found.worst.shape == X.shape


def test_classes_out_of_range_are_found_in_parts_too():
    attack = ProjectedGradientAscent(BALL, CrossEntropy(), steps=1)
    assert attack(Witness(), X, KEY, {"label": jnp.arange(13) % 2}).losses.min() > 0
    for bound in (5, 13):
        with rows_at_once(bound), pytest.raises(ValueError, match="holds classes from 0 to 2"):
            attack(Witness(), X, KEY, {"label": jnp.arange(13) % 3})


def test_memory_follows_the_bound_and_not_the_batch():
    first, second = jnp.ones((4, 512)), jnp.ones((512, 2))
    attack = ProjectedGradientAscent(BALL, steps=2, record="last")

    def worst(x, key):
        return attack(lambda x: jnp.tanh(x @ first) @ second, x, key).worst

    def temporary(rows):
        lowered = jax.jit(worst).lower(jax.ShapeDtypeStruct((rows, 4), jnp.float32), KEY)
        return lowered.compile().memory_analysis().temp_size_in_bytes

    hidden = 4 * 4096 * 512
    assert temporary(4096) > hidden
    with rows_at_once(128):
        assert temporary(4096) < hidden / 4


@pytest.mark.parametrize(
    ("norm", "settings"),
    [
        ("linf", {"step_rule": "backtracking"}),
        ("l2", {"select": "best", "step_size": 0.9}),
        ("linf", {"select": "best", "restarts": 3}),
    ],
)
def test_the_last_step_alone_is_that_of_the_whole_trajectory(norm, settings):
    attack = ProjectedGradientAscent(Ball(norm, 0.8), steps=4, **settings)
    last = dataclasses.replace(attack, record="last")
    whole, ends = (
        jax.jit(lambda x, key, a=a: a(Witness(), x, key))(X, KEY) for a in (attack, last)
    )
    same(ends.worst, whole.worst)
    same(ends.gradients[-1], whole.gradients[-1])
    same(ends.points[0], whole.points[-2])
    same(ends.points[1], ends.worst)
    same(ends.losses[-1], whole.losses.max(0) if "select" in settings else whole.losses[-1])
    assert (len(ends.points), len(ends.gradients)) == (2, 1)
    for name in ("forward_passes", "backward_passes", "curvature_passes"):
        same(getattr(ends, name), getattr(whole, name))


def test_kept_outputs_need_the_whole_trajectory():
    with pytest.raises(ValueError, match="keep_outputs=True keeps every point"):
        ProjectedGradientAscent(BALL, keep_outputs=True, record="last")
    with pytest.raises(ValueError, match="record='first' is unknown"):
        ProjectedGradientAscent(BALL, record="first")
