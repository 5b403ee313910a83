"""Policies that are random, keep state or couple rows are refused; precision is found."""

from __future__ import annotations

import gc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajr.jax import (
    AAJR,
    Ball,
    ProjectedGradientAscent,
    StateAdversarial,
    UniformNoise,
    directional_derivative,
    frobenius_squared,
    spectral_squared,
)
from aajr.jax._inspection import _seen, inspect
from aajr.jax._precision import coarsest_epsilon

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (8, 6))
WEIGHT = jax.random.normal(jax.random.key(2), (6, 3)) / 3
BALL = Ball("linf", 0.1)
ATTACK = ProjectedGradientAscent(BALL, lambda output, reference: output.sum(1))
HALF = jnp.bfloat16


def linear(x):
    return x @ WEIGHT


class Recurrent:
    """A policy whose hidden state every call overwrites."""

    def __init__(self):
        self.hidden = jnp.zeros((8, 3))

    def __call__(self, x):
        self.hidden = jnp.tanh(x @ WEIGHT + self.hidden)
        return self.hidden


def dropout():
    nnx = pytest.importorskip("flax.nnx")
    return nnx.Sequential(nnx.Linear(6, 3, rngs=nnx.Rngs(0)), nnx.Dropout(0.1, rngs=nnx.Rngs(1)))


def batch_statistics():
    nnx = pytest.importorskip("flax.nnx")
    return nnx.Sequential(nnx.Linear(6, 3, rngs=nnx.Rngs(0)), nnx.BatchNorm(3, rngs=nnx.Rngs(1)))


def wrapped(module):
    return lambda x: (module(x), 0)[0]


