"""Budgets over an episode: slowly changing perturbations, and a limit on their sum."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from dataclasses import dataclass, field, fields, replace
from typing import final

import torch
from torch import Tensor

from aajr._checks import check_number, check_promise, check_same_shape
from aajr._modes import Policy
from aajr.adversaries._base import Adversary
from aajr.adversaries._evaluation import loss_at, over_rows
from aajr.adversaries._record import with_last
from aajr.geometry import Ball, Lens, check_event
from aajr.trajectory import Objective, Reference, Trajectory


class TemporalAdversary(Adversary):
    """Runs another adversary in the part of its ball that the earlier steps of an episode allow.

    A subclass defines that part: for every sample a lens, the intersection of two balls.
    """

    adversary: Adversary
    ball: Ball

    @abstractmethod
    def lens(self, reference: Reference) -> Lens:
        """The allowed part of the ball at this step."""

    def search(
        self, policy: Policy, reference: Reference, generator: torch.Generator
    ) -> tuple[Trajectory, Lens]:
        """The inner adversary's trajectory, with its points projected on the lens."""
        lens = self.lens(reference)
        inner: Adversary = replace(self.adversary, ball=lens)  # type: ignore[type-var]
        found = inner.run(policy, reference, generator)
        x = reference.inputs

        def moved(point: Tensor) -> Tensor:
            return x + lens.project(point - x, x)

        points = torch.stack([moved(point) for point in found.points])
        return replace(found, points=points, worst=moved(found.worst)), lens

    def _adopt(self) -> None:
        """Take over the inner adversary's ball, objective and needs."""
        object.__setattr__(self, "ball", ball_of(self.adversary))
        object.__setattr__(self, "objective", self.adversary.objective)
        object.__setattr__(self, "needs", (*self.needs, *self.adversary.needs))


@final
@dataclass(frozen=True, eq=False)
class TemporallyCoupled(TemporalAdversary):
    """‖(δ_t - δ_{t-1})/s‖ ≤ ε̄ in the ball's norm, within the ball.

    It reads ``data["previous"]``, δ_{t-1} ``[batch, *event]``, zero at the first step. If δ_{t-1}
    lies outside the valid box around x_t, the nearest point in the box is used instead.

    Attributes:
        adversary: an adversary on a :class:`aajr.Ball`. If it starts at δ = 0, its first point is
            moved into the set.
        reach: ε̄, in units of the ball's scale.

    Raises:
        ValueError: an adversary without a ball of its own, a negative reach.

    Example:
        >>> import torch
        >>> from aajr.adversaries import ProjectedGradientAscent
        >>> objective = lambda output, reference: output.sum(1)
        >>> pgd = ProjectedGradientAscent(Ball("linf", 0.5), objective)
        >>> slow = TemporallyCoupled(pgd, reach=0.25)
        >>> data = {"previous": torch.tensor([[0.5, -0.5]])}
        >>> slow(torch.tanh, torch.zeros(1, 2), torch.Generator(), data).worst
        tensor([[ 0.5000, -0.2500]])

    Source: Liang et al., Game-theoretic robust reinforcement learning handles temporally-coupled
    perturbations, 2024, https://arxiv.org/abs/2307.12062.
    """

    adversary: Adversary
    reach: float
    needs = ("previous",)

    def __post_init__(self) -> None:
        check_number("reach", self.reach)
        self._adopt()

    def lens(self, reference: Reference) -> Lens:
        """The points within ε̄ of δ_{t-1}."""
        previous, x = reference.data["previous"], reference.inputs
        check_same_shape("data['previous']", previous, "x", x)
        centre = self.ball.project_scaled(previous, x)
        radius = torch.full((), self.reach, dtype=x.dtype, device=x.device)
        return lens_of(self.ball, centre, radius)

    def run(self, policy: Policy, reference: Reference, generator: torch.Generator) -> Trajectory:
        """Search near δ_{t-1}, then check that the result is near."""
        found, lens = self.search(policy, reference, generator)
        change = self.ball.size(found.worst - found.origin - lens.centre)
        near = bool((change <= self.reach + _tolerance(self.ball, found)).all())
        check_promise(near, f"{type(self.adversary).__name__} left the reach around δ_(t-1)")
        return found


