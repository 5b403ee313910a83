"""Policy, adversary and penalty in one loss with named parts, a function of an explicit state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from aajr._shared import Placement as Placement
from aajr._shared import check_placement, placed_loss
from aajr.jax._adversary import Adversary
from aajr.jax._checks import (
    check_batch,
    check_callable,
    check_data,
    check_finite,
    check_instance,
    check_key,
    check_number,
    is_array,
)
from aajr.jax._directional import directional_derivative
from aajr.jax._functions import Policy, draw_rows, limits, wide
from aajr.jax._metrics import Euclidean, Metric
from aajr.jax._norms import frobenius_squared, spectral_squared
from aajr.jax._penalty import Penalty
from aajr.jax._pgd import with_epsilon
from aajr.jax._pytree import pytree
from aajr.jax._running_mean import RunningMean
from aajr.jax._trajectory import Trajectory, check_trajectory


@pytree("update", "key", "gradient_scale")
@dataclass(frozen=True, eq=False)
class MinimaxState:
    """Everything that a :class:`Minimax` needs to continue exactly.

    Attributes:
        update: number of the next update, an integer ``[]``.
        key: source of all further randomness.
        gradient_scale: the penalty's running mean of ‖g‖², NaN if it keeps none, ``[]``.
    """

    update: Array
    key: Array
    gradient_scale: Array


@pytree("total", "task", "penalty", "trajectory", "diagnostics", "state")
@dataclass(frozen=True, eq=False)
class RobustLoss:
    """What :class:`Minimax` returns.

    Attributes:
        total: task + λ · penalty, the scalar to differentiate.
        task: the task loss at the points of the placement.
        penalty: the penalty before λ.
        trajectory: what the adversary did.
        diagnostics: named numbers: inner gradient norms, passes and λ.
        state: for the next update.
    """

    total: Array
    task: Array
    penalty: Array
    trajectory: Trajectory
    diagnostics: dict[str, Array]
    state: MinimaxState


@pytree("adversary", "penalty")
@dataclass(frozen=True, eq=False)
class Minimax:
    r"""min_θ E max_δ ℓ with a penalty: the loss that connects a training loop to this library.

    .. math:: L(\theta) = L_\text{task}(\pi_\theta(x + \delta^*)) + \lambda R(\theta)

    Attributes:
        adversary: the inner maximisation.
        penalty: the sensitivity to penalise; None for adversarial training alone.
        weight: λ, a number or a schedule of the update, for instance ``optax.linear_schedule``.
        placement: where the task loss is taken: at x + δ* (``adversarial``), at x (``clean``), or
            the mean of both (``mixed``).
        attack_fraction: share of the rows that are attacked, drawn anew at every update. Below 1
            it needs ``clean``, where only the penalty uses the attack; the ``fraction`` of the
            penalty is then a share of these rows.
        epsilon: ε that replaces the ball's, a number or a schedule of the update; see
            :func:`aajr.jax.with_epsilon`.

    Raises:
        ValueError: a negative weight or radius, an unknown placement.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from aajr.jax import AAJR, Ball, ProjectedGradientAscent
        >>> robust = Minimax(ProjectedGradientAscent(Ball("linf", 0.1)), AAJR())
        >>> state, x = robust.init(jax.random.key(0)), jnp.ones((8, 3))
        >>> def loss(weight):
        ...     result = robust(lambda x: x @ weight, x, lambda out: (out**2).mean(), state=state)
        ...     return result.total, result.state
        >>> gradient, state = jax.grad(loss, has_aux=True)(jnp.ones((3, 2)))
        >>> gradient.shape, int(state.update)
        ((3, 2), 1)
    """

    adversary: Adversary
    penalty: Penalty | None = None
    weight: float | Callable[[Array], Any] = 1.0
    placement: Placement = "adversarial"
    attack_fraction: float = 1.0
    epsilon: float | Callable[[Array], Any] | None = None

    def __post_init__(self) -> None:
        remedy = "an adversary of aajr.jax, for instance ProjectedGradientAscent(ball)"
        check_instance("adversary", self.adversary, Adversary, remedy)
        if self.penalty is not None:
            remedy = "a penalty of aajr.jax, for instance AAJR(), or None"
            check_instance("penalty", self.penalty, Penalty, remedy)
        check_placement(self.placement, self.attack_fraction)
        if not callable(self.weight):
            check_number("weight", self.weight)
        if self.epsilon is not None and not callable(self.epsilon):
            check_number("epsilon", self.epsilon)

    def init(self, key: Array) -> MinimaxState:
        """The state before the first update."""
        check_key(key)
        scale = self._gradient_scale()
        value = jnp.nan if scale is None else scale.value
        return MinimaxState(jnp.zeros((), int), key, jnp.asarray(value, float))

    def __call__(
        self,
        policy: Policy,
        x: Array,
        task: Callable[[Array], Array],
        data: Mapping[str, Array] | None = None,
        *,
        state: MinimaxState,
    ) -> RobustLoss:
        """One update's loss.

        Args:
            policy: map from ``[batch, *event]`` to ``[batch, *output]`` that closes over the
                parameters to differentiate.
            x: clean inputs, ``[batch, *event]``.
            task: map from the policy's output to a scalar loss.
            data: arrays with one row per sample that the adversary's objective reads.
            state: from :meth:`init` or the previous update.

        Returns:
            The loss; differentiate ``total`` and keep ``state``.

        Raises:
            ValueError: bad input, see :class:`Adversary`; a loss that is not a scalar; outside jit
                also a loss that is NaN or infinite, and a schedule that gives a negative weight.
        """
        check_batch("x", x)
        check_instance("state", state, MinimaxState, "Minimax.init(key) or the state before")
        check_callable("task", task, "a map from the policy's output to a scalar loss")
        data = check_data(data, x)
        keys = jax.random.split(state.key, 4)
        attacked, attacked_data = self._attacked_rows(x, data, keys[1])
        trajectory = self._attack(state)(policy, attacked, keys[2], attacked_data)
        placed = placed_loss(self.placement, policy, x, trajectory.worst, task)
        task_loss = _checked("task", placed)
        penalty, scale = self._penalty(policy, trajectory, keys[3], state)
        weight = self.weight(state.update) if callable(self.weight) else self.weight
        check_number("weight", weight)
        return RobustLoss(
            total=task_loss + weight * penalty,
            task=task_loss,
            penalty=penalty,
            trajectory=trajectory,
            diagnostics=_diagnostics(trajectory) | {"weight": jnp.asarray(weight)},
            state=MinimaxState(state.update + 1, keys[0], scale),
        )

    def _attack(self, state: MinimaxState) -> Adversary:
        if self.epsilon is None:
            return self.adversary
        epsilon = self.epsilon(state.update) if callable(self.epsilon) else self.epsilon
        return with_epsilon(self.adversary, epsilon)

    def _penalty(
        self, policy: Policy, trajectory: Trajectory, key: Array, state: MinimaxState
    ) -> tuple[Array, Array]:
        """The penalty, and its running mean after this update."""
        if self.penalty is None:
            return jnp.zeros((), wide(trajectory.points).dtype), state.gradient_scale
        penalty, scale = self.penalty, self._gradient_scale()
        if scale is None:
            value = penalty(policy, trajectory, key, state.update)
            return _checked("penalty", value), state.gradient_scale
        known: Any = penalty
        penalty = replace(known, gradient_scale=replace(scale, value=state.gradient_scale))
        value = _checked("penalty", penalty(policy, trajectory, key, state.update))
        observed: Any = penalty.observe(trajectory)
        acts = state.update % penalty.interval == 0
        after = jnp.where(acts, observed.gradient_scale.value, state.gradient_scale)
        return value, after

    def _gradient_scale(self) -> RunningMean | None:
        return getattr(self.penalty, "gradient_scale", None)

    def _attacked_rows(
        self, x: Array, data: Mapping[str, Array], key: Array
    ) -> tuple[Array, Mapping[str, Array]]:
        if self.attack_fraction == 1:
            return x, data
        rows = draw_rows(key, x.shape[0], self.attack_fraction)
        return x[rows], {name: value[rows] for name, value in data.items()}


def diagnose(
    policy: Policy,
    trajectory: Trajectory,
    key: Array,
    *,
    metric: Metric | None = None,
    projections: int = 8,
    mask: Array | None = None,
) -> dict[str, Array]:
    """How much of the Jacobian lies along the attack, to see whether alignment can matter.

    Args:
        policy: map from ``[batch, *event]`` to ``[batch, *output]``.
        trajectory: what the adversary did; the Jacobian is taken at its last attacked point.
        key: source of the random projections.
        metric: geometry of the output; Euclidean by default.
        projections: random projections for ‖J‖²_F.
        mask: True for input features to count in ‖J‖_F and ‖J‖₂; all by default.

    Returns:
        Means over the batch: ``aligned`` ‖J v‖² for v = g/‖g‖; ``frobenius`` ‖J‖²_F;
        ``spectral`` ‖J‖₂²; ``alignment`` the ratio ‖Jv‖²/‖J‖²_F; ``stable_rank`` ‖J‖²_F/‖J‖₂².
        At a stable rank below about 2, a directional penalty cannot differ much from a global one.
        Power iteration gives a lower bound of ‖J‖₂, so the stable rank is an upper bound.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from aajr.jax import Ball, ProjectedGradientAscent
        >>> policy, key = lambda x: x * jnp.array([2.0, 1.0]), jax.random.key(0)
        >>> first = lambda output, reference: output[:, 0]
        >>> attack = ProjectedGradientAscent(Ball("l2", 0.1), first)
        >>> result = diagnose(policy, attack(policy, jnp.ones((64, 2)), key), key)
        >>> round(result["aligned"].item()), round(result["spectral"].item())
        (4, 4)
    """
    check_trajectory(trajectory)
    metric = metric or Euclidean()
    x, v = trajectory.points[-2], trajectory.unit(trajectory.gradients[-1])
    first, second = jax.random.split(key)
    aligned = metric.squared_norm(*directional_derivative(policy, x, v)).mean()
    frobenius = frobenius_squared(
        policy, x, first, metric=metric, projections=projections, mask=mask
    ).mean()
    spectral = spectral_squared(policy, x, second, metric=metric, mask=mask).mean()
    tiny = limits(x).tiny
    return {
        "aligned": aligned,
        "frobenius": frobenius,
        "spectral": spectral,
        "alignment": aligned / jnp.maximum(frobenius, tiny),
        "stable_rank": frobenius / jnp.maximum(spectral, tiny),
    }


def _diagnostics(trajectory: Trajectory) -> dict[str, Array]:
    gradients = wide(trajectory.gradients)
    norms = jnp.sqrt(jnp.square(gradients).sum(tuple(range(2, gradients.ndim))))
    return {
        "inner_gradient_norm_mean": norms.mean(),
        "inner_gradient_norm_max": norms.max(),
        "forward_passes": jnp.asarray(trajectory.forward_passes),
        "backward_passes": jnp.asarray(trajectory.backward_passes),
        "curvature_passes": jnp.asarray(trajectory.curvature_passes),
    }


def _checked(name: str, value: Array) -> Array:
    if not is_array(value):
        raise ValueError(f"the {name} loss is a {type(value).__name__}; return a scalar array")
    if value.ndim != 0:
        raise ValueError(f"the {name} loss has shape {value.shape}; reduce it to a scalar")
    check_finite(f"the {name} loss", value)
    return value
