"""The same networks, trajectories and metrics on both sides, for parity of torch and JAX."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax import Array
from torch import Tensor, nn

import aajr.jax as aj
from aajr import Trajectory
from aajr.testing import dense

METRICS: dict[str, aj.Metric] = {
    "euclidean": aj.Euclidean(),
    "categorical": aj.Categorical(),
    "heads": aj.Categorical(heads=(2, 4)),
    "gaussian": aj.DiagonalGaussian(),
}
Parameters = list[Array]


@contextmanager
def configured(**values: bool) -> Iterator[None]:
    """JAX with these settings for a while."""
    before = {name: jax.config.values[name] for name in values}
    for name, value in values.items():
        jax.config.update(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


def compiled_quickly(**values: bool) -> AbstractContextManager[None]:
    """XLA without its costly passes, which take a third of a test that compiles much."""
    return configured(jax_disable_most_optimizations=True, **values)


def float64() -> AbstractContextManager[None]:
    """Double precision for a while."""
    return compiled_quickly(jax_enable_x64=True)


def to_jax(value: Tensor) -> Array:
    """The same array."""
    return jnp.asarray(value.detach().numpy())


def parameters(net: nn.Sequential) -> Parameters:
    """Weights and biases in the order of ``net.parameters()``."""
    return [to_jax(parameter) for parameter in net.parameters()]


def apply(params: Parameters, x: Array) -> Array:
    """The network of :func:`aajr.testing.dense.tanh_net`."""
    first, first_bias, second, second_bias = params
    return jnp.tanh(x @ first.T + first_bias) @ second.T + second_bias


def policy_of(net: nn.Sequential) -> Callable[[Array], Array]:
    """The network as a function of its input."""
    return partial(apply, parameters(net))


def reference_of(reference) -> aj.Reference:
    data = {name: to_jax(value) for name, value in reference.data.items()}
    return aj.Reference(to_jax(reference.inputs), to_jax(reference.outputs), data)


def trajectory_of(trajectory: Trajectory) -> aj.Trajectory:
    """A torch trajectory as one of JAX, without kept outputs."""
    return aj.Trajectory(
        reference=reference_of(trajectory.reference),
        points=to_jax(trajectory.points),
        gradients=to_jax(trajectory.gradients),
        losses=to_jax(trajectory.losses),
        worst=to_jax(trajectory.worst),
        event_dims=trajectory.event_dims,
        forward_passes=trajectory.forward_passes,
        backward_passes=trajectory.backward_passes,
    )


def flat(gradient: Parameters) -> np.ndarray:
    """A gradient in the order of :func:`aajr.testing.dense.parameter_gradient`."""
    return np.concatenate([np.ravel(part) for part in gradient])


def close(found: Array, expected: Tensor | np.ndarray, tolerance: float) -> None:
    """Equal up to ``tolerance`` times the size of what is expected."""
    expected = np.asarray(expected.detach() if isinstance(expected, Tensor) else expected)
    found = np.asarray(found)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    size = max(float(np.abs(expected).max(initial=0.0)), 1e-300)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * size)


def same_with_gradient(
    value_of: Callable[[Callable[[Array], Array]], Array],
    net: nn.Sequential,
    *expectations: tuple[Tensor, float],
) -> None:
    """Value and parameter gradient on the JAX side agree with those of torch.

    Args:
        value_of: from the policy to a scalar.
        net: torch's network.
        expectations: torch's scalars, attached, and tolerances relative to the largest entry.
    """
    value, gradient = jax.value_and_grad(lambda params: value_of(partial(apply, params)))(
        parameters(net)
    )
    for expected, tolerance in expectations:
        close(value, expected, tolerance)
        oracle = dense.parameter_gradient(expected, net)
        assert float(oracle.abs().max()) > 1e-6, "without a gradient the oracle proves nothing"
        close(flat(gradient), oracle, tolerance)


def generator(seed: int = 7) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
