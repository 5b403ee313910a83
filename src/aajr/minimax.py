"""Policy + adversary + penalty: one loss with named parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from aajr._checks import check_count, check_number, check_tensor
from aajr._modes import Policy
from aajr._seeds import derive
from aajr._shared import Placement as Placement
from aajr._shared import check_placement, placed_loss
from aajr.adversaries import Adversary, with_epsilon
from aajr.diagnostics import diagnose
from aajr.penalties import AAJR, Penalty
from aajr.schedules import FixedWeight, Schedule, Weight, value_at
from aajr.trajectory import Trajectory


@dataclass(frozen=True, eq=False)
class RobustLoss:
    """The loss that :class:`Minimax` returns, with its parts.

    Attributes:
        total: task + λ · penalty, a scalar to call ``backward`` on.
        task: the task loss at the points of the placement.
        penalty: the penalty before λ.
        trajectory: what the adversary did.
        diagnostics: named numbers; see :func:`diagnose`, with λ, passes and gradient norms.
    """

    total: Tensor
    task: Tensor
    penalty: Tensor
    trajectory: Trajectory
    diagnostics: dict[str, float]


class Minimax:
    r"""min_θ E max_δ ℓ with a penalty: the plug between a training loop and this library.

    .. math:: L(\theta) = L_\text{task}(\pi_\theta(x + \delta^*)) + \lambda R(\theta)

    Args:
        adversary: the inner maximisation.
        penalty: the sensitivity penalty; None for adversarial training alone.
        weight: λ, a number, a schedule of the update, or a :class:`aajr.schedules.Weight`, as
            :class:`aajr.DualAscent` for a constraint ‖Jv‖ ≤ γ instead of a λ.
        placement: where the task loss is taken: at x + δ* (``adversarial``), at x (``clean``), or
            the mean of both (``mixed``).
        attack_fraction: share of the rows that are attacked, drawn anew at every update. A share
            below 1 needs the placement ``clean``, where only the penalty uses the attack; the
            penalty's own fraction is then a share of the attacked rows.
        seed: seed of all randomness of the adversary, the penalty and the diagnostics.
        diagnostics_interval: updates between Jacobian diagnostics, which cost extra passes; 0
            for never. They have their own generator and do not change the training.
        epsilon: ε in place of the ball's own, a number or a schedule of the update; see
            :func:`aajr.adversaries.with_epsilon`.

    The state consists of ``update``, of ``gradient_scale``, the running mean of ‖g‖² for penalties
    that need it, and of the states of the generator and of the weight.

    Raises:
        ValueError: a negative weight or radius, an unknown placement, a constraint together with a
            hinge or without a penalty, a radius for an adversary without a ball.

    Example:
        >>> import torch, aajr
        >>> policy = torch.nn.Linear(3, 2)
        >>> robust = Minimax(aajr.ProjectedGradientAscent(aajr.Ball("linf", 0.1)), aajr.AAJR())
        >>> x, y = torch.ones(8, 3), torch.zeros(8, dtype=torch.long)
        >>> loss = robust(policy, x, lambda out: torch.nn.functional.cross_entropy(out, y))
        >>> loss.total.backward()
    """

    def __init__(
        self,
        adversary: Adversary,
        penalty: Penalty | None = None,
        *,
        weight: float | Schedule = 1.0,
        placement: Placement = "adversarial",
        attack_fraction: float = 1.0,
        seed: int = 0,
        diagnostics_interval: int = 0,
        epsilon: float | Schedule | None = None,
    ) -> None:
        check_placement(placement, attack_fraction)
        check_count("diagnostics_interval", diagnostics_interval, minimum=0)
        check_count("seed", seed, minimum=0)
        if not callable(weight):
            check_number("weight", weight)
        if isinstance(weight, Weight):
            _check_constraint(weight, penalty)
        if epsilon is not None:
            with_epsilon(adversary, 0.0 if callable(epsilon) else epsilon)
        self.adversary = adversary
        self.penalty = penalty
        self.weight = weight
        self.placement = placement
        self.attack_fraction = attack_fraction
        self.diagnostics_interval = diagnostics_interval
        self.epsilon = epsilon
        self.update = 0
        self.gradient_scale: float | None = None
        self._seed = seed
        self._generator: torch.Generator | None = None
        self._random_state: Tensor | None = None  # loaded, until a call tells the device

    def __call__(
        self,
        policy: Policy,
        x: Tensor,
        task: Callable[[Tensor], Tensor],
        data: Mapping[str, Tensor] | None = None,
    ) -> RobustLoss:
        """One update's loss.

        Args:
            policy: map from ``[batch, *event]`` to ``[batch, *output]``.
            x: clean inputs, ``[batch, *event]``.
            task: map from the policy's output to a scalar loss.
            data: tensors with one row per sample that the adversary's objective reads.

        Returns:
            The loss; call ``.total.backward()``.

        Raises:
            ValueError: bad input, see :class:`aajr.Adversary`; a loss that is NaN, infinite or
                no scalar; a schedule that gives a negative value; a total that no parameter can
                learn from: under ``torch.no_grad()``, or with all parameters frozen.
        """
        regularised = self.regularise(policy, x, data)
        task_loss = placed_loss(self.placement, policy, x, regularised.trajectory.worst, task)
        _check_loss("task", task_loss)
        total = task_loss + regularised.total
        if not (task_loss.requires_grad or regularised.penalty.requires_grad):
            raise ValueError(
                "the loss has no graph: no parameter of the policy requires a gradient, or the "
                "task detaches it; call policy.requires_grad_(True). To attack a frozen policy, "
                "call the adversary alone"
            )
        return replace(regularised, total=total, task=task_loss)

    def regularise(
        self, policy: Policy, x: Tensor, data: Mapping[str, Tensor] | None = None
    ) -> RobustLoss:
        """The inner maximisation and λ · penalty alone, for a loop that has its own task loss.

        Arguments and errors are those of :meth:`__call__`, without the task.

        Returns:
            A loss whose task is zero. The loop adds ``total`` to its own task loss, taken at x or
            at ``trajectory.worst`` according to the placement.
        """
        check_tensor("x", x)
        if not torch.is_grad_enabled():
            raise ValueError(
                "called under torch.no_grad() or inference mode, where no loss can be "
                "differentiated; leave it, or call the adversary alone to evaluate a policy"
            )
        generator = self._random_source(x.device)
        attacked, attacked_data = self._attacked_rows(x, data or {}, generator)
        trajectory = self._attack()(policy, attacked, generator, attacked_data)
        penalty, diagnostics = x.new_zeros(()), self._diagnostics(policy, trajectory)
        weight = self._weight(self.update)
        check_number("weight", weight)
        if self.penalty is not None:
            values = self._penalty_values(self.penalty, policy, trajectory, generator)
            penalty = self.penalty.reduce(values, self.update)
            _check_loss("penalty", penalty)
            diagnostics["weight"] = weight
            level = self._weight.observe(values) if len(values) else None
            if level is not None:
                diagnostics["sensitivity_quantile"] = level
        self.update += 1
        total = weight * penalty
        if not total.requires_grad:  # between intervals; a loop may still call backward
            total = total.detach().requires_grad_()
        zero = torch.zeros_like(penalty)
        return RobustLoss(total, zero, penalty, trajectory, diagnostics)

    def state_dict(self) -> dict[str, Tensor]:
        """All state needed to resume training exactly, as tensors that safetensors can store.

        Returns:
            ``update``; and, as soon as they exist, ``random_state`` of the generator,
            ``gradient_scale``, the running mean of ‖g‖², and the state of the weight, for instance
            ``dual`` of :class:`aajr.DualAscent`.
        """
        state = {"update": torch.tensor(self.update)}
        if self._generator is not None:
            state["random_state"] = self._generator.get_state()
        elif self._random_state is not None:
            state["random_state"] = self._random_state
        if self.gradient_scale is not None:
            state["gradient_scale"] = torch.tensor(self.gradient_scale, dtype=torch.float64)
        return state | self._weight.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what :meth:`state_dict` gave.

        The inputs must live on the same type of device as before, since the random generators of
        a CPU and of a GPU have different states.

        Args:
            state: the tensors, on any device.

        Raises:
            ValueError: ``update`` is missing. The next call raises it too if the state was saved
                on another type of device.
        """
        if "update" not in state:
            raise ValueError(
                f"state holds {sorted(state)} but no 'update'; give what state_dict() returned"
            )
        self.update = int(state["update"])
        self._generator = None
        self._random_state = state.get("random_state")
        scale = state.get("gradient_scale")
        self.gradient_scale = None if scale is None else float(scale)
        self._weight.load_state_dict(state)

    @property
    def _weight(self) -> Weight:
        return self.weight if isinstance(self.weight, Weight) else FixedWeight(self.weight)

    def _attack(self) -> Adversary:
        if self.epsilon is None:
            return self.adversary
        return with_epsilon(self.adversary, value_at(self.epsilon, self.update))

    def _random_source(self, device: torch.device) -> torch.Generator:
        if self._generator is None:
            self._generator = torch.Generator(device=device).manual_seed(self._seed)
            if self._random_state is not None:
                _restore(self._generator, self._random_state)
        return self._generator

    def _penalty_values(
        self, penalty: Any, policy: Policy, trajectory: Trajectory, generator: torch.Generator
    ) -> Tensor:
        """The penalty of the drawn rows, ``[rows]``; updates the running mean of ‖g‖²."""
        if self.gradient_scale is not None and hasattr(penalty, "gradient_scale"):
            scale = replace(penalty.gradient_scale, value=self.gradient_scale)
            penalty = replace(penalty, gradient_scale=scale)
        values: Tensor = penalty.values(policy, trajectory, generator, self.update)
        if len(values) and hasattr(penalty, "gradient_scale"):
            self.gradient_scale = penalty.observe(trajectory).gradient_scale.value
        return values

    def _attacked_rows(
        self, x: Tensor, data: Mapping[str, Tensor], generator: torch.Generator
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        if self.attack_fraction == 1:
            return x, data
        count = max(1, round(self.attack_fraction * x.shape[0]))
        order = torch.randperm(x.shape[0], generator=generator, device=x.device)[:count]
        return x[order], {name: value[order] for name, value in data.items()}

    def _diagnostics(self, policy: Policy, trajectory: Trajectory) -> dict[str, float]:
        norms = torch.linalg.vector_norm(trajectory.gradients.flatten(2), dim=2)
        mean, largest = torch.stack([norms.mean(), norms.amax()]).tolist()
        result = {
            "inner_gradient_norm_mean": mean,
            "inner_gradient_norm_max": largest,
            "forward_passes": float(trajectory.forward_passes),
            "backward_passes": float(trajectory.backward_passes),
            "curvature_passes": float(trajectory.curvature_passes),
        }
        if self.diagnostics_interval and self.update % self.diagnostics_interval == 0:
            metric = None if self.penalty is None else self.penalty.metric
            generator = torch.Generator(trajectory.origin.device)
            generator.manual_seed(derive(self._seed, "diagnostics", self.update))
            result |= diagnose(policy, trajectory, generator, metric=metric)
        return result


def _restore(generator: torch.Generator, state: Tensor) -> None:
    try:
        generator.set_state(state.cpu())
    except RuntimeError as error:
        raise ValueError(
            f"random_state was saved on another type of device than {generator.device.type!r}, "
            "where the inputs live; resume on that type, or drop random_state from the state and "
            "accept other random numbers"
        ) from error


def _check_constraint(weight: Weight, penalty: Penalty | None) -> None:
    name = type(weight).__name__
    if penalty is None:
        raise ValueError(f"weight={name}(...) follows a penalty; give one, for instance AAJR()")
    if isinstance(penalty, AAJR) and penalty.gamma is not None:
        raise ValueError(
            f"weight={name}(...) needs ‖Jv‖² but gamma={penalty.gamma} makes a hinge of it; "
            "leave gamma=None"
        )


def _check_loss(name: str, value: Tensor) -> None:
    if not isinstance(value, Tensor):
        raise ValueError(f"the {name} loss is a {type(value).__name__}; return a scalar tensor")
    if value.ndim != 0:
        raise ValueError(f"the {name} loss has shape {tuple(value.shape)}; reduce it to a scalar")
    if not math.isfinite(value.item()):
        raise ValueError(
            f"the {name} loss is {float(value.detach())}; lower the learning rate, ε or λ, and "
            "restore the last good checkpoint"
        )
