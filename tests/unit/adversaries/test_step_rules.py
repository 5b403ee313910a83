"""Step rules: monotone ascent, closed-form lengths, counted passes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from aajr import Ball, Divergence, ProjectedGradientAscent
from aajr.geometry import Categorical
from aajr.testing import dense
from aajr.theory import measure_ascent

BATCH, STEPS = 64, 5
BALLS = {
    "l2": Ball("l2", 1.0),
    "linf": Ball("linf", 1.0),
    "small": Ball("linf", 0.1),
    "scaled, boxed": Ball("l2", 1.0, scale=torch.tensor([0.3, 2.0, 1.0, 0.5, 1.0]), low=-1.0),
}


def wiggly(seed: int) -> nn.Sequential:
    """A very non-linear policy."""
    net = dense.tanh_net(seed=seed)
    with torch.no_grad():
        net[0].weight.mul_(6)
        net[2].weight.mul_(4)
    return net


def task(output: Tensor, reference) -> Tensor:
    return (output * reference.outputs.sin()).sum(1).sin()


OBJECTIVES = {
    "divergence": Divergence(),
    "kl": Divergence(Categorical(heads=(2, 4))),
    "task": task,
}


def ascend(rule: str, objective, ball: Ball, seed: int, **options):
    attack = ProjectedGradientAscent(
        ball, objective, steps=STEPS, step_rule=rule, step_size=2 * ball.epsilon, **options
    )
    policy = wiggly(seed)
    x = dense.inputs(BATCH, dense.INPUTS, seed=seed).clamp(-1, 1)
    trajectory = attack(policy, x, torch.Generator().manual_seed(seed))
    return trajectory, measure_ascent(policy, objective, trajectory)


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
@pytest.mark.parametrize("rule", ["stable", "backtracking"])
def test_the_objective_never_falls(rule, objective):
    # 2 directions x 4 balls x 2 seeds x 64 rows x 5 steps: 5 120 a case, 30 720 over the six
    falls, steps, at_edge = 0, 0, 0
    for direction in ("steepest", "raw"):
        for ball in BALLS.values():
            for seed in (0, 1):
                trajectory, ascent = ascend(rule, objective, ball, seed, step_direction=direction)
                falls += int(ascent.falls.sum())
                steps += ascent.gain.numel()
                x = trajectory.origin
                at_edge += int((ball.size(trajectory.points - x) > 0.999 * ball.epsilon).sum())
    assert steps == 5120
    assert at_edge > 1000
    assert falls == 0


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
def test_fixed_steps_do_fall_there(objective):
    _, ascent = ascend("fixed", objective, BALLS["linf"], 0)
    assert float(ascent.falls.double().mean()) > 0.05


@pytest.mark.parametrize("rule", ["stable", "backtracking"])
def test_the_ascent_goes_somewhere(rule):
    _, ascent = ascend(rule, task, BALLS["linf"], 0)
    assert float((ascent.gain > 1e-9).double().mean()) > 0.5


def bowl(output: Tensor, reference) -> Tensor:
    return -2.0 * output.square().sum(1)


def climb(rule: str, size: float, batch: int = 3) -> Tensor:
    attack = ProjectedGradientAscent(
        Ball("l2", 100.0),
        bowl,
        steps=1,
        step_size=size,
        step_direction="raw",
        step_rule=rule,
        random_start=False,
    )
    x = torch.ones(batch, 2, dtype=torch.float64)
    return attack(lambda x: x * 1.0, x, torch.Generator())


def test_the_stable_step_maximises_a_quadratic():
    # F = -2‖x‖² has L_eff = 4 and g = -4x: η = 1/4 leads to the maximum at once
    trajectory = climb("stable", size=10.0)
    torch.testing.assert_close(trajectory.worst, torch.zeros(3, 2, dtype=torch.float64))
    assert trajectory.curvature_passes == 1


def test_the_stable_step_is_never_longer_than_asked():
    trajectory = climb("stable", size=0.01)
    torch.testing.assert_close(trajectory.worst, torch.full((3, 2), 0.96, dtype=torch.float64))


def test_backtracking_halves_until_the_increase_suffices():
    # η = 1 leads to -3x (F falls), η = 1/2 to -x (no gain), η = 1/4 to 0
    trajectory = climb("backtracking", size=1.0)
    torch.testing.assert_close(trajectory.worst, torch.zeros(3, 2, dtype=torch.float64))
    # clean, gradient, three trials
    assert trajectory.forward_passes == 5
    assert trajectory.curvature_passes == 0


def test_trials_of_part_of_the_batch_count_as_part():
    attack = ProjectedGradientAscent(
        Ball("l2", 100.0),
        lambda output, reference: -reference.data["bend"] * output.square().sum(1),
        steps=1,
        step_size=0.5,
        step_direction="raw",
        step_rule="backtracking",
        random_start=False,
    )
    data = {"bend": torch.tensor([0.5, 0.5, 0.5, 2.0])}
    trajectory = attack(lambda x: x * 1.0, torch.ones(4, 2), torch.Generator(), data)
    assert trajectory.forward_passes == 2 + 1 + 1 / 4


def test_a_step_that_cannot_gain_stays():
    attack = ProjectedGradientAscent(
        Ball("l2", 1.0),
        lambda output, reference: -output.abs().sum(1),
        steps=2,
        step_rule="backtracking",
        random_start=False,
    )
    x = torch.full((2, 1), 1e-300, dtype=torch.float64)
    trajectory = attack(lambda x: x * 1.0, x, torch.Generator())
    torch.testing.assert_close(trajectory.worst, x, rtol=0, atol=1e-9)


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="step_rule='bold' is unknown; choose one of 'fixed'"):
        ProjectedGradientAscent(Ball("l2", 1.0), step_rule="bold")


def fused_attention(x: Tensor) -> Tensor:
    rows = x.reshape(len(x), 1, 2, 4)
    attended = nn.functional.scaled_dot_product_attention(rows, rows, rows)
    return attended.flatten(1)


def test_a_policy_without_second_derivatives_is_told_what_to_use():
    x = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    stable, backtracking = (
        ProjectedGradientAscent(Ball("l2", 1.0), step_rule=rule)
        for rule in ("stable", "backtracking")
    )
    with pytest.raises(ValueError, match="step_rule='backtracking'"):
        stable(fused_attention, x, torch.Generator())
    assert backtracking(fused_attention, x, torch.Generator()).points.shape == (4, 2, 8)
