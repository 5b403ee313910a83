"""Bounds of a policy's output over a box, by interval propagation through its trace.

SA-PPO and RADIAL penalise what an adversary *could* do by such a bound, where an attack shows what
one search found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import ClosedJaxpr, Literal

from aajr.jax._adversary import Adversary
from aajr.jax._ball import Ball
from aajr.jax._functions import Policy, limits
from aajr.jax._metrics import DiagonalGaussian, Metric
from aajr.jax._penalty import Penalty
from aajr.jax._pytree import pytree
from aajr.jax._trajectory import Reference, Trajectory


class Interval(NamedTuple):
    """Least and greatest values, of the same shape."""

    low: Array
    high: Array


def bounds(policy: Policy, low: Array, high: Array) -> Interval:
    """Bounds of a policy's output over all inputs between two points, up to rounding.

    Every operation of the policy's trace is applied to intervals: sums and products by sign, maps
    by a matrix by its absolute values, increasing functions at both ends. The bounds hold for every
    input; they are not tight.

    Args:
        policy: map from ``[batch, *event]`` to ``[batch, *output]``.
        low: least inputs, ``[batch, *event]``.
        high: greatest inputs, of the same shape.

    Raises:
        ValueError: the policy has an operation that is neither of these nor moves numbers alone.

    Example:
        >>> import jax.numpy as jnp
        >>> found = bounds(lambda x: jnp.tanh(x @ jnp.array([[1.0], [-1.0]])), -jnp.ones((1, 2)),
        ...     jnp.ones((1, 2)))
        >>> [round(float(end[0, 0]), 3) for end in found]
        [-0.964, 0.964]

    Source: Gowal et al., 2018, https://arxiv.org/abs/1810.12715.
    """
    trace = jax.make_jaxpr(policy)(low)
    (found,) = _through(trace, trace.consts, [Interval(low, high)])
    return found if isinstance(found, Interval) else Interval(found, found)


@pytree("ball")
@dataclass(frozen=True, eq=False)
class Corner(Adversary):
    """The point x + ε s of an L∞ ball; it shows a penalty how far the ball reaches.

    Attributes:
        ball: the threat set.

    Raises:
        ValueError: an l2 ball.
    """

    ball: Ball

    def __post_init__(self) -> None:
        if self.ball.norm != "linf":
            raise ValueError(f"ball.norm={self.ball.norm!r} has no corner; use 'linf'")

    def draw(self, x: Array, key: Array) -> Array:
        """Nothing is random."""
        return jnp.zeros(())

    def run(self, policy: Policy, reference: Reference, draws: Array) -> Trajectory:
        """Go to the corner."""
        x = reference.inputs
        step = self.ball.project(jnp.full_like(x, limits(x).max / 4), x)
        worst = self.ball.perturbed(x, step)
        return Trajectory(
            reference=reference,
            points=jnp.stack([x, worst]),
            gradients=step[None],
            losses=jnp.zeros((1, x.shape[0]), x.dtype),
            worst=worst,
            event_dims=self.ball.budget_dims,
            forward_passes=1,
        )


@pytree()
@dataclass(frozen=True, eq=False, kw_only=True)
class BoundedDivergence(Penalty):
    """An upper bound of the greatest KL(π(x) ‖ π(x + δ)) in the box that :class:`Corner` shows.

    The policy is a diagonal Gaussian; its outputs are bounded by :func:`bounds`.

    Raises:
        ValueError: another metric than the diagonal Gaussian's.

    Source: Zhang et al., 2020, https://arxiv.org/abs/2003.08938, there with CROWN's tighter bounds;
    Oikarinen et al., RADIAL-RL, 2021, https://arxiv.org/abs/2008.01976, for interval bounds.
    """

    metric: Metric = DiagonalGaussian()  # noqa: RUF009

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.metric, DiagonalGaussian):
            raise ValueError(
                f"metric={self.metric!r} is not bounded; use the default, DiagonalGaussian()"
            )

    def per_sample(
        self, policy: Policy, trajectory: Trajectory, draws: Array | None = None
    ) -> Array:
        """The bound for every sample, ``[batch]``."""
        x = trajectory.origin
        reach = jnp.abs(trajectory.worst - x)
        found, clean = bounds(policy, x - reach, x + reach), policy(x)
        mean, log_std = jnp.split(clean, 2, -1)
        ends = [jnp.split(end, 2, -1) for end in found]
        far = jnp.maximum(*(jnp.abs(end[0] - mean) for end in ends))
        # convex in the attacked log σ, so greatest at one of its ends
        terms = [
            other - log_std + (jnp.exp(2 * log_std) + jnp.square(far)) / (2 * jnp.exp(2 * other))
            for _, other in ends
        ]
        return (jnp.maximum(*terms) - 0.5).sum(-1)


Value = Array | Interval
Rule = Callable[..., Value]


def _through(trace: ClosedJaxpr, consts: Any, inputs: list[Value]) -> list[Value]:
    """The outputs of a trace for constants and intervals."""
    known: dict[Any, Value] = dict(zip(trace.jaxpr.constvars, consts, strict=True))
    known |= dict(zip(trace.jaxpr.invars, inputs, strict=True))

    def read(atom: Any) -> Value:
        return jnp.asarray(atom.val) if isinstance(atom, Literal) else known[atom]

    for step in trace.jaxpr.eqns:
        found = _applied(step, [read(atom) for atom in step.invars])
        known |= dict(zip(step.outvars, found, strict=True))
    return [read(atom) for atom in trace.jaxpr.outvars]


def _applied(step: Any, inputs: list[Value]) -> list[Value]:
    name, settings = step.primitive.name, step.params
    inner = settings.get("jaxpr") or settings.get("call_jaxpr")
    if isinstance(inner, ClosedJaxpr):
        return _through(inner, inner.consts, inputs)
    subject = step.primitive.bind

    def apply(*values: Array) -> Array:
        found: Array = subject(*values, **settings)
        return found

    if not any(isinstance(value, Interval) for value in inputs):
        found = subject(*inputs, **settings)
        return list(found) if step.primitive.multiple_results else [found]
    if name in _INCREASING:
        return [Interval(*(apply(*ends) for ends in zip(*map(_ends, inputs), strict=True)))]
    if name in _RULES:
        return [_RULES[name](apply, *inputs)]
    raise ValueError(
        f"the policy has the operation {name!r}, through which no bounds are known; use one of "
        f"{', '.join(sorted([*_INCREASING, *_RULES]))}"
    )


def _ends(value: Value) -> Interval:
    return value if isinstance(value, Interval) else Interval(value, value)


def _decreasing(apply: Callable[..., Array], value: Value) -> Interval:
    low, high = _ends(value)
    return Interval(apply(high), apply(low))


def _difference(apply: Callable[..., Array], first: Value, second: Value) -> Interval:
    (a, b), (c, d) = _ends(first), _ends(second)
    return Interval(apply(a, d), apply(b, c))


def _product(apply: Callable[..., Array], first: Value, second: Value) -> Interval:
    ends = [apply(a, b) for a in _ends(first) for b in _ends(second)]
    stacked = jnp.stack(ends)
    return Interval(stacked.min(0), stacked.max(0))


def _by_matrix(apply: Callable[..., Array], first: Value, second: Value) -> Interval:
    if isinstance(first, Interval):
        if isinstance(second, Interval):
            raise ValueError("the policy multiplies parts of its input; no bounds are known there")
        middle = apply((first.low + first.high) / 2, second)
        reach = apply((first.high - first.low) / 2, jnp.abs(second))
    else:
        low, high = _ends(second)
        middle = apply(first, (low + high) / 2)
        reach = apply(jnp.abs(first), (high - low) / 2)
    return Interval(middle - reach, middle + reach)


_INCREASING = frozenset(
    {
        *("add", "add_any", "max", "min", "tanh", "logistic", "exp", "erf", "reduce_sum", "copy"),
        *("broadcast_in_dim", "concatenate", "convert_element_type", "reshape", "transpose"),
        *("squeeze", "slice", "stop_gradient", "reduce_max", "cbrt", "sqrt", "log", "expand_dims"),
    }
)
"""Operations that rise in all inputs or only move numbers: both ends are mapped alone."""

_RULES: dict[str, Rule] = {
    "neg": _decreasing,
    "sub": _difference,
    "mul": _product,
    "dot_general": _by_matrix,
}
