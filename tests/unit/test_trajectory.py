"""The record of an inner maximisation, and its vectors."""

from __future__ import annotations

import pytest
import torch

from aajr import Ball, ProjectedGradientAscent
from aajr._modes import evaluating
from aajr._vectors import length, unit
from aajr.testing import dense


def trajectory():
    attack = ProjectedGradientAscent(Ball("l2", 0.3), keep_outputs=True)
    data = {"row": torch.arange(4)}
    return attack(dense.tanh_net(), dense.inputs(), torch.Generator().manual_seed(0), data)


def test_rows_choose_every_field():
    whole, index = trajectory(), torch.tensor([2, 0])
    part = whole.rows(index)
    assert torch.equal(part.origin, whole.origin[index])
    assert torch.equal(part.reference.outputs, whole.reference.outputs[index])
    assert part.reference.data["row"].tolist() == [2, 0]
    for name in ("points", "gradients", "losses", "outputs"):
        assert torch.equal(getattr(part, name), getattr(whole, name)[:, index])
    assert torch.equal(part.worst, whole.worst[index])
    assert part.event_dims == whole.event_dims


def test_steps_lead_from_point_to_point():
    whole = trajectory()
    torch.testing.assert_close(whole.points[0] + whole.steps.sum(0), whole.points[-1])


@pytest.mark.parametrize("size", [1e-40, 1e-30, 1.0, 1e30])
def test_lengths_and_units_survive_float32(size):
    value = torch.tensor([[3.0, -4.0], [0.0, 0.0]]) * size
    torch.testing.assert_close(length(value, (1,)), torch.tensor([[5.0], [0.0]]) * size)
    expected = torch.tensor([[0.6, -0.8], [0.0, 0.0]])
    torch.testing.assert_close(unit(value, (1,)), expected, rtol=1e-4, atol=0)


def test_lengths_over_several_dimensions():
    value = dense.inputs(2, 3, 4)
    torch.testing.assert_close(length(value, (1, 2)).flatten(), value.flatten(1).norm(dim=1))
    torch.testing.assert_close(unit(value, (1, 2)).flatten(1).norm(dim=1), torch.ones(2).double())


def test_evaluation_mode_is_given_back_to_each_module():
    policy = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Dropout()).train()
    policy[0].eval()

    def fail() -> None:
        with evaluating(policy):
            assert not any(module.training for module in policy.modules())
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert [module.training for module in policy.modules()] == [True, False, True]
    with evaluating(torch.tanh):
        pass
