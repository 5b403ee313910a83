"""A user's adversary or penalty that breaks its promise is named, whatever the interpreter."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import aajr
from aajr.jax import (
    Adversary,
    Ball,
    ContractError,
    RandomDirection,
    Trajectory,
    UniformNoise,
)

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (4, 3))
BOX = Ball("l2", 0.1, mask=jnp.array([True, True, False]), low=-5.0, high=5.0)


@dataclass(frozen=True, eq=False)
class Loose(Adversary):
    """Moves by whatever it was given."""

    ball: Ball
    shift: Any

    def draw(self, x, key):
        return jnp.broadcast_to(jnp.asarray(self.shift), x.shape)

    def run(self, policy, reference, draws):
        x = reference.inputs
        points = jnp.stack([x, x + draws])
        return Trajectory(reference, points, draws[None], jnp.zeros((1, len(x))), points[-1])


def tanh(x):
    return jnp.tanh(x)


def test_both_sides_name_the_same_error():
    assert aajr.ContractError is ContractError


def test_points_in_the_ball_pass():
    assert Loose(BOX, [0.06, 0.08, 0.0])(tanh, X, KEY).worst.shape == X.shape


@pytest.mark.parametrize(
    ("ball", "shift"),
    [
        (BOX, [100.0, 0.0, 0.0]),
        (BOX, [0.08, 0.08, 0.0]),
        (BOX, [0.0, 0.0, 0.05]),
        (Ball("linf", 0.1), [0.0, 0.101, 0.0]),
        (Ball("linf", 9.0, high=5.0), [8.0, 0.0, 0.0]),
    ],
    ids=["far", "norm", "mask", "linf", "box"],
)
def test_points_outside_are_refused(ball, shift):
    with pytest.raises(ContractError, match=r"points that run\(\) returned left the ball"):
        Loose(ball, shift)(tanh, X, KEY)


def test_points_of_another_shape_are_refused_inside_jit_too():
    @dataclass(frozen=True, eq=False)
    class Short(Loose):
        def run(self, policy, reference, draws):
            return replace(super().run(policy, reference, draws), worst=reference.inputs[:2])

    attack = Short(BOX, [0.0, 0.0, 0.0])
    for call in (attack, lambda policy, x, key: jax.jit(lambda x: attack(policy, x, key))(x)):
        with pytest.raises(ContractError, match=r"worst \(2, 3\) for x \(4, 3\)"):
            call(tanh, X, KEY)


def test_a_penalty_without_its_draws():
    trajectory = UniformNoise(Ball("linf", 0.1))(tanh, X, KEY)
    with pytest.raises(ContractError, match="must return an array"):
        RandomDirection().per_sample(tanh, trajectory, None)
