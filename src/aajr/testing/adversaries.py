"""The test suite of adversaries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from aajr import Adversary, Ball, Trajectory
from aajr.geometry import ThreatSet
from aajr.testing import dense, doubles
from aajr.testing._contract import Contract, clean, seeded

SCALE = torch.tensor([0.5, 2.0, 1.0, 1e-3, 1.0], dtype=torch.float64)
MASK = torch.tensor([True, False, True, True, True])
BALLS = {
    "l2": Ball("l2", 0.3),
    "linf": Ball("linf", 0.3),
    "l2 scaled, masked, boxed": Ball("l2", 0.3, scale=SCALE, mask=MASK, low=-1.0, high=1.0),
    "linf scaled, masked, boxed": Ball("linf", 0.3, scale=SCALE, mask=MASK, low=-1.0, high=1.0),
}
every_ball = pytest.mark.parametrize("ball", BALLS.values(), ids=BALLS)


def attack(
    adversary: Adversary, policy: Callable[[Tensor], Tensor], x: Tensor, seed: int = 0
) -> Trajectory:
    """One call with a fresh generator."""
    return adversary(policy, x, seeded(seed))


def tensors(trajectory: Trajectory) -> list[Tensor]:
    """The tensors that must be equal in a repeated call."""
    return [trajectory.points, trajectory.gradients, trajectory.losses, trajectory.worst]


def norm_ball(threat: ThreatSet) -> Ball:
    """The ball that contains a threat set."""
    return threat if isinstance(threat, Ball) else cast(Any, threat).ball


class AdversaryContract(Contract):
    """The test suite of adversaries: a subclass named ``Test...`` writes :meth:`make`.

    If the threat set is not a norm ball, replace the tests that read the budget of a ball.

    Example:
        >>> from aajr import ProjectedGradientAscent
        >>> class TestAscent(AdversaryContract):
        ...     def make(self, ball: Ball) -> Adversary:
        ...         return ProjectedGradientAscent(ball)
    """

    def make(self, ball: Ball) -> Adversary:
        """The adversary under test, on one of the suite's balls."""
        raise NotImplementedError("write make(self, ball), which returns your adversary")

    def outcome(self, policy: nn.Module, generator: torch.Generator) -> list[Tensor]:
        """The trajectory's tensors on the l2 ball."""
        return tensors(self.make(BALLS["l2"])(policy, clean(), generator))

    def rows(self, policy: nn.Module, x: Tensor) -> list[Tensor]:
        """The trajectory's tensors on the linf ball, the batch first."""
        trajectory = attack(self.make(BALLS["linf"]), policy, x)
        *paths, worst = tensors(trajectory)
        return [*(path.transpose(0, 1) for path in paths), worst]

    @every_ball
    def test_points_are_inside_ball_box_and_mask(self, ball: Ball) -> None:
        """Every point is in the ball and in the box, and masked features do not change."""
        x = clean()
        trajectory = attack(self.make(ball), dense.tanh_net(), x)
        allowed = ball.attackable(x)
        for point in [*trajectory.points, trajectory.worst]:
            assert bool((ball.size(point - x) <= 0.3 * (1 + 1e-9) + 1e-12).all())
            assert torch.equal(point[allowed == 0], x[allowed == 0])
            if ball.low is not None:
                assert bool((point.abs() <= 1 + 1e-12).all())

    def test_the_trajectory_is_complete(self) -> None:
        """Shapes and dtypes are right, the origin is x, and no tensor has a graph."""
        x = clean()
        trajectory = attack(self.make(BALLS["l2"]), dense.tanh_net(), x)
        steps = len(trajectory.gradients)
        assert steps >= 1
        assert trajectory.points.shape == (steps + 1, *x.shape)
        assert trajectory.gradients.shape == (steps, *x.shape)
        assert trajectory.losses.shape in ((steps, len(x)), (steps + 1, len(x)))
        assert trajectory.worst.shape == x.shape
        assert torch.equal(trajectory.origin, x)
        assert torch.equal(trajectory.reference.outputs, dense.tanh_net()(x).detach())
        assert all(t.dtype == x.dtype for t in tensors(trajectory))
        assert not any(t.requires_grad for t in tensors(trajectory))

    def test_passes_are_counted(self) -> None:
        """The reported passes equal the evaluations of the policy."""
        policy = doubles.CountingPolicy()
        trajectory = attack(self.make(BALLS["l2"]), policy, clean())
        counted = trajectory.forward_passes + trajectory.curvature_passes
        assert counted == policy.rows / dense.BATCH

    def test_it_works_where_gradients_are_off(self) -> None:
        """The result is the same under ``torch.no_grad()``."""
        adversary, policy = self.make(BALLS["l2"]), dense.tanh_net()
        with torch.no_grad():
            off = tensors(attack(adversary, policy, clean()))
        on = tensors(attack(adversary, policy, clean()))
        assert all(torch.equal(a, b) for a, b in zip(off, on, strict=True))

    def test_it_leaves_the_input_alone(self) -> None:
        """x and its gradient do not change."""
        x = clean().requires_grad_()
        before = x.detach().clone()
        attack(self.make(BALLS["l2"]), dense.tanh_net(), x)
        assert torch.equal(x.detach(), before)
        assert x.grad is None

    def test_a_ball_of_radius_zero_changes_nothing(self) -> None:
        """With ε = 0 the worst point is x."""
        trajectory = attack(self.make(Ball("l2", 0.0)), dense.tanh_net(), clean())
        assert torch.equal(trajectory.worst, clean())

    def test_large_inputs_of_small_scale_are_no_error(self) -> None:
        """No error is raised where the rounding of x + δ - x is far larger than ε s."""
        ball = Ball("linf", 0.1, scale=torch.full((5,), 1e-2))
        x = dense.inputs(dtype=torch.float32) + 1000
        attack(self.make(ball), lambda x: torch.cat([x, x[:, :1]], 1) - 1000, x)

    @pytest.mark.filterwarnings("ignore::aajr.ResolutionWarning")
    @pytest.mark.parametrize("norm", ["l2", "linf"])
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
    def test_the_promise_holds_to_the_last_bit(self, norm: Any, dtype: torch.dtype) -> None:
        """The rounded x + δ is in the ball and in the box, computed exactly."""
        scale = torch.tensor([1.0, 1.0, 0.3, 2.0, 300.0])
        box = torch.tensor([0.4, 2e3, 1.1, 1e-3, 2e4])
        x = box * dense.inputs().clamp(-0.99, 0.99)
        ball = Ball(norm, 0.1, scale=scale, low=-box, high=box)
        adversary = self.make(ball)
        net = dense.tanh_net(dtype=dtype)
        trajectory = attack(adversary, lambda x: net(x / box.to(x)), x.to(dtype))
        held = norm_ball(adversary.ball)
        exact = trajectory.points.double(), trajectory.worst.double(), trajectory.origin.double()
        for point in [*exact[0], exact[1]]:
            size = (point - exact[2]) / scale.double()
            length = size.norm(dim=1) if held.norm == "l2" else size.abs().amax(1)
            assert bool((length <= held.epsilon * (1 + 1e-15)).all())
            assert bool(((point.abs() <= box.double()) | (point == exact[2])).all())

    @pytest.mark.parametrize("event_dims", [1, 2])
    def test_agents_have_their_own_ball_or_one_for_the_team(self, event_dims: int) -> None:
        """With a coalition, only its members move."""
        flat, x = dense.tanh_net(6, 4), dense.inputs(3, 2, 3)
        coalition = torch.tensor([[True, True], [True, False], [False, True]])
        ball = Ball("l2", 0.3, coalition=coalition, event_dims=event_dims)
        trajectory = attack(self.make(ball), lambda x: flat(x.flatten(1)), x)
        assert trajectory.event_dims == event_dims
        moved = (trajectory.worst - x).abs().sum(-1) > 0
        assert torch.equal(moved, coalition)

    @pytest.mark.parametrize(
        ("x", "message"),
        [
            (torch.full((2, 5), torch.nan), "x holds 10 NaN or infinite values; clean it first"),
            (torch.zeros(2, 5, dtype=torch.int64), r"x has dtype torch.int64; convert it with"),
            (torch.zeros(0, 5), r"x has shape \(0, 5\); give \[batch"),
            (torch.zeros(5), r"x has shape \(5,\); give \[batch"),
            ([[0.0] * 5], "x is a list; give a torch.Tensor"),
        ],
    )
    def test_bad_inputs_are_refused(self, x: Any, message: str) -> None:
        """NaN, whole numbers, empty batches and lists raise a ValueError."""
        with pytest.raises(ValueError, match=message):
            self.make(BALLS["l2"])(dense.tanh_net(), x, seeded())

    @pytest.mark.parametrize(
        ("policy", "message"),
        [
            (lambda x: x * torch.nan, "the policy's output holds NaN or infinite values"),
            (lambda x: x.sum(1), r"maps x \(4, 5\) to \(4,\); it must keep the batch first"),
            (lambda x: x[:2], r"maps x \(4, 5\) to \(2, 5\); it must keep the batch first"),
            (lambda x: (x, x), "the policy returned a tuple; wrap it to return one tensor"),
        ],
    )
    def test_bad_policies_are_refused(self, policy: Any, message: str) -> None:
        """NaN, a lost batch dimension and tuples raise a ValueError."""
        with pytest.raises(ValueError, match=message):
            self.make(BALLS["l2"])(policy, clean(), seeded())

    def test_bad_data_are_refused(self) -> None:
        """Data that are not tensors with one row per sample raise a ValueError."""
        adversary, policy = self.make(BALLS["l2"]), dense.tanh_net()
        with pytest.raises(ValueError, match=r"data\['action'\] has shape \(3,\); its first dim"):
            adversary(policy, clean(), seeded(), {"action": torch.zeros(3)})
        with pytest.raises(ValueError, match=r"data\['action'\] is a list; give a tensor"):
            adversary(policy, clean(), seeded(), {"action": [0] * 4})  # type: ignore[dict-item]
