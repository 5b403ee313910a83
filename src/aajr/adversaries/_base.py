"""The base of every adversary: checks before its search, proof of the budget after it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from aajr._checks import all_finite, check_differentiable, check_generator, check_promise
from aajr._inspection import evaluated, inspected
from aajr._modes import Policy, evaluating
from aajr._modules import versions
from aajr.adversaries._evaluation import in_parts, row_bound
from aajr.adversaries._reach import Watched, reached
from aajr.geometry import ThreatSet
from aajr.trajectory import MEMORY, Objective, Reference, Trajectory


class Adversary(ABC):
    """Searches a ball for the perturbation that maximises its objective.

    A subclass writes :meth:`run` and sets its objective, if it has one. The final call checks the
    input, sets evaluation mode, leaves the parameters' gradients untouched, and checks that every
    point lies in the ball and that the perturbation reached the policy.

    Attributes:
        ball: the threat set.
        objective: ℓ, what it maximises, if anything.
        needs: names of the data it requires; attacks over an episode read ``time`` ``[batch]``,
            ``previous`` and ``history``.
    """

    ball: ThreatSet
    objective: Objective | None = None
    needs: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def run(self, policy: Policy, reference: Reference, generator: torch.Generator) -> Trajectory:
        """Search around ``reference.inputs``; the policy is in evaluation mode."""

    @final
    def __call__(
        self,
        policy: Policy,
        x: Tensor,
        generator: torch.Generator,
        data: Mapping[str, Tensor] | None = None,
    ) -> Trajectory:
        """Attack the policy at x.

        Args:
            policy: map from ``[batch, *event]`` to ``[batch, *output]``, independent between rows.
                If its ``remembers`` is True it also takes ``data["memory"]`` of these rows.
            x: clean inputs, ``[batch, *event]``.
            generator: source of all randomness, on x's device.
            data: tensors with one row per sample that the objective reads.

        Returns:
            The trajectory; its points are inside the ball.

        Raises:
            ValueError: NaN, wrong shape, dtype or device, an empty batch, a policy that is
                detached, draws noise or keeps state, a generator on another device, data that the
                adversary needs and did not get, a call inside ``torch.func`` or inference mode.
            ContractError: a subclass returned a point outside the ball, or a perturbation that did
                not reach the policy.
        """
        self.ball.check(x)
        check_differentiable(x)
        check_generator(generator, x)
        x, data = x.detach(), dict(data or {})
        _check_data(data, x, self.needs)
        with evaluating(policy) as modules:
            clean, watched = _CleanPass(policy, x, data, modules), Watched(policy, x)
            reference = Reference.deferred(x, clean, data)
            if clean.must_evaluate_now:
                _ = reference.outputs
            trajectory = self.run(watched, reference, generator)
        clean.attacking = False
        if not watched.called:
            _check_output(reference.outputs, x)
        if not reference.evaluated:
            trajectory = replace(trajectory, forward_passes=trajectory.forward_passes - 1)
        name = type(self).__name__
        check_promise(self._inside(trajectory), f"{name} returned a point outside its ball")
        check_promise(
            reached(watched, trajectory), f"the perturbation of {name} did not reach the policy"
        )
        return trajectory

    def _inside(self, trajectory: Trajectory) -> bool:
        x, points, worst = trajectory.origin, trajectory.points, trajectory.worst
        allowed = (1 + 1e-3) * self.ball.epsilon
        parts = [*torch.split(points, max(1, row_bound() // x.numel()))]
        if worst.data_ptr() != points[-1].data_ptr():
            parts.append(worst)
        if points.dtype.itemsize < 4:
            x = x.float()
        near = (self.ball.size(part.to(x) - x) for part in parts)
        if all(size.amax().item() <= allowed for size in near):
            return True
        # x + δ - x is rounded by an ulp of x, which a small scale magnifies
        points = torch.cat([points, worst.unsqueeze(0)]).to(x)
        ulps = 4 * torch.finfo(trajectory.origin.dtype).eps * (x.abs() + (points - x).abs())
        return bool((self.ball.size(points - x) <= allowed + self.ball.size(ulps)).all())


class _CleanPass:
    """π(x), evaluated when it is first read; an error if the parameters have changed by then.

    Args:
        policy: the victim, in evaluation mode.
        x: clean inputs, ``[batch, *event]``.
        data: may hold the memory of a policy that remembers.
        modules: all modules of the policy.

    Attributes:
        attacking: whether the attack still runs; meanwhile the policy is in evaluation mode.
        must_evaluate_now: whether π(x) must be evaluated before the attack, because a later
            evaluation may differ without an error: the modules have no tensors with version
            counters, or autocast is on.
    """

    def __init__(
        self, policy: Policy, x: Tensor, data: Mapping[str, Tensor], modules: list[nn.Module]
    ) -> None:
        self.policy, self.x, self.modules, self.attacking = policy, x, modules, True
        self.memory = data[MEMORY] if getattr(policy, "remembers", False) else None
        _, known = inspected(self._bound(slice(row_bound())), x[: row_bound()])
        self.known = None if len(x) > row_bound() else known  # only some rows were evaluated
        if self.known is not None:
            _check_output(self.known, x)
        self.before = versions(modules)
        self.must_evaluate_now = self.before is None or torch.is_autocast_enabled(x.device.type)

    def __call__(self) -> Tensor:
        """π(x), ``[batch, *output]``."""
        if self.known is not None:
            return self.known
        if self.attacking:
            return self._evaluate()
        if versions(self.modules) != self.before:
            raise ValueError(
                "the policy's parameters have changed since the attack, so that its clean outputs "
                "are gone; read trajectory.reference.outputs before the optimiser's step"
            )
        with evaluating(self.policy):
            return self._evaluate()

    def _bound(self, rows: slice) -> Policy:
        """The policy, with the memory of some rows if it has one."""
        if self.memory is None:
            return self.policy
        with_memory: Callable[..., Tensor] = self.policy
        memory = self.memory[rows]
        return lambda x: with_memory(x, memory)

    @torch.no_grad()
    def _evaluate(self) -> Tensor:
        outputs = in_parts(lambda rows: evaluated(self._bound(rows), self.x[rows]), len(self.x))
        _check_output(outputs, self.x)
        return outputs


def _check_data(data: Mapping[str, Tensor], x: Tensor, needs: tuple[str, ...]) -> None:
    for name, value in data.items():
        if not isinstance(value, Tensor):
            raise ValueError(
                f"data[{name!r}] is a {type(value).__name__}; give a tensor with one row per sample"
            )
        if value.shape[:1] != x.shape[:1]:
            raise ValueError(
                f"data[{name!r}] has shape {tuple(value.shape)}; its first dimension must be "
                f"the batch, {x.shape[0]}"
            )
    for name in needs:
        if name not in data:
            known = ", ".join(sorted(data)) or "nothing"
            raise ValueError(
                f"the adversary needs data[{name!r}] but data holds {known}; pass "
                f"data={{{name!r}: tensor with one row per sample}}"
            )


def _check_output(output: Tensor, x: Tensor) -> None:
    if not isinstance(output, Tensor):
        raise ValueError(
            f"the policy returned a {type(output).__name__}; wrap it to return one tensor of "
            "means, logits or distribution parameters"
        )
    if output.shape[:1] != x.shape[:1] or output.ndim < 2:
        raise ValueError(
            f"the policy maps x {tuple(x.shape)} to {tuple(output.shape)}; "
            "it must keep the batch first and return [batch, ..., outputs]"
        )
    if not all_finite(output):
        _check_masked(output)


def _check_masked(output: Tensor) -> None:
    """Raise ValueError if an output is NaN or +inf, or if a whole row is -inf.

    -inf masks an action; at least one action must be allowed.
    """
    finite = output.isfinite()
    if not (finite | (output == -torch.inf)).all():
        raise ValueError(
            "the policy's output holds NaN or infinite values; check its parameters. Only -inf is "
            "allowed, as the logit of a masked action"
        )
    if not finite.any(-1).all():
        raise ValueError(
            "the policy's output is -inf everywhere in some row, which masks every action; allow "
            "at least one"
        )
