"""APGD: its recursion, by a second implementation for one row, and its settings."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from aajr import AutoPGD, Ball, MaskedGradientWarning
from aajr.testing import dense


def curved(output: Tensor, reference) -> Tensor:
    return (3 * output).sin().sum(1)


def by_hand(policy, x: Tensor, epsilon: float, steps: int, window: int) -> list[Tensor]:
    """The points for one row in a plain linf box from δ = 0, with Python's own numbers."""

    def evaluate(delta: Tensor) -> tuple[float, Tensor]:
        point = (x + delta).requires_grad_()
        loss = curved(policy(point), None)
        return float(loss.detach()), torch.autograd.grad(loss.sum(), point)[0]

    delta = before = torch.zeros_like(x)
    size, best, best_loss, last, checked = 2 * epsilon, (delta, None), -1e9, -1e9, -1e9
    rises, halved, points = 0, True, [x]
    for k in range(steps):
        loss, gradient = evaluate(delta)
        if loss > best_loss:
            best_loss, best = loss, (delta, gradient)
        rises += loss > last
        last = loss
        if k and k % window == 0:
            stalled = rises < 0.75 * window or (not halved and best_loss == checked)
            if stalled:
                size, (delta, gradient) = size / 2, best
                before, last = delta, best_loss
            halved, checked, rises = stalled, best_loss, 0
        target = (delta + size * gradient.sign()).clamp(-epsilon, epsilon)
        if k:
            drift = 0.75 * (target - delta) + 0.25 * (delta - before)
            target = (delta + drift).clamp(-epsilon, epsilon)
        before, delta = delta, target
        points.append(x + delta)
    return points


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("window", [1, 3])
def test_it_obeys_its_recursion(seed, window, generator):
    policy, x = dense.tanh_net(), dense.inputs(1, 5, seed=seed)
    attack = AutoPGD(Ball("linf", 0.8), curved, steps=14, window=window, random_start=False)
    trajectory = attack(policy, x, generator)
    for point, expected in zip(trajectory.points, by_hand(policy, x, 0.8, 14, window), strict=True):
        torch.testing.assert_close(point, expected)
    assert torch.equal(trajectory.worst, trajectory.points[trajectory.losses.argmax(0)[0]])


def test_rows_halve_their_own_steps(generator):
    """One row's maximum is inside the ball, the other's on its surface."""
    top = torch.tensor([[0.1], [9.0]])

    def hill(output: Tensor, reference) -> Tensor:
        return -(output - reference.data["top"]).square().sum(1)

    attack = AutoPGD(Ball("linf", 1.0), hill, steps=60, random_start=False)
    trajectory = attack(lambda x: x * 1.0, torch.zeros(2, 1), generator, {"top": top})
    torch.testing.assert_close(trajectory.worst, torch.tensor([[0.1], [1.0]]), atol=1e-3, rtol=0)


def test_masked_gradients_warn(generator):
    with pytest.warns(MaskedGradientWarning, match="zero everywhere"):
        AutoPGD(Ball("linf", 0.1))(lambda x: x.round() + 0 * x, dense.inputs(), generator)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps=0 is not allowed"),
        ({"restarts": 0}, "restarts=0 is not allowed"),
        ({"window": 0}, "window=0 is not allowed"),
        ({"restarts": 2, "random_start": False}, "restarts=2 would all give the same"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        AutoPGD(Ball("linf", 0.1), **settings)
