"""Attacks on another map: on a value, and on an imitation of the victim."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from aajr import (
    AttackOn,
    AutoPGD,
    Ball,
    Divergence,
    Imitation,
    LeastValue,
    ProjectedGradientAscent,
    Transfer,
    imitate,
)
from aajr.testing import dense, doubles

BALL = Ball("linf", 0.3)


def value(x: Tensor) -> Tensor:
    return x @ torch.tensor([[1.0], [-2.0], [0.0], [3.0], [-4.0]], dtype=x.dtype)


def test_the_attack_on_a_value_shows_the_worst_looking_state(generator):
    policy, x = doubles.CountingPolicy(), dense.inputs()
    trajectory = AttackOn(value, AutoPGD(BALL, LeastValue()))(policy, x, generator)
    signs = torch.tensor([-1.0, 1.0, 0.0, -1.0, 1.0], dtype=x.dtype)
    moved = (trajectory.worst - x)[:, [0, 1, 3, 4]]
    torch.testing.assert_close(moved, (0.3 * signs[[0, 1, 3, 4]]).expand(4, -1))
    torch.testing.assert_close(trajectory.reference.outputs, policy.net(x).detach())
    assert policy.rows == dense.BATCH
    assert (trajectory.forward_passes, trajectory.backward_passes) == (1, 20)
    expected = -value(torch.eye(5, dtype=x.dtype)).flatten()
    torch.testing.assert_close(trajectory.gradients[3], expected.expand(4, -1))


def test_a_transferred_attack_is_the_imitations_without_its_gradients(generator):
    victim, copy, x = dense.tanh_net(), dense.tanh_net(seed=5), dense.inputs()
    search = ProjectedGradientAscent(BALL, Divergence(), select="best")
    trajectory = Transfer(copy, search)(victim, x, generator)
    own = search(copy, x, torch.Generator().manual_seed(0))
    assert torch.equal(trajectory.worst, own.worst)
    assert torch.equal(trajectory.reference.outputs, victim(x).detach())
    assert bool((trajectory.gradients == 0).all())
    assert (trajectory.forward_passes, trajectory.backward_passes) == (1, 0)


def test_an_imitation_learns_its_victim_by_queries_alone(generator):
    policy = dense.tanh_net()

    def sealed(x: Tensor) -> Tensor:
        return policy(x).detach()

    copy = imitate(sealed, dense.inputs(2000, 5), generator)
    assert copy.queries == 2000
    assert copy.error < 0.01
    fresh = dense.inputs(200, 5, seed=9)
    gap = (copy(fresh) - policy(fresh)).square().mean(0) / policy(fresh).var(0)
    assert float(gap.detach().mean()) == pytest.approx(copy.error, rel=1.5)
    assert not any(p.requires_grad for p in copy.parameters())
    assert copy(fresh).dtype == torch.float64


def test_an_imitation_keeps_the_shapes_of_its_victim(generator):
    states = dense.inputs(40, 2, 3)
    copy = imitate(lambda x: x.transpose(1, 2), states, generator, epochs=1, hidden=(8,))
    assert copy(states).shape == (40, 3, 2)


def test_only_the_generator_decides_about_an_imitation():
    states, copies = dense.inputs(60, 5), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        copies.append(imitate(torch.sin, states, torch.Generator().manual_seed(0), epochs=2))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(copies[0](states), copies[1](states))


def test_the_victim_is_asked_in_evaluation_mode_and_left_as_it_was(generator):
    victim = doubles.with_dropout(dense.tanh_net())
    mean = victim[1].running_mean.clone()
    imitate(victim, dense.inputs(20, 5), generator, epochs=1)
    assert torch.equal(victim[1].running_mean, mean)
    assert all(doubles.modes(victim))
    assert all(p.grad is None for p in victim.parameters())


def test_an_imitation_is_a_module_with_its_statistics_as_buffers():
    copy = Imitation(nn.Linear(2, 2), torch.Size([2]), torch.zeros(2), torch.ones(2), queries=1)
    assert {"mean", "spread"} <= set(copy.state_dict())


@pytest.mark.parametrize(
    ("states", "settings", "message"),
    [
        (torch.zeros(9, 2), {}, "states has 9 rows; give at least 10"),
        (torch.full((10, 2), torch.nan), {}, "states holds 20 NaN"),
        (torch.zeros(10, 2), {"hidden": (8, 0)}, "hidden=0 is not allowed"),
        (torch.zeros(10, 2), {"epochs": 0}, "epochs=0 is not allowed"),
        (torch.zeros(10, 2), {"batch": 0}, "batch=0 is not allowed"),
        (torch.zeros(10, 2), {"learning_rate": 0.0}, "learning_rate=0.0 is not allowed"),
    ],
)
def test_bad_imitations_are_refused(states, settings, message, generator):
    with pytest.raises(ValueError, match=message):
        imitate(torch.sin, states, generator, **settings)


def test_a_victim_that_answers_nan_is_refused(generator):
    with pytest.raises(ValueError, match="the policy's output holds 20 NaN"):
        imitate(lambda x: x * torch.nan, torch.zeros(10, 2), generator)
