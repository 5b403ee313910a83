"""Fast adaptive boundary attack: the least perturbation that changes the answer."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from aajr._checks import check_count
from aajr._modes import Policy
from aajr.adversaries._base import Adversary
from aajr.adversaries._classification import Margin, classes_of
from aajr.adversaries._evaluation import (
    checked_loss,
    joined,
    loss_at,
    over_rows,
    part_of,
    parts,
)
from aajr.geometry import Ball
from aajr.jacobian import input_gradient
from aajr.trajectory import Reference, Trajectory

_MOST_BIAS, _OVERSHOOT, _BACK = 0.1, 1.05, 0.9


@dataclass(frozen=True, eq=False)
class FAB(Adversary):
    """Steps onto the linearised boundary of the true class, biased towards the clean input.

    At z_k the boundary u_t = u_y is replaced by its tangent plane. With d(z) the shortest step from
    z onto that plane inside the valid box, and α = min(‖d(z_k)‖/(‖d(z_k)‖ + ‖d(x)‖), 0.1),
    z_{k+1} = (1 - α)(z_k + 1.05 d(z_k)) + α(x + 1.05 d(x)). Where the answer at z_k is wrong, the
    step starts a tenth of the way back to x. At the end, bisection shortens the shortest δ found.

    The class t is ``data["target_class"]`` where given. Otherwise it is the strongest wrong class
    at z_k; the source takes the nearest class, which costs one gradient per class. The true class
    is ``data["label"]``, by default the clean answer. Points of the search may lie outside the
    ball; the result is the shortest δ found, shortened to the ball if it is longer. With a large ε
    the attack measures the distance to the boundary. On l2 with a budget per agent, the steps are
    those of one joint budget.

    Attributes:
        ball: the threat set; its norm is the one to minimise.
        steps: number of steps; each takes one gradient.
        bisections: halvings of the interval between x and the δ found.

    Raises:
        ValueError: non-positive counts; when called, outputs that are not logits of classes.

    Example:
        >>> policy = lambda x: x @ torch.tensor([[3.0, 0.0], [4.0, 0.0]])
        >>> attack = FAB(Ball("l2", 10.0))
        >>> x = torch.tensor([[1.0, 0.5]])  # the boundary 3a + 4b = 0 is at distance 5/5
        >>> moved = attack(policy, x, torch.Generator()).worst - x
        >>> round(moved.norm().item(), 2)
        1.0

    Source: Croce and Hein, Minimally distorted adversarial examples with a fast adaptive boundary
    attack, 2020, https://arxiv.org/abs/1907.02044.
    """

    ball: Ball
    steps: int = 20
    bisections: int = 8
    objective = Margin()

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        check_count("bisections", self.bisections)

    def run(self, policy: Policy, reference: Reference, generator: torch.Generator) -> Trajectory:
        """Search from x, without random numbers."""
        reference = _labelled(reference)
        x = z = best = reference.inputs
        least, box = x.new_full(x.shape[:1], math.inf), _Box(self.ball, x)
        planes: list[_Plane] = []
        for _ in range(self.steps):
            plane = _plane(policy, z, reference)
            plane = plane._replace(slope=plane.slope * box.allowed)
            planes = [*planes[:1], plane]
            best, least = self._shorter(z, x, plane.margin > 0, best, least)
            back = torch.where(over_rows(plane.margin > 0, x), x + _BACK * (z - x), z)
            z = self._step(back, x, z, plane, planes[0].lead, box)
        wrong = loss_at(policy, self.objective, z, reference) > 0
        best, least = self._shorter(z, x, wrong, best, least)
        best = self._bisect(policy, reference, torch.where(over_rows(least < math.inf, x), best, z))
        worst = x + self._cut(best - x, x)
        found = loss_at(policy, self.objective, worst, reference)
        return Trajectory(
            reference=reference,
            points=torch.stack([x, worst]),
            gradients=planes[0].slope.unsqueeze(0),
            losses=torch.stack([planes[0].margin, found]),
            worst=worst,
            event_dims=self.ball.budget_dims,
            forward_passes=3 + self.steps + self.bisections,
            backward_passes=self.steps,
        )

    def _size(self, delta: Tensor) -> Tensor:
        """‖δ/s‖ of a row, the largest of its budgets, ``[batch]``."""
        return self.ball.size(delta).to(delta.dtype).reshape(len(delta), -1).amax(1)

    def _shorter(
        self, z: Tensor, x: Tensor, wrong: Tensor, best: Tensor, least: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The shortest of the points with a wrong answer so far, and its size."""
        size = self._size(z - x)
        better = wrong & (size < least)
        return torch.where(over_rows(better, x), z, best), torch.where(better, size, least)

    def _step(
        self, start: Tensor, x: Tensor, z: Tensor, plane: _Plane, clean: Tensor, box: _Box
    ) -> Tensor:
        """The next point: steps from ``start`` and from x beyond the plane of z, and their mean.

        No step is longer than both ε and the distance of z from x. The next point is halfway
        between x and z if z is no nearer to the boundary than x, or if the answer at z is wrong
        and no such step reaches the boundary.
        """
        away, tiny = self._size(z - x), torch.finfo(x.dtype).tiny
        limit, ends, sizes = away.clamp_min(self.ball.epsilon), [], []
        for point in (start, x):
            gap = -plane.lead - (plane.slope * (point - z)).flatten(1).sum(1)
            delta = box.onto(gap, plane.slope, point)
            sizes.append(self._size(delta))
            share = (limit / sizes[-1].clamp_min(tiny)).clamp_max(1.0)
            ends.append(point + _OVERSHOOT * over_rows(share, x) * delta)
        bias = (sizes[0] / (sizes[0] + sizes[1]).clamp_min(tiny)).clamp_max(_MOST_BIAS)
        mixed = torch.lerp(ends[0], ends[1], over_rows(bias, x))
        astray = torch.where(plane.margin > 0, sizes[0] > limit, plane.lead <= clean)
        lost = (away > 0) & (astray | (sizes[0] == 0))
        return box.clip(torch.where(over_rows(lost, x), (x + z) / 2, mixed))

    def _bisect(self, policy: Policy, reference: Reference, best: Tensor) -> Tensor:
        """The point nearest to x on the segment to ``best`` that bisection finds wrong."""
        x = reference.inputs
        low, high = x.new_zeros(len(x)), x.new_ones(len(x))
        for _ in range(self.bisections):
            middle = (low + high) / 2
            point = torch.lerp(x, best, over_rows(middle, x))
            wrong = loss_at(policy, self.objective, point, reference) > 0
            low, high = torch.where(wrong, low, middle), torch.where(wrong, middle, high)
        return torch.lerp(x, best, over_rows(high, x))

    def _cut(self, delta: Tensor, x: Tensor) -> Tensor:
        """δ, shortened to the ball where it is larger than the ball."""
        size = self._size(delta).clamp_min(torch.finfo(x.dtype).tiny)
        share = (self.ball.epsilon / size).clamp_max(1.0)
        return self.ball.project_scaled(delta * over_rows(share, x), x)