@final
@dataclass(frozen=True, eq=False)
class EpisodeBudget(TemporalAdversary):
    """Σ_t ‖δ_t/s‖ ≤ B over the steps of an episode, spent only where it gains more than τ.

    It reads ``data["spent"]``, the sum of ‖δ/s‖ over earlier steps, ``[batch]``.

    Attributes:
        adversary: an adversary on a :class:`aajr.Ball`, with an objective.
        total: B, in the unit of ε: a total of 3 ε allows three steps of full size.
        threshold: τ, the rise of the objective above its clean value that an attack must exceed.

    Raises:
        ValueError: an adversary without a ball or an objective of its own, a negative total.

    Example:
        >>> import torch
        >>> from aajr.adversaries import ProjectedGradientAscent
        >>> objective = lambda output, reference: output.sum(1)
        >>> pgd = ProjectedGradientAscent(Ball("linf", 0.5), objective)
        >>> thrifty = EpisodeBudget(pgd, total=1.0)
        >>> data = {"spent": torch.tensor([0.0, 0.75, 1.0])}
        >>> thrifty(torch.tanh, torch.zeros(3, 1), torch.Generator(), data).worst.flatten()
        tensor([0.5000, 0.2500, 0.0000])

    Source: Lin et al., Tactics of adversarial attack on deep RL agents, 2017,
    https://arxiv.org/abs/1703.06748.
    """

    adversary: Adversary
    total: float
    threshold: float = 0.0
    objective: Objective = field(init=False)
    needs = ("spent",)

    def __post_init__(self) -> None:
        check_number("total", self.total)
        check_number("threshold", self.threshold)
        self._adopt()
        if self.adversary.objective is None:
            raise ValueError(
                f"adversary={type(self.adversary).__name__} has no objective, so that no gain can "
                "be told; give one that maximises an objective"
            )

    def lens(self, reference: Reference) -> Lens:
        """The points that the remaining budget allows."""
        spent, x = reference.data["spent"], reference.inputs
        check_event(self.ball.budget_dims, x)
        if spent.shape != x.shape[:1] or not bool((spent >= 0).all()):
            raise ValueError(
                f"data['spent'] has shape {tuple(spent.shape)} or negative or NaN entries; give "
                f"the sum of earlier sizes, {tuple(x.shape[:1])}"
            )
        return lens_of(self.ball, torch.zeros_like(x), (self.total - spent).clamp_min(0))

    def run(self, policy: Policy, reference: Reference, generator: torch.Generator) -> Trajectory:
        """Search within the remaining budget; keep perturbations that gain more than τ."""
        if bool((self.lens(reference).radius == 0).all()):
            return _no_attack(reference, self.ball.budget_dims)
        found, lens = self.search(policy, reference, generator)
        attacked = loss_at(policy, self.objective, found.worst, reference)
        clean = self.objective(reference.outputs, reference)
        pays = over_rows(attacked - clean > self.threshold, found.worst)
        worst = torch.where(pays, found.worst, found.origin)
        size = self.ball.size(worst - found.origin)
        paid = bool((size <= lens.radius + _tolerance(self.ball, found)).all())
        check_promise(paid, f"{type(self.adversary).__name__} spent more than the budget left")
        settled = torch.where(attacked - clean > self.threshold, attacked, clean)
        found = with_last(found, worst, settled)
        return replace(found, forward_passes=found.forward_passes + 1)


def ball_of(adversary: Adversary) -> Ball:
    """The adversary's norm ball; ValueError unless it is a field that can be replaced."""
    named = dataclasses.is_dataclass(adversary) and any(
        part.name == "ball" and part.init for part in fields(adversary)
    )
    if not named or not isinstance(adversary.ball, Ball):
        raise ValueError(
            f"adversary={type(adversary).__name__} has no Ball of its own to narrow; give one that "
            "does, such as ProjectedGradientAscent"
        )
    return adversary.ball


def lens_of(ball: Ball, centre: Tensor, radius: Tensor) -> Lens:
    """The part of the ball within ``radius`` of ``centre``."""
    settings = {part.name: getattr(ball, part.name) for part in fields(Ball)}
    return Lens(**settings, centre=centre, radius=radius)


def _tolerance(ball: Ball, found: Trajectory) -> Tensor:
    x = found.origin
    rounding = 8 * torch.finfo(x.dtype).eps * (x.abs() + (found.worst - x).abs())
    return 1e-3 * ball.epsilon + ball.size(rounding)


def _no_attack(reference: Reference, event_dims: int) -> Trajectory:
    x = reference.inputs
    unscored = x.new_zeros(1, len(x))
    found = Trajectory(reference, torch.stack([x, x]), torch.zeros_like(x)[None], unscored, x)
    return replace(found, event_dims=event_dims, forward_passes=1)
