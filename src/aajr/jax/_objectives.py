"""What an adversary maximises: functions of the policy's output, one loss per sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jax import Array

from aajr.jax._ball import Ball
from aajr.jax._checks import (
    check_count,
    check_key,
    check_number,
    check_same_shape,
    is_array,
    is_traced,
)
from aajr.jax._functions import Policy, row_sum
from aajr.jax._metrics import Euclidean, Metric
from aajr.jax._rows import in_parts
from aajr.jax._trajectory import Objective, Reference


@dataclass(frozen=True)
class Divergence:
    """ℓ(u) = D(π(x), u): KL for a stochastic policy, half the squared change for a plain one.

    It is the maximal action difference (MAD) attack. Its gradient is zero at δ = 0, so it needs
    a random start.

    Attributes:
        metric: geometry of the output; Euclidean by default.

    Example:
        >>> import jax.numpy as jnp
        >>> reference = Reference(jnp.zeros((1, 2)), outputs=jnp.zeros((1, 2)))
        >>> Divergence()(jnp.array([[3.0, 4.0]]), reference)
        Array([12.5], dtype=float32)

    Source: Zhang et al., Robust deep RL against adversarial perturbations on state observations,
    2020, https://arxiv.org/abs/2003.08938.
    """

    metric: Metric = field(default_factory=Euclidean)

    def __call__(self, output: Array, reference: Reference) -> Array:
        """Divergence from the clean output, ``[batch]``."""
        return self.metric.divergence(reference.outputs, output)


@dataclass(frozen=True, eq=False)
class Critic:
    """ℓ(u) = -Q(s, a(u)): push the action towards the least value; the state stays true.

    Attributes:
        value: map (state ``[batch, ...]``, action ``[batch, ...]``) to values ``[batch]``.
        action: map from the policy's output to the action that ``value`` takes, for instance
            softmax probabilities; the output itself by default.
        state: name of the reference's data that holds the state; the clean input by default.

    Example:
        >>> import jax.numpy as jnp
        >>> critic = Critic(lambda state, action: (state * action).sum(1))
        >>> reference = Reference(jnp.ones((1, 2)), outputs=jnp.zeros((1, 2)))
        >>> critic(jnp.array([[3.0, 4.0]]), reference)
        Array([-7.], dtype=float32)

    Source: Pattanaik et al., Robust deep RL with adversarial attacks, 2018,
    https://arxiv.org/abs/1712.03632.
    """

    value: Callable[[Array, Array], Array]
    action: Callable[[Array], Array] | None = None
    state: str | None = None

    def __call__(self, output: Array, reference: Reference) -> Array:
        """Negative value of the attacked action, ``[batch]``."""
        state = reference.inputs if self.state is None else _datum(reference, self.state)
        return -self.value(state, output if self.action is None else self.action(output))


@dataclass(frozen=True, eq=False)
class Surrogate:
    """ℓ(u) = -A log π_u(a): make actions of positive advantage unlikely, and the reverse.

    It reads ``action`` and ``advantage`` from the reference's data.

    Attributes:
        log_prob: map (output, action) to log-probabilities ``[batch]``.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> surrogate = Surrogate(lambda logits, action: jax.nn.log_softmax(logits)[:, action[0]])
        >>> data = {"action": jnp.array([1]), "advantage": jnp.array([2.0])}
        >>> reference = Reference(jnp.ones((1, 2)), jnp.zeros((1, 2)), data)
        >>> round(surrogate(jnp.zeros((1, 2)), reference).item(), 4)
        1.3863

    Source: the policy-gradient surrogate of Williams, 1992, with the sign of the adversary.
    """

    log_prob: Callable[[Array, Array], Array]

    def __call__(self, output: Array, reference: Reference) -> Array:
        """Negative advantage-weighted log-probability, ``[batch]``."""
        log_prob = self.log_prob(output, _datum(reference, "action"))
        return -_datum(reference, "advantage") * log_prob


@dataclass(frozen=True)
class Targeted:
    """ℓ(u) = -D(t, u): lead the policy to the output t, read from the data as ``target``.

    Attributes:
        metric: geometry of the output; Euclidean by default. For categorical heads t are logits.

    Example:
        >>> import jax.numpy as jnp
        >>> data = {"target": jnp.array([[3.0, 4.0]])}
        >>> Targeted()(jnp.zeros((1, 2)), Reference(jnp.ones((1, 2)), jnp.zeros((1, 2)), data))
        Array([-12.5], dtype=float32)

    Source: Lin et al., Tactics of adversarial attack on deep RL agents, 2017,
    https://arxiv.org/abs/1703.06748.
    """

    metric: Metric = field(default_factory=Euclidean)

    def __call__(self, output: Array, reference: Reference) -> Array:
        """Negative divergence from the target, ``[batch]``."""
        target = _datum(reference, "target")
        check_same_shape("data['target']", target, "the policy's output", output)
        return -self.metric.divergence(target, output)


@dataclass(frozen=True)
class LeastValue:
    """ℓ(u) = -Σu: where the attacked map is a value, show what looks worst.

    Example:
        >>> import jax.numpy as jnp
        >>> reference = Reference(jnp.ones((1, 2)), jnp.zeros((1, 1)))
        >>> LeastValue()(jnp.array([[3.0]]), reference)
        Array([-3.], dtype=float32)

    Source: the critic attack of Pattanaik et al., 2018, https://arxiv.org/abs/1712.03632, on V.
    """

    def __call__(self, output: Array, reference: Reference) -> Array:
        """Negative sum of the output, ``[batch]``."""
        return -row_sum(output)


@dataclass(frozen=True, eq=False)
class Mixture:
    """ℓ = (1 - w) a/s_a + w b/s_b of two objectives a and b, each in units of its own scale s.

    Attributes:
        first: a.
        second: b.
        weight: w, from 0 (a alone) to 1 (b alone).
        first_scale: s_a, see :func:`aajr.jax.objective_scale`.
        second_scale: s_b.

    Raises:
        ValueError: a weight outside [0, 1], non-positive scales.

    Example:
        >>> import jax.numpy as jnp
        >>> reference = Reference(jnp.zeros((1, 2)), outputs=jnp.zeros((1, 2)))
        >>> Mixture(LeastValue(), Divergence(), 0.5)(jnp.array([[3.0, 4.0]]), reference)
        Array([2.75], dtype=float32)

    Source: Zhang et al., Robust deep RL against adversarial perturbations on state observations,
    2020, https://arxiv.org/abs/2003.08938.
    """

    first: Objective
    second: Objective
    weight: float
    first_scale: float | Array = 1.0
    second_scale: float | Array = 1.0

    def __post_init__(self) -> None:
        check_number("weight", self.weight, maximum=1.0)
        check_number("first_scale", self.first_scale, exclusive=True)
        check_number("second_scale", self.second_scale, exclusive=True)

    def __call__(self, output: Array, reference: Reference) -> Array:
        """Weighted sum of both losses, ``[batch]``."""
        first = self.first(output, reference) / self.first_scale
        second = self.second(output, reference) / self.second_scale
        return (1 - self.weight) * first + self.weight * second


def objective_scale(
    objective: Objective,
    policy: Policy,
    x: Array,
    ball: Ball,
    key: Array,
    draws: int = 8,
    data: Mapping[str, Array] | None = None,
) -> Array:
    """Root mean square of ℓ(π(x + δ)) - ℓ(π(x)) over uniform δ: the unit of an objective.

    Args:
        objective: ℓ.
        policy: the victim.
        x: clean inputs, ``[batch, *event]``.
        ball: the threat set.
        key: source of the draws.
        draws: per sample.
        data: what the objective reads.

    Returns:
        The scale, for :class:`Mixture`, ``[]``.

    Raises:
        ValueError: an objective that does not change in the ball (outside jit); a count that is
            not positive.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> ball, x = Ball("linf", 3.0), jnp.zeros((1000, 1))
        >>> scale = objective_scale(LeastValue(), lambda x: x, x, ball, jax.random.key(0))
        >>> round(scale.item(), 1)  # 3/√3
        1.7
    """
    check_count("draws", draws)
    check_key(key)
    ball.check(x)
    outputs = in_parts(lambda part: policy(part(x)), len(x))
    reference = Reference(x, outputs, dict(data or {}))
    clean = checked_loss(objective, outputs, reference)

    def squared_change(draw: Array) -> Array:
        points = x + ball.sample(x, draw)
        attacked = in_parts(
            lambda part: checked_loss(objective, policy(part(points)), part(reference)), len(x)
        )
        return jnp.square(attacked - clean)

    changes = jax.lax.map(squared_change, jax.random.split(key, draws))
    scale = jax.lax.stop_gradient(jnp.sqrt(changes.mean()))
    if not is_traced(scale) and scale == 0:
        raise ValueError(
            "the objective does not change in the ball, so it has no scale; use a larger epsilon "
            "or another objective"
        )
    return scale


def checked_loss(objective: Objective, output: Array, reference: Reference) -> Array:
    """ℓ(output), ``[batch]``.

    Raises:
        ValueError: not one loss per sample.
    """
    loss = objective(output, reference)
    expected = reference.inputs.shape[:1]
    if not is_array(loss) or loss.shape != expected:
        kind = loss.shape if is_array(loss) else type(loss).__name__
        raise ValueError(
            f"the objective returned {kind}; it must return one loss per sample, shape {expected}"
        )
    return loss


def _datum(reference: Reference, name: str) -> Array:
    if name not in reference.data:
        known = ", ".join(sorted(reference.data)) or "nothing"
        raise ValueError(
            f"the objective needs data[{name!r}] but data holds {known}; "
            f"pass data={{{name!r}: array with one row per sample}}"
        )
    return reference.data[name]
