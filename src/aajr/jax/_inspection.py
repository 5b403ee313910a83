"""Tests whether a policy is a function of its input, row by row, and in which precision."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from aajr.jax._checks import check_callable, check_output, is_traced
from aajr.jax._functions import Policy
from aajr.jax._precision import coarsest_epsilon, machine_epsilon, programs_in
from aajr.jax._rows import row_bound

_REMEDY = (
    "put modules in inference mode (Flax NNX: model.eval(), Equinox: "
    "eqx.nn.inference_mode(model)), close over a fixed random key, and give recurrent state as a "
    "part of x"
)
_seen: dict[int, weakref.ref[Any]] = {}


def inspect(policy: Policy, x: Array) -> float:
    """The machine epsilon of the coarsest precision in which the policy computes at x.

    The values of every policy are tested once: π(x) is computed twice, and once with other rows
    beside the first row. At every call, a trace shows whether the policy changes state. Inside jit
    there are no values; then two traces must agree. This detects host randomness and Python state,
    but neither batch statistics nor callbacks to the host.

    Args:
        policy: map from ``[batch, *event]`` to ``[batch, *output]``.
        x: inputs, ``[batch, *event]``.

    Returns:
        ε of the coarsest floating dtype on the way from x to the output.

    Raises:
        ValueError: a policy that is random, keeps state or couples rows; an output that is not an
            array with one row per sample.
    """
    check_callable("the policy", policy, "a function of x that closes over its parameters")
    x = x if len(x) <= row_bound() else x[: row_bound()]
    tested = _known(policy) or (not is_traced(x) and _check_values(policy, x))
    program, output = _traced(policy, x)
    if program is None:
        return max(machine_epsilon(x.dtype), machine_epsilon(output.dtype))
    if not tested:
        _check_same_program(program, _traced(policy, x)[0])
    return coarsest_epsilon(program)


def _traced(policy: Policy, x: Array) -> tuple[ClosedJaxpr | None, Any]:
    """The policy's program and the shape of its output; None if control flow depends on values."""
    try:
        program, output = jax.make_jaxpr(lambda z: policy(z), return_shape=True)(x)
    except Exception as error:
        # the first is from Flax, which may not be installed
        if type(error).__name__ in ("TraceContextError", "UnexpectedTracerError"):
            reason = str(error).partition("\n")[0]
            raise ValueError(
                f"the policy changes its own state at a call ({reason}); {_REMEDY}"
            ) from error
        if not isinstance(error, jax.errors.JAXTypeError):
            raise
        return None, policy(x)
    check_output(output, x)
    return program, output


def _check_values(policy: Policy, x: Array) -> bool:
    """Raise ValueError if values show that rows interact or change; False if values are unknown."""
    first = policy(x)
    check_output(first, x)
    first = lax.stop_gradient(first)
    if is_traced(first):
        return False
    rounding = machine_epsilon(first.dtype)
    change, size = _compared(first, lax.stop_gradient(policy(x)))
    if change > 64 * rounding * size:
        raise ValueError(
            f"the policy's output changes by {change:.3g} between two calls at the same x: it is "
            f"random or keeps state; {_REMEDY}"
        )
    alone = lax.stop_gradient(policy(jnp.broadcast_to(x[:1], x.shape)))
    change, size = _compared(first[:1], alone[:1])
    if change > rounding**0.5 * size:
        raise ValueError(
            f"the policy's output for a row changes by {change:.3g} with the other rows of the "
            f"batch (batch statistics?); {_REMEDY}"
        )
    _remember(policy)
    return True


def _compared(first: Array, second: Array) -> tuple[float, float]:
    """The largest change between two arrays and the largest finite entry, in float64."""
    a, b = (np.asarray(value, np.float64) for value in (first, second))
    change = np.abs(np.subtract(a, b, where=a != b, out=np.zeros_like(a)))
    return float(change.max()), float(np.abs(a).max(where=np.isfinite(a), initial=0.0))


def _check_same_program(first: ClosedJaxpr, second: ClosedJaxpr | None) -> None:
    numbers = [list(_numbers(program)) for program in (first, second) if program is not None]
    pairs = zip(*numbers, strict=False)
    if len({len(found) for found in numbers}) > 1 or not all(_equal(a, b) for a, b in pairs):
        raise ValueError(
            "the policy computes another function at the second call, so it is random or keeps "
            f"state; {_REMEDY}"
        )


def _numbers(program: ClosedJaxpr) -> Iterator[Any]:
    """All constants of a program."""
    yield from program.consts
    yield from _literals(program.jaxpr)


def _literals(program: Jaxpr) -> Iterator[Any]:
    for equation in program.eqns:
        yield from (v.val for v in equation.invars if isinstance(v, Literal))
        for inner in programs_in(equation):
            yield from _literals(inner)


def _equal(first: Any, second: Any) -> bool:
    if first is second or is_traced(first) or is_traced(second):
        return first is second
    if jnp.issubdtype(getattr(first, "dtype", type(first)), jax.dtypes.prng_key):
        first, second = jax.random.key_data(first), jax.random.key_data(second)
    return np.array_equal(first, second)


def _known(policy: Policy) -> bool:
    reference = _seen.get(id(policy))
    return reference is not None and reference() is policy


def _remember(policy: Policy) -> None:
    key = id(policy)
    try:
        _seen[key] = weakref.ref(policy, lambda _: _seen.pop(key, None))
    except TypeError:  # the policy does not allow weak references
        return
