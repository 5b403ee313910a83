"""Bounds over a box against every corner, samples, and plain interval arithmetic."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import pytest

from aajr.jax import Ball, DiagonalGaussian, Euclidean, Minimax
from aajr.jax.ppo import BoundedDivergence, Corner, bounds
from aajr.jax.ppo._networks import init_params, policy

X = jax.random.normal(jax.random.key(1), (5, 4))
PARAMS = init_params(jax.random.key(0), 4, 2, (16, 16), -0.5, 1.0)
NETWORK = partial(policy, PARAMS)

FUNCTIONS = {
    "network": NETWORK,
    "relu": lambda x: jax.nn.relu(x @ jnp.arange(12.0).reshape(4, 3) - 3.0),
    "sigmoid and difference": lambda x: jax.nn.sigmoid(2.0 - 3.0 * x)[:, :2] - x[:, 2:],
    "product": lambda x: x[:, :1] * x[:, 1:],
    "jitted": jax.jit(NETWORK),
    "sum": lambda x: jnp.concatenate([-x.sum(-1, keepdims=True), jnp.exp(x)], -1),
    "matrix on the left": lambda x: jnp.einsum("ij,bj->bi", -jnp.ones((2, 4)), x),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("radius", [0.0, 0.1, 1.0])
def test_no_input_of_the_box_leaves_the_bounds(name, radius):
    function = FUNCTIONS[name]
    low, high = bounds(function, X - radius, X + radius)
    for key in jax.random.split(jax.random.key(2), 50):
        noise = jax.random.uniform(key, X.shape, minval=-radius, maxval=radius)
        for point in (X + noise, X + radius * jnp.sign(noise)):
            output = function(point)
            assert bool((low - 1e-4 <= output).all())
            assert bool((output <= high + 1e-4).all())


def test_a_linear_map_has_its_exact_range():
    matrix = jax.random.normal(jax.random.key(3), (4, 3))
    low, high = bounds(lambda x: x @ matrix + 1.0, X - 0.3, X + 0.3)
    corners = [0.3 * jnp.array(signs) for signs in itertools.product((-1.0, 1.0), repeat=4)]
    outputs = jnp.stack([(X + corner) @ matrix + 1.0 for corner in corners])
    assert jnp.allclose(low, outputs.min(0), atol=1e-5)
    assert jnp.allclose(high, outputs.max(0), atol=1e-5)


def test_the_network_has_the_bounds_of_plain_interval_arithmetic():
    low, high = X - 0.2, X + 0.2
    *inner, outer = PARAMS["actor"]
    for layer in [*inner, outer]:
        middle, reach = (low + high) / 2, (high - low) / 2
        middle, reach = middle @ layer["weight"] + layer["bias"], reach @ jnp.abs(layer["weight"])
        low, high = middle - reach, middle + reach
        if layer is not outer:
            low, high = jnp.tanh(low), jnp.tanh(high)
    found = bounds(NETWORK, X - 0.2, X + 0.2)
    assert jnp.allclose(found.low[:, :2], low, atol=1e-5)
    assert jnp.allclose(found.high[:, :2], high, atol=1e-5)
    assert jnp.allclose(found.low[:, 2:], found.high[:, 2:])


def test_a_constant_output_is_bounded_by_itself():
    low, high = bounds(lambda x: jnp.ones((5, 2)), X, X + 1)
    assert bool((low == 1).all() & (high == 1).all())


@pytest.mark.parametrize("function", [jnp.sin, lambda x: x @ x.T, jnp.argmax])
def test_other_operations_are_refused(function):
    with pytest.raises(ValueError, match="no bounds are known"):
        bounds(function, X, X + 1)


def test_the_corner_is_the_farthest_point_and_keeps_masks():
    ball = Ball("linf", 0.1, mask=jnp.array([True, True, False, True]))
    worst = Corner(ball)(NETWORK, X, jax.random.key(0)).worst
    assert jnp.allclose(worst - X, 0.1 * jnp.array([1.0, 1, 0, 1]), atol=1e-6)
    with pytest.raises(ValueError, match="has no corner"):
        Corner(Ball("l2", 0.1))


@pytest.mark.parametrize("function", [NETWORK, lambda x: jnp.tanh(x) @ jnp.ones((4, 4))])
def test_the_divergence_is_never_above_its_bound(function):
    trajectory = Corner(Ball("linf", 0.3))(function, X, jax.random.key(0))
    bound = BoundedDivergence().per_sample(function, trajectory)
    clean, metric = function(X), DiagonalGaussian()
    for key in jax.random.split(jax.random.key(4), 100):
        noise = 0.3 * jnp.sign(jax.random.normal(key, X.shape))
        assert bool((metric.divergence(clean, function(X + noise)) <= bound + 1e-5).all())


def test_without_a_radius_nothing_diverges():
    trajectory = Corner(Ball("linf", 0.0))(NETWORK, X, jax.random.key(0))
    assert jnp.allclose(BoundedDivergence().per_sample(NETWORK, trajectory), 0.0, atol=1e-5)


def test_the_bound_is_trained_in_a_compiled_loss():
    robust = Minimax(Corner(Ball("linf", 0.2)), BoundedDivergence(), 0.1, "clean", epsilon=0.1)
    state = robust.init(jax.random.key(0))

    @jax.jit
    def loss(params):
        task = lambda output: (output**2).mean()  # noqa: E731
        return robust(partial(policy, params), X, task, state=state).penalty

    smaller = jax.tree.map(lambda w, g: w - 0.01 * g, PARAMS, jax.grad(loss)(PARAMS))
    assert 0 < float(loss(smaller)) < float(loss(PARAMS))


def test_other_metrics_are_refused():
    with pytest.raises(ValueError, match="is not bounded"):
        BoundedDivergence(metric=Euclidean())