BAD = {
    "numpy noise": (lambda: lambda x: linear(x) + np.random.randn(8, 3), "random or keeps state"),
    "host noise": (
        lambda: (
            lambda x: (
                linear(x)
                + jax.pure_callback(
                    lambda: np.random.randn(8, 3).astype("float32"),
                    jax.ShapeDtypeStruct((8, 3), "float32"),
                )
            )
        ),
        "random or keeps state",
    ),
    "hidden state": (Recurrent, "random or keeps state"),
    "coupled rows": (lambda: lambda x: linear(x - x.mean(0)), "with the other rows"),
    "dropout": (dropout, r"random or keeps state.*model.eval\(\)"),
    "dropout wrapped": (lambda: wrapped(dropout()), r"model.eval\(\)"),
    "batch statistics": (batch_statistics, r"with the other rows.*model.eval\(\)"),
    "batch statistics, method": (lambda: batch_statistics().__call__, r"model.eval\(\)"),
}
CALLS = {
    "ascent": lambda policy: ATTACK(policy, X, KEY),
    "noise": lambda policy: UniformNoise(BALL)(policy, X, KEY),
    "penalty": lambda policy: StateAdversarial()(policy, UniformNoise(BALL)(linear, X, KEY), KEY),
    "derivative": lambda policy: directional_derivative(policy, X, X),
    "frobenius": lambda policy: frobenius_squared(policy, X, KEY),
    "spectral": lambda policy: spectral_squared(policy, X, KEY),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_policies_are_refused(name):
    make, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        inspect(make(), X)


@pytest.mark.parametrize("call", CALLS)
def test_every_entry_refuses_them(call):
    with pytest.raises(ValueError, match="with the other rows"):
        CALLS[call](BAD["coupled rows"][0]())


@pytest.mark.parametrize("name", ["numpy noise", "dropout", "batch statistics", "hidden state"])
def test_what_a_trace_shows_is_refused_inside_jit(name):
    policy = BAD[name][0]()
    with pytest.raises(ValueError, match=r"random or keeps state|model\.eval"):
        jax.jit(lambda x: AAJR()(policy, UniformNoise(BALL)(linear, x, KEY), KEY))(X)


@pytest.mark.parametrize("make", [dropout, batch_statistics])
def test_inference_mode_is_taken_and_its_end_is_seen(make):
    module = make()
    module.eval()
    trajectory = UniformNoise(BALL)(module, X, KEY)
    assert 0 < float(AAJR(fraction=1.0)(module, trajectory, KEY)) < 10
    module.train()
    with pytest.raises(ValueError, match="changes its own state"):
        UniformNoise(BALL)(module, X, KEY)


def test_dropout_that_is_on_is_no_sensitivity():
    """Two dropout masks would make a difference 2e5 where the true value is 0.6."""
    module = dropout()
    trajectory = UniformNoise(BALL)(linear, X, KEY)
    with pytest.raises(ValueError, match=r"model.eval\(\)"):
        AAJR(fraction=1.0)(wrapped(module), trajectory, KEY)


def test_modules_of_equinox():
    eqx = pytest.importorskip("equinox")
    net = eqx.nn.Sequential([eqx.nn.Linear(6, 3, key=KEY), eqx.nn.Dropout(0.5)])
    still = eqx.nn.inference_mode(net)
    assert inspect(jax.vmap(still), X) == 2.0**-23

    def noisy(x, count=[0]):  # noqa: B006
        count[0] += 1
        return jax.vmap(lambda row: net(row, key=jax.random.key(count[0])))(x)

    with pytest.raises(ValueError, match="random or keeps state"):
        inspect(noisy, X)


def test_a_policy_is_evaluated_for_the_check_once_and_then_forgotten():
    calls = []

    def policy(x):
        calls.append(isinstance(x, jax.core.Tracer))
        return linear(x)

    inspect(policy, X)
    inspect(policy, X)
    assert calls == [False, False, False, True, True]
    assert id(policy) in _seen
    key = id(policy)
    del policy
    gc.collect()
    assert key not in _seen


def test_policies_with_values_of_their_own_rows_pass():
    context = jnp.arange(8.0)[:, None]
    assert ATTACK(lambda x: linear(x) * context, X, KEY).worst.shape == X.shape
    masked = jnp.array([True, False, False])
    assert inspect(lambda x: jnp.where(masked, -jnp.inf, linear(x)), X) > 0


def test_control_flow_on_values_is_no_reason_to_refuse():
    def policy(x):
        return linear(x) if np.asarray(x).any() else x

    assert inspect(policy, X) == float(jnp.finfo(jnp.float32).eps)


def scanned(x):
    weights = jnp.ones((3,), HALF)
    return jax.lax.scan(lambda c, w: (jnp.tanh(c * w.astype(c.dtype)), None), x, weights)[0]


PROGRAMS = {
    "single": (linear, 2.0**-23),
    "parameters in half": (lambda x: x @ WEIGHT.astype(HALF).astype(x.dtype), 2.0**-23),
    "jitted": (jax.jit(lambda x: x @ WEIGHT.astype(HALF).astype(x.dtype)), 2.0**-23),
    "layers in a loop": (scanned, 2.0**-23),
    "products in half": (lambda x: (x.astype(HALF) @ WEIGHT.astype(HALF)).astype(x.dtype), 2.0**-7),
    "half inside": (
        jax.jit(jax.checkpoint(lambda x: jax.nn.relu(x.astype(jnp.float16)).astype(x.dtype))),
        2.0**-10,
    ),
    "a branch in half": (
        lambda x: jax.lax.cond(x.sum() > 0, jnp.sin, lambda z: z.astype(HALF) + 0 * z, x),
        2.0**-7,
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_precision_is_that_of_the_path_from_x(name):
    policy, expected = PROGRAMS[name]
    assert inspect(policy, X) == expected
    assert jax.jit(lambda x: jnp.full((), inspect(policy, x)))(X) == expected


def test_products_on_an_accelerator_are_coarser_unless_the_highest_is_asked(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert coarsest_epsilon(jax.make_jaxpr(linear)(X)) == 2.0**-10
    with jax.default_matmul_precision("highest"):
        assert coarsest_epsilon(jax.make_jaxpr(lambda x: x @ WEIGHT)(X)) == 2.0**-23
    asked = jax.lax.DotAlgorithmPreset.BF16_BF16_F32
    program = jax.make_jaxpr(lambda x: jnp.dot(x, WEIGHT, precision=asked))(X)
    assert coarsest_epsilon(program) == 2.0**-7
