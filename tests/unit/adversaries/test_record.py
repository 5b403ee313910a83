"""What a search keeps: only its last step, and clean outputs only where they are read."""

from __future__ import annotations

import pytest
import torch

from aajr import AutoPGD, Ball, Divergence, ProjectedGradientAscent
from aajr._inspection import inspect
from aajr.adversaries._record import Record
from aajr.adversaries._restarts import higher_loss
from aajr.testing import dense, doubles


def summed(output, reference):
    return output.square().sum(1)


def attacked(policy, adversary, x=None):
    return adversary(policy, dense.inputs(16, 5) if x is None else x, torch.Generator())


SEARCHES = {
    "last": lambda **kw: ProjectedGradientAscent(steps=4, **kw),
    "best": lambda **kw: ProjectedGradientAscent(steps=4, step_size=0.9, select="best", **kw),
    "restarts": lambda **kw: ProjectedGradientAscent(
        steps=3, step_size=0.9, select="best", restarts=3, **kw
    ),
    "apgd": lambda **kw: AutoPGD(steps=9, **kw),
    "apgd, restarts": lambda **kw: AutoPGD(steps=5, restarts=3, **kw),
}


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("make", SEARCHES.values(), ids=SEARCHES)
def test_the_last_step_alone_is_that_of_the_whole_trajectory(norm, make):
    policy, ball = dense.tanh_net(), Ball(norm, 0.8)
    inspect(policy, dense.inputs(16, 5))
    whole = attacked(policy, make(ball=ball, objective=summed))
    last = attacked(policy, make(ball=ball, objective=summed, record="last"))
    assert torch.equal(last.worst, whole.worst)
    assert torch.equal(last.gradients[-1], whole.gradients[-1])
    assert torch.equal(last.points[0], whole.points[-2])
    assert torch.equal(last.points[1], last.worst)
    assert (len(last.points), len(last.gradients)) == (2, 1)
    settled = whole.losses[-1] if len(last.losses) == 1 else whole.losses.amax(0)
    assert torch.equal(last.losses[-1], settled)
    assert last.forward_passes == whole.forward_passes
    assert last.backward_passes == whole.backward_passes


def test_the_clean_input_may_be_the_best():
    x = dense.inputs()
    record = Record(x, 2, "last", best=True)
    for place, loss in ((x, 2.0), (x + 1, 1.0)):
        record.visit(record.place(place), x.new_full((len(x),), loss), x)
    assert torch.equal(record.result(x + 2, x.new_zeros(len(x)))[3], x)


def test_nothing_beyond_the_two_ends_is_held():
    x = dense.inputs()
    record = Record(x, 9, "last", best=True)
    for k in range(9):
        record.visit(record.place(0.1 * k * torch.ones_like(x)), x.sum(1), x)
    held = sum(value.numel() for value in vars(record).values() if isinstance(value, torch.Tensor))
    assert held <= 7 * x.numel()
    assert len(record.losses) == 1


def test_the_worse_of_two_searches_takes_the_place_of_the_first():
    policy, attack = dense.tanh_net(), ProjectedGradientAscent(Ball("l2", 0.8), select="best")
    generator, x = torch.Generator().manual_seed(0), dense.inputs(16, 5)
    first, second = (attack(policy, x, generator) for _ in range(2))
    higher = second.losses.amax(0) > first.losses.amax(0)
    expected = torch.where(higher[:, None], second.worst, first.worst)
    found = higher_loss(first, second)
    assert torch.equal(found.worst, expected)
    assert not torch.equal(found.worst, second.worst)
    for name in ("points", "gradients", "losses", "worst"):
        assert getattr(found, name).data_ptr() == getattr(first, name).data_ptr()


def test_kept_outputs_need_the_whole_trajectory():
    with pytest.raises(ValueError, match="keep_outputs=True keeps every point"):
        ProjectedGradientAscent(Ball("l2", 0.1), keep_outputs=True, record="last")
    with pytest.raises(ValueError, match="record='first' is unknown"):
        AutoPGD(Ball("l2", 0.1), record="first")


def test_clean_outputs_that_nobody_reads_cost_no_pass():
    policy, ball = doubles.CountingPolicy(), Ball("linf", 0.1)
    found = attacked(policy, ProjectedGradientAscent(ball, summed, steps=3), dense.inputs())
    assert policy.rows == 3 * dense.BATCH
    assert found.forward_passes == 3
    assert not found.reference.evaluated
    expected = policy.net(dense.inputs()).detach()
    assert torch.equal(found.rows(torch.tensor([2, 0])).reference.outputs, expected[[2, 0]])
    assert torch.equal(found.reference.outputs, expected)
    assert policy.rows == 4 * dense.BATCH
    read = attacked(policy, ProjectedGradientAscent(ball, Divergence(), steps=3), dense.inputs())
    assert read.forward_passes == 4
    assert read.reference.evaluated


def test_clean_outputs_are_those_of_evaluation_mode():
    net = torch.nn.Sequential(dense.tanh_net(), torch.nn.Dropout()).train()
    attack = ProjectedGradientAscent(Ball("linf", 0.1), summed)
    attacked(net, attack)
    found = attacked(net, attack)
    assert not found.reference.evaluated
    assert torch.equal(found.reference.outputs, net[0](found.origin).detach())
    assert net.training


def test_stale_clean_outputs_are_refused():
    policy = dense.tanh_net()
    attack = ProjectedGradientAscent(Ball("linf", 0.1), summed)
    attacked(policy, attack)
    found = attacked(policy, attack)
    with torch.no_grad():
        policy[0].weight.mul_(2)
    with pytest.raises(ValueError, match=r"parameters have changed since the attack"):
        _ = found.reference.outputs


def test_policies_without_visible_parameters_are_evaluated_at_once():
    attack = ProjectedGradientAscent(Ball("linf", 0.1), summed)
    for _ in range(2):
        assert attacked(torch.tanh, attack).reference.evaluated