class _Plane(NamedTuple):
    """Margin at a point, lead u_t - u_y of the class t, and the gradient of the lead."""

    margin: Tensor
    lead: Tensor
    slope: Tensor


def _plane(policy: Policy, z: Tensor, reference: Reference) -> _Plane:
    """The plane of every row, a bounded number of rows at a time."""
    found = [_plane_of(policy, z[rows], part_of(reference, rows)) for rows in parts(len(z))]
    return _Plane(*(joined(list(values)) for values in zip(*found, strict=True)))


def _plane_of(policy: Policy, z: Tensor, reference: Reference) -> _Plane:
    with torch.enable_grad():
        point = z.detach().requires_grad_()
        output = policy(point)
        margin = lead = checked_loss(Margin(), output, reference)
        if "target_class" in reference.data:
            names = ("target_class", "label")
            pair = torch.stack([classes_of(reference, name, output) for name in names], 1)
            lead = output.gather(1, pair) @ output.new_tensor([1.0, -1.0])
        slope = input_gradient(lead, point, torch.ones_like(lead))
    return _Plane(margin.detach(), lead.detach(), slope)


def _labelled(reference: Reference) -> Reference:
    """The reference; the clean answer is the label if it has none."""
    if "label" in reference.data:
        return reference
    label = reference.outputs.flatten(1).argmax(1)
    return replace(reference, data={**reference.data, "label": label})


class _Box:
    """The valid box around x, and the shortest way inside it onto a plane.

    Args:
        ball: norm, scale, mask and box; its radius is not used.
        x: clean inputs, ``[batch, *event]``.
    """

    def __init__(self, ball: Ball, x: Tensor) -> None:
        self.allowed = ball.attackable(x)
        self.by_slope = ball.norm == "l2"
        self.scale = replace(ball, norm="linf").steepest(torch.ones_like(x))
        low, high = (
            torch.as_tensor(default if face is None else face).to(x)
            for face, default in ((ball.low, -math.inf), (ball.high, math.inf))
        )
        # a clean input outside the box is allowed
        self.low, self.high = torch.minimum(x, low), torch.maximum(x, high)

    def clip(self, point: Tensor) -> Tensor:
        """The nearest point of the box."""
        return point.clamp(self.low, self.high)

    def onto(self, gap: Tensor, slope: Tensor, point: Tensor) -> Tensor:
        """argmin ‖δ/s‖ with ⟨w, δ⟩ = gap and point + δ in the box, or as far as the box allows.

        Every feature moves at its own rate, s on linf and s²|w| on l2, until it meets the box.
        """
        toward, size = slope.sign() * over_rows(gap.sign(), slope), slope.abs()
        room = torch.where(toward > 0, self.high - point, point - self.low).clamp_min(0)
        rate = self.scale * (self.scale * size) if self.by_slope else self.scale
        moved = _filled(size.flatten(1), rate.flatten(1), room.flatten(1), gap.abs())
        return toward * moved.reshape(slope.shape)


def _filled(weight: Tensor, rate: Tensor, room: Tensor, need: Tensor) -> Tensor:
    """min(τ rate, room) with Σ weight min(τ rate, room) = need, ``[batch, features]``.

    The sum is concave and piecewise linear in τ, so Newton's method reaches the root from below
    and is exact after a few kinks. Where the whole room is not enough, it is used completely.
    """
    tau, eps = need.new_zeros(len(need), 1), torch.finfo(need.dtype).eps
    for _ in range(weight.shape[1] + 1):
        moved = torch.minimum(tau * rate, room)
        lack = need[:, None] - (weight * moved).sum(1, keepdim=True)
        slope = (weight * rate * (moved < room)).sum(1, keepdim=True)
        step = torch.where(slope > 0, lack / slope, 0.0)
        if not bool((step > 4 * eps * tau).any()):
            break
        tau = tau + step.clamp_min(0)
    return torch.minimum(tau * rate, room)
