"""Exact estimators through every normalisation layer, against differences in float64."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajr.jax import directional_derivative
from tests.jax_sides import float64


def of_flax(make):
    nnx = pytest.importorskip("flax.nnx")
    layer = make(nnx, {"rngs": nnx.Rngs(0), "param_dtype": jnp.float64})
    layer.eval()
    graph, params, rest = nnx.split(layer, nnx.Param, ...)
    return params, lambda params, x: nnx.merge(graph, params, rest)(x)


def of_equinox(make):
    eqx = pytest.importorskip("equinox")
    params, rest = eqx.partition(make(eqx.nn, {"dtype": jnp.float64}), eqx.is_inexact_array)
    return params, lambda params, x: jax.vmap(eqx.combine(params, rest))(x)


LAYERS = {
    "flax LayerNorm": lambda: of_flax(lambda nn, to: nn.LayerNorm(6, **to)),
    "flax RMSNorm": lambda: of_flax(lambda nn, to: nn.RMSNorm(6, **to)),
    "flax GroupNorm": lambda: of_flax(lambda nn, to: nn.GroupNorm(6, num_groups=2, **to)),
    "flax BatchNorm": lambda: of_flax(lambda nn, to: nn.BatchNorm(6, **to)),
    "equinox LayerNorm": lambda: of_equinox(lambda nn, to: nn.LayerNorm(6, **to)),
    "equinox RMSNorm": lambda: of_equinox(lambda nn, to: nn.RMSNorm(6, **to)),
    "equinox GroupNorm": lambda: of_equinox(lambda nn, to: nn.GroupNorm(2, 6, **to)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_parameter_gradient_of_a_squared_derivative(name):
    with float64():
        params, layer = LAYERS[name]()
        leaves, tree = jax.tree.flatten(params)
        rng = np.random.default_rng(0)
        leaves = [leaf + rng.normal(size=leaf.shape) for leaf in leaves]
        first, x, v = (jnp.asarray(rng.normal(size=shape)) for shape in [(4, 6), (3, 4), (3, 4)])

        def apply(first, leaves, x):
            return jnp.sin(layer(jax.tree.unflatten(tree, leaves), x @ first))

        def squared(theta, estimator):
            return jnp.square(
                directional_derivative(lambda x: apply(*theta, x), x, v, estimator)[1]
            ).sum()

        def by_differences(theta, h=1e-4):
            change = (apply(*theta, x + h * v) - apply(*theta, x - h * v)) / (2 * h)
            return jnp.square(change).sum()

        theta = (first, leaves)
        u = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), theta)
        value = jax.jit(by_differences)
        ahead, back = (jax.tree.map(lambda a, b, h=h: a + h * b, theta, u) for h in (1e-4, -1e-4))
        expected = float(value(ahead) - value(back)) / 2e-4
        gradients = jax.jit(
            lambda theta: [
                jax.grad(squared)(theta, name) for name in ("forward_mode", "double_backward")
            ]
        )
        for gradient in gradients(theta):
            pairs = zip(jax.tree.leaves(gradient), jax.tree.leaves(u), strict=True)
            found = sum(jnp.vdot(a, b) for a, b in pairs)
            assert float(found) == pytest.approx(expected, rel=1e-5)
