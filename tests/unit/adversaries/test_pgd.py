"""Projected gradient ascent: closed-form optima, step rules, selection and bookkeeping."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from aajr import Ball, Divergence, MaskedGradientWarning, ProjectedGradientAscent
from aajr._inspection import inspect
from aajr.testing import dense

COST = torch.tensor([3.0, -4.0, 0.5, 2.0, -1.0], dtype=torch.float64)
SCALE = torch.tensor([0.5, 2.0, 1.0, 0.1, 1.0], dtype=torch.float64)
MASK = torch.tensor([True, True, False, True, True])


def linear(output: Tensor, reference) -> Tensor:
    return output @ COST


def identity(x: Tensor) -> Tensor:
    return x * 1.0


def curved(output: Tensor, reference) -> Tensor:
    return (3 * output).sin().sum(-1)


def best_gain(ball: Ball, x: Tensor) -> Tensor:
    """max ⟨c, δ⟩ over the ball: bisection on the multiplier of ‖δ/s‖² ≤ ε², face by face."""
    scale = torch.ones(5, dtype=x.dtype) if ball.scale is None else ball.scale
    cost = COST if ball.mask is None else COST * ball.mask
    low = torch.full_like(x, -math.inf) if ball.low is None else ball.low - x
    high = torch.full_like(x, math.inf) if ball.high is None else ball.high - x
    if ball.norm == "linf":
        reach = ball.epsilon * scale
        corner = torch.where(cost > 0, high.clamp_max(reach), low.clamp_min(-reach))
        return torch.where(cost == 0, 0.0, corner * cost).sum(-1)
    gains = []
    for a, b in zip(low, high, strict=True):
        few, many = 1e-9, 1e9
        for _ in range(200):
            middle = math.sqrt(few * many)
            delta = (cost * scale**2 / middle).clamp(a, b)
            if float((delta / scale).norm()) > ball.epsilon:
                few = middle
            else:
                many = middle
        gains.append((cost * scale**2 / many).clamp(a, b) @ cost)
    return torch.stack(gains)


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("scale", [None, SCALE], ids=["", "scaled"])
@pytest.mark.parametrize("mask", [None, MASK], ids=["", "masked"])
@pytest.mark.parametrize("box", [None, 1.1], ids=["", "boxed"])
def test_a_linear_objective_is_maximised_exactly(norm, scale, mask, box, generator):
    low = None if box is None else -box
    ball = Ball(norm, 0.4, scale=scale, mask=mask, low=low, high=box)
    x = dense.inputs(6, 5).clamp(-1, 1)
    attack = ProjectedGradientAscent(ball, linear, steps=400, step_size=0.4)
    worst = attack(identity, x, generator).worst
    gain = (worst - x) @ COST
    torch.testing.assert_close(gain, best_gain(ball, x), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("rule", "size"), [("fixed", 100.0), ("normalized", 400.0)])
def test_euclidean_steps_maximise_in_a_scaled_ball_too(rule, size, generator):
    ball = Ball("l2", 0.4, scale=SCALE, mask=MASK, low=-1.1, high=1.1)
    x = dense.inputs(6, 5).clamp(-1, 1)
    attack = ProjectedGradientAscent(
        ball, linear, steps=200, step_size=size, step_direction="raw", step_rule=rule
    )
    gain = (attack(identity, x, generator).worst - x) @ COST
    torch.testing.assert_close(gain, best_gain(ball, x), rtol=1e-4, atol=0)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_closed_forms_without_extras(norm, generator):
    x = dense.inputs(6, 5)
    attack = ProjectedGradientAscent(Ball(norm, 0.4), linear)
    gain = (attack(identity, x, generator).worst - x) @ COST
    dual = COST.norm() if norm == "l2" else COST.abs().sum()
    if norm == "linf":  # three steps of 2.5 ε / 3 cross the box; the l2 ball needs more to turn
        torch.testing.assert_close(gain, (0.4 * dual).expand(6))
    assert bool((gain > 0.9 * 0.4 * dual).all())
    assert bool((gain <= 0.4 * dual + 1e-12).all())


@pytest.mark.parametrize(
    ("norm", "direction", "expected"),
    [
        ("l2", "raw", COST),
        ("linf", "raw", COST),
        ("l2", "sign", SCALE * COST.sign()),
        ("linf", "sign", SCALE * COST.sign()),
        ("l2", "steepest", SCALE**2 * COST / (SCALE * COST).norm()),
        ("linf", "steepest", SCALE * COST.sign()),
    ],
)
def test_step_directions_are_what_they_say_whatever_the_ball(norm, direction, expected, generator):
    ball = Ball(norm, 1e3, scale=SCALE)
    attack = ProjectedGradientAscent(
        ball, linear, steps=2, step_size=0.01, step_direction=direction, random_start=False
    )
    trajectory = attack(identity, dense.inputs(), generator)
    for step in trajectory.steps:
        torch.testing.assert_close(step, (0.01 * expected).expand(dense.BATCH, -1))


@pytest.mark.parametrize(
    ("norm", "expected"),
    [("l2", COST / (COST / SCALE).norm()), ("linf", COST / (COST / SCALE).abs().max())],
)
def test_normalized_steps_are_equally_long_in_the_ball(norm, expected, generator):
    attack = ProjectedGradientAscent(
        Ball(norm, 1e3, scale=SCALE),
        linear,
        steps=2,
        step_size=0.01,
        step_direction="raw",
        step_rule="normalized",
        random_start=False,
    )
    for step in attack(identity, dense.inputs(), generator).steps:
        torch.testing.assert_close(step, (0.01 * expected).expand(dense.BATCH, -1))


def test_the_default_steps_add_up_to_two_and_a_half_radii(generator):
    attack = ProjectedGradientAscent(Ball("linf", 0.4), linear, steps=5, random_start=False)
    trajectory = attack(identity, dense.inputs(), generator)
    torch.testing.assert_close(
        trajectory.steps[0].abs(), torch.full_like(trajectory.steps[0], 2.5 * 0.4 / 5)
    )


def test_the_trajectory_obeys_its_recursion(generator):
    ball = Ball("l2", 0.4, scale=SCALE, mask=MASK)
    policy, x = dense.tanh_net(), dense.inputs()
    attack = ProjectedGradientAscent(ball, curved, steps=4, step_size=0.2, select="best")
    trajectory = attack(policy, x, generator)
    J = [dense.jacobian(policy, point).detach() for point in trajectory.points]
    for k, point in enumerate(trajectory.points):
        output = policy(point).detach()
        torch.testing.assert_close(trajectory.losses[k], (3 * output).sin().sum(-1))
        if k == 4:
            break
        slope = 3 * (3 * output).cos()
        gradient = (J[k].transpose(-1, -2) @ slope.unsqueeze(-1)).squeeze(-1) * MASK
        torch.testing.assert_close(trajectory.gradients[k], gradient)
        step = 0.2 * ball.steepest(gradient)
        expected = SCALE * Ball("l2", 0.4).project((point - x + step) / SCALE, x)
        torch.testing.assert_close(trajectory.points[k + 1] - x, expected)
    highest = trajectory.losses.argmax(0)
    assert torch.equal(trajectory.worst, trajectory.points[highest, torch.arange(dense.BATCH)])


def test_the_random_start_is_in_the_ball_and_random():
    ball, x = Ball("l2", 0.4, mask=MASK), dense.inputs()
    attack = ProjectedGradientAscent(ball, curved)
    starts = [
        attack(dense.tanh_net(), x, torch.Generator().manual_seed(seed)).points[0] - x
        for seed in (0, 0, 1)
    ]
    assert torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])
    for start in starts:
        assert bool((ball.size(start) <= 0.4).all())
        assert bool((ball.size(start) > 0).all())
        assert bool((start[:, ~MASK] == 0).all())


def loss_at(policy, point: Tensor) -> Tensor:
    return curved(policy(point), None).detach()


def test_more_steps_or_restarts_never_find_less():
    """With one generator a longer search begins with the shorter one."""
    policy, x = dense.tanh_net(), dense.inputs(32, 5)

    def found(**settings) -> Tensor:
        attack = ProjectedGradientAscent(
            Ball("linf", 0.8), curved, step_size=0.3, select="best", **settings
        )
        return loss_at(policy, attack(policy, x, torch.Generator().manual_seed(0)).worst)

    by_steps = [found(steps=steps) for steps in (1, 2, 5, 10)]
    by_restarts = [found(steps=2, restarts=count) for count in (1, 2, 4, 8)]
    for series in (by_steps, by_restarts):
        for fewer, more in itertools.pairwise(series):
            assert bool((more >= fewer - 1e-12).all())
        assert bool((series[-1] > series[0] + 1e-3).any())


def test_last_settles_on_the_last_point_and_saves_a_pass(generator):
    attack = ProjectedGradientAscent(Ball("linf", 0.8), curved, steps=3, step_size=0.8)
    trajectory = attack(dense.tanh_net(), dense.inputs(), generator)
    assert torch.equal(trajectory.worst, trajectory.points[-1])
    assert trajectory.losses.shape == (3, dense.BATCH)
    assert (trajectory.forward_passes, trajectory.backward_passes) == (3, 3)


def test_passes_of_restarts_are_added(generator):
    attack = ProjectedGradientAscent(Ball("linf", 0.8), curved, restarts=3, select="best")
    calls = []

    def policy(x: Tensor) -> Tensor:
        calls.append(x.requires_grad)
        return identity(x)

    inspect(policy, dense.inputs())
    calls.clear()
    trajectory = attack(policy, dense.inputs(), generator)
    assert trajectory.forward_passes == len(calls) == 1 + 3 * 4
    assert trajectory.backward_passes == sum(calls) == 3 * 3


def test_restarts_keep_whole_trajectories_per_sample(generator):
    policy, x = dense.tanh_net(), dense.inputs(16, 5)
    attack = ProjectedGradientAscent(
        Ball("linf", 0.8), curved, restarts=4, select="best", keep_outputs=True
    )
    trajectory = attack(policy, x, generator)
    assert trajectory.outputs is not None
    for k, point in enumerate(trajectory.points):
        torch.testing.assert_close(trajectory.losses[k], loss_at(policy, point))
        torch.testing.assert_close(trajectory.outputs[k].detach(), policy(point).detach())
    torch.testing.assert_close(trajectory.losses.amax(0), loss_at(policy, trajectory.worst))


@pytest.mark.parametrize("select", ["last", "best"])
def test_kept_outputs_are_attached_to_the_parameters(select, generator):
    policy, x = dense.tanh_net(), dense.inputs()
    attack = ProjectedGradientAscent(Ball("l2", 0.4), curved, keep_outputs=True, select=select)
    trajectory = attack(policy, x, generator)
    recomputed = torch.stack([policy(point) for point in trajectory.points])
    assert trajectory.outputs is not None
    assert not trajectory.points.requires_grad
    dense.assert_matches(trajectory.outputs.square(), recomputed.square(), policy)
    assert trajectory.forward_passes == 4


def test_a_masked_gradient_warns_and_names_the_caller(generator):
    attack = ProjectedGradientAscent(Ball("linf", 0.1), linear)
    with pytest.warns(MaskedGradientWarning, match="zero everywhere.*random_start=True") as record:
        attack(torch.sign, dense.inputs(), generator)
    assert record[0].filename == __file__
    centred = ProjectedGradientAscent(Ball("linf", 0.1), Divergence(), random_start=False)
    with pytest.warns(MaskedGradientWarning):
        centred(dense.tanh_net(), dense.inputs(), generator)


def test_a_tiny_gradient_is_followed_and_is_no_masked_gradient(generator):
    """1e-25 squared is zero in float32; the attack must not stand still."""
    attack = ProjectedGradientAscent(
        Ball("l2", 0.1), lambda output, reference: output.sum(1), random_start=False
    )
    trajectory = attack(lambda x: 1e-25 * x, dense.inputs(dtype=torch.float32), generator)
    distance = (trajectory.worst - trajectory.origin).norm(dim=1)
    torch.testing.assert_close(distance, torch.full((dense.BATCH,), 0.1), rtol=1e-4, atol=0)
    norms = trajectory.unit(trajectory.gradients).norm(dim=-1)
    torch.testing.assert_close(norms, torch.ones_like(norms))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps=0 is not allowed; give a whole number >= 1"),
        ({"steps": 2.0}, r"steps=2\.0 is not allowed"),
        ({"restarts": True}, "restarts=True is not allowed"),
        ({"step_size": 0.0}, r"step_size=0\.0 is not allowed; give a finite number > 0"),
        ({"step_direction": "l2"}, "step_direction='l2' is unknown; choose one of 'steepest'"),
        ({"select": "worst"}, "select='worst' is unknown; choose one of 'last', 'best'"),
        ({"restarts": 2}, "restarts=2 must be compared; use select='best'"),
        (
            {"restarts": 2, "select": "best", "random_start": False},
            "restarts=2 would all give the same result; use random_start=True",
        ),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ProjectedGradientAscent(Ball("l2", 0.1), **settings)


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (lambda u, r: u, r"the objective returned \(4, 5\); it must return one loss per sample"),
        (lambda u, r: u.sum(), r"the objective returned \(\); it must return one loss per sample"),
        (lambda u, r: 1.0, "the objective returned float; it must return one loss per sample"),
        (lambda u, r: u.sum(1) * torch.nan, "the objective returned NaN or infinite losses"),
        (
            lambda u, r: (u - u).square().sum(1).sqrt(),
            "objective's gradient holds NaN or infinite values",
        ),
        (lambda u, r: u.detach().sum(1), "does not depend on the input through autograd"),
    ],
)
def test_bad_objectives_are_refused(objective, message, generator):
    def policy(x: Tensor) -> Tensor:
        return x.square().sqrt() * x

    with pytest.raises(ValueError, match=message):
        ProjectedGradientAscent(Ball("l2", 0.1), objective)(policy, dense.inputs(), generator)


def test_a_detached_policy_is_refused(generator):
    with pytest.raises(ValueError, match=r"remove \.detach\(\), torch\.no_grad\(\)"):
        ProjectedGradientAscent(Ball("l2", 0.1))(
            lambda x: x.detach() * 2, dense.inputs(), generator
        )


def test_a_generator_of_another_device_is_refused():
    class Elsewhere(torch.Generator):
        @property
        def device(self) -> torch.device:
            return torch.device("cuda")

    attack = ProjectedGradientAscent(Ball("l2", 0.1))
    with pytest.raises(ValueError, match="generator lives on cuda but x on cpu; make it with"):
        attack(dense.tanh_net(), dense.inputs(), Elsewhere())
