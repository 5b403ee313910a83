"""Membership and its witnesses against dense singular values."""

from __future__ import annotations

import math

import pytest
import torch

from aajr import Ball, ProjectedGradientAscent
from aajr.testing import dense
from aajr.theory import anisotropic_policy, membership, top_singular


def first_output(output, reference):
    return output[:, 0].sin()


def trajectory_of(policy, x):
    attack = ProjectedGradientAscent(Ball("l2", 0.5), first_output)
    return attack(policy, x, torch.Generator().manual_seed(0))


def test_top_singular_agrees_with_the_dense_decomposition():
    policy, x = dense.tanh_net(), dense.inputs(9, dense.INPUTS)
    norms, directions = top_singular(policy, x, chunk=4)
    jacobian = dense.jacobian(policy, x)
    torch.testing.assert_close(norms, torch.linalg.matrix_norm(jacobian, ord=2))
    product = (jacobian @ directions.unsqueeze(-1)).flatten(1).norm(dim=1)
    torch.testing.assert_close(product, norms)


@pytest.mark.parametrize("direction", ["unit", "step"])
def test_the_largest_sensitivities_are_found_with_their_witnesses(direction):
    policy = dense.tanh_net()
    trajectory = trajectory_of(policy, dense.inputs(9, dense.INPUTS))
    found = membership(policy, trajectory, 1.0, direction)
    points = trajectory.points[:-1].flatten(0, 1)
    source = trajectory.gradients if direction == "unit" else trajectory.steps
    v = source.flatten(0, 1)
    v = v / v.norm(dim=1, keepdim=True)
    jacobian = dense.jacobian(policy, points).detach()
    aligned = (jacobian @ v.unsqueeze(-1)).flatten(1).norm(dim=1)
    assert found.aligned.sensitivity == pytest.approx(float(aligned.max()))
    assert found.spectral.sensitivity == pytest.approx(
        float(torch.linalg.matrix_norm(jacobian, ord=2).max())
    )
    assert found.aligned.sensitivity <= found.spectral.sensitivity
    for witness in (found.aligned, found.spectral):
        torch.testing.assert_close(witness.point, trajectory.points[witness.step, witness.sample])
        shown = dense.jacobian(policy, witness.point.unsqueeze(0))[0].detach() @ witness.direction
        assert float(shown.norm()) == pytest.approx(witness.sensitivity)


@pytest.mark.parametrize("other", [0.5, 1.0, 2.0, 1e6])
def test_the_family_lies_in_the_aligned_class_for_every_m(other):
    policy = anisotropic_policy(1.0, other)
    found = membership(policy, trajectory_of(policy, dense.inputs(9, 2)), 1.0)
    assert found.in_aligned
    assert found.in_global == (other <= 1.0)


def test_gamma_decides():
    policy = dense.tanh_net()
    trajectory = trajectory_of(policy, dense.inputs())
    least = membership(policy, trajectory, 1.0)
    above, below = least.aligned.sensitivity * 1.01, least.aligned.sensitivity * 0.99
    assert membership(policy, trajectory, above).in_aligned
    assert not membership(policy, trajectory, below).in_aligned


@pytest.mark.parametrize("gamma", [0.0, -1.0, math.nan])
def test_gamma_must_be_positive(gamma):
    policy = dense.tanh_net()
    with pytest.raises(ValueError, match="gamma="):
        membership(policy, trajectory_of(policy, dense.inputs()), gamma)


def test_agents_share_one_row():
    policy = torch.nn.Sequential(torch.nn.Flatten(1), dense.tanh_net(6, 6))
    attack = ProjectedGradientAscent(Ball("l2", 0.5), first_output)
    trajectory = attack(policy, dense.inputs(4, 2, 3), torch.Generator().manual_seed(0))
    found = membership(policy, trajectory, 1.0)
    assert found.aligned.sensitivity <= found.spectral.sensitivity
    assert float(found.aligned.direction.norm()) == pytest.approx(1.0)
