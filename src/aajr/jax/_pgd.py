"""Projected gradient ascent."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from aajr import _shared
from aajr.jax._adversary import Adversary, warn_if_masked
from aajr.jax._ball import Ball
from aajr.jax._checks import check_callable, check_instance, is_traced
from aajr.jax._evaluation import curvature_at, loss_and_gradient, loss_at
from aajr.jax._functions import Policy
from aajr.jax._objectives import Divergence, checked_loss
from aajr.jax._pytree import pytree
from aajr.jax._record import Best, Visit, every_visit, higher, highest, last_visit
from aajr.jax._rows import in_parts, row_bound
from aajr.jax._step_rules import STEP_RULES, Arc, Passes
from aajr.jax._trajectory import Objective, Reference, Trajectory


@pytree("ball", "step_size")
@_shared.documented
@dataclass(frozen=True, eq=False)
class ProjectedGradientAscent(_shared.ProjectedGradientAscent, Adversary):
    """The random start is uniform in the ball. The steps are one ``lax.scan``.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> objective = lambda output, reference: output.sum(1)
        >>> pgd = ProjectedGradientAscent(Ball("linf", 0.5), objective, random_start=False)
        >>> pgd(jnp.tanh, jnp.zeros((1, 2)), jax.random.key(0)).worst
        Array([[0.5, 0.5]], dtype=float32)
    """

    ball: Ball
    objective: Objective = field(default_factory=Divergence)
    step_size: float | Array | None = None

    def __post_init__(self) -> None:
        check_instance("ball", self.ball, Ball, "a Ball of aajr.jax")
        check_callable("objective", self.objective, "a map (output, reference) to losses [batch]")
        super().__post_init__()

    def draw(self, x: Array, key: Array) -> Array:
        """The first perturbation of every search, ``[restarts, batch, *event]``."""
        if not self.random_start:
            return jnp.zeros((1, *x.shape), x.dtype)
        keys = jax.random.split(key, self.restarts)
        return jnp.stack([self.ball.sample(x, one) for one in keys])

    def run(self, policy: Policy, reference: Reference, draws: Array) -> Trajectory:
        """Ascend once from every start; keep, per sample, the search with the highest loss."""

        def harder(best: Trajectory, start: Array) -> tuple[Trajectory, None]:
            return _higher_loss(best, self._ascend(policy, reference, start)), None

        if len(reference.inputs) > row_bound():  # data is known here, but traced in parts
            jax.eval_shape(lambda u: checked_loss(self.objective, u, reference), reference.outputs)
        result = self._ascend(policy, reference, draws[0])
        if len(draws) > 1:
            result, _ = lax.scan(harder, result, draws[1:])
        warn_if_masked(result, self.ball.epsilon)
        return result

    def _ascend(self, policy: Policy, reference: Reference, start: Array) -> Trajectory:
        x, allowed = reference.inputs, self.ball.attackable(reference.inputs)

        def step(delta: Array) -> tuple[Array, Visit]:
            point = self.ball.perturbed(x, delta)
            loss, gradient, output = loss_and_gradient(
                policy, self.objective, point, reference, self.keep_outputs
            )
            gradient = gradient * allowed
            after, passes = self._step(policy, reference, delta, gradient, loss)
            return after, Visit(point, gradient, loss, output, passes)

        walk = every_visit if self.record == "trajectory" else last_visit
        delta, seen, best = walk(step, lax.stop_gradient(start), self.steps)
        last = self.ball.perturbed(x, delta)
        return self._recorded(policy, reference, last, seen, best)

    def _step(
        self, policy: Policy, reference: Reference, delta: Array, gradient: Array, loss: Array
    ) -> tuple[Array, Passes]:
        x, objective = reference.inputs, self.objective

        def score(candidate: Array) -> Array:
            return loss_at(policy, objective, self.ball.perturbed(x, candidate), reference)

        def curvature(d: Array) -> Array:
            return curvature_at(policy, objective, self.ball.perturbed(x, delta), d, reference)

        arc = Arc(
            delta=delta,
            gradient=gradient,
            direction=self._direction(gradient),
            loss=loss,
            project=lambda candidate: self._project(candidate, x),
            score=score,
            curvature=curvature,
            size=lambda v: self.ball.size(v)[(...,) + (None,) * self.ball.budget_dims],
        )
        return STEP_RULES[self.step_rule](arc, self._step_size)

    def _recorded(
        self, policy: Policy, reference: Reference, last: Array, seen: Visit, best: Best | None
    ) -> Trajectory:
        losses, outputs, scored = seen.loss, seen.output, self.select == "best" or self.keep_outputs
        if scored:
            score = loss_at(policy, self.objective, last, reference)
            if best is not None:
                last, score = higher(best, (last, score))
            losses = jnp.concatenate([losses, score[None]])
        if outputs is not None:
            after = in_parts(lambda part: policy(part(last)), len(last))
            outputs = jnp.concatenate([outputs, after[None]])
        points = jnp.concatenate([seen.point, last[None]])
        points, gradients, losses = lax.stop_gradient((points, seen.gradient, losses))
        whole = self.select == "best" and best is None
        return Trajectory(
            reference=reference,
            points=points,
            gradients=gradients,
            losses=losses,
            worst=highest(points, losses) if whole else points[-1],
            event_dims=self.ball.budget_dims,
            forward_passes=1 + self.steps + scored + jnp.sum(seen.passes.forward),
            backward_passes=self.steps,
            curvature_passes=jnp.sum(seen.passes.curvature),
            outputs=outputs,
        )

    def _project(self, delta: Array, x: Array) -> Array:
        if self.step_direction == "steepest":
            return self.ball.project_scaled(delta, x)
        return self.ball.project(delta, x)

    def _direction(self, gradient: Array) -> Array:
        if self.step_direction == "raw":
            return gradient
        norm = self.ball.norm if self.step_direction == "steepest" else "linf"
        return replace(self.ball, norm=norm).steepest(gradient)


def fgsm(ball: Ball, objective: Objective) -> ProjectedGradientAscent:
    """The fast gradient (sign) method: one steepest step of size ε from the clean input.

    δ = ε s·sign(g) on linf and ε s²g/‖sg‖₂ on l2, with g the gradient at δ = 0. The gradient of a
    divergence is zero there, so give another objective.

    Args:
        ball: the threat set.
        objective: ℓ, (output, reference) to losses ``[batch]``.

    Returns:
        Projected gradient ascent of one step.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> attack = fgsm(Ball("linf", 0.5), lambda output, reference: output.sum(1))
        >>> attack(jnp.tanh, jnp.zeros((1, 2)), jax.random.key(0)).worst
        Array([[0.5, 0.5]], dtype=float32)

    Source: Goodfellow et al., Explaining and harnessing adversarial examples, 2015,
    https://arxiv.org/abs/1412.6572.
    """
    known_zero = not is_traced(ball.epsilon) and ball.epsilon == 0
    size = None if known_zero else ball.epsilon
    return ProjectedGradientAscent(ball, objective, steps=1, step_size=size, random_start=False)


def _higher_loss(first: Trajectory, second: Trajectory) -> Trajectory:
    """Per sample, the trajectory that reached the higher loss; passes add up."""
    better = second.losses.max(0) > first.losses.max(0)

    def choose(new: Array, old: Array, batch_dim: int) -> Array:
        shape = [1] * old.ndim
        shape[batch_dim] = -1
        return jnp.where(better.reshape(shape), new, old)

    outputs = None
    if first.outputs is not None and second.outputs is not None:
        outputs = choose(second.outputs, first.outputs, 1)
    return replace(
        first,
        points=choose(second.points, first.points, 1),
        gradients=choose(second.gradients, first.gradients, 1),
        losses=choose(second.losses, first.losses, 1),
        worst=choose(second.worst, first.worst, 0),
        forward_passes=first.forward_passes + second.forward_passes - 1,
        backward_passes=first.backward_passes + second.backward_passes,
        curvature_passes=first.curvature_passes + second.curvature_passes,
        outputs=outputs,
    )


def with_epsilon(adversary: Adversary, epsilon: float | Array) -> Adversary:
    """The same search within another radius; a given ``step_size`` is scaled by the same factor.

    Args:
        adversary: any of :mod:`aajr.jax`.
        epsilon: the radius, under jit an array ``[]``.

    Returns:
        A new adversary.

    Raises:
        ValueError: a negative radius, outside jit.

    Example:
        >>> half = with_epsilon(ProjectedGradientAscent(Ball("linf", 0.25), step_size=0.5), 0.125)
        >>> half.ball.epsilon, float(half.step_size)
        (0.125, 0.25)
    """
    known: Any = adversary
    inner = getattr(adversary, "adversary", None)
    if isinstance(inner, Adversary):
        return replace(known, adversary=with_epsilon(inner, epsilon))
    moved = replace(known, ball=adversary.ball.with_epsilon(epsilon))
    step = getattr(adversary, "step_size", None)
    if step is None:
        return moved
    own = adversary.ball.epsilon
    follows = jnp.logical_and(jnp.asarray(epsilon) > 0, jnp.asarray(own) > 0)
    scaled = epsilon * (step / jnp.where(follows, own, 1.0))
    return replace(moved, step_size=jnp.where(follows, scaled, step))
