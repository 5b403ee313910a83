"""Norms of the whole Jacobian. Their parity with dense matrices is in tests/parity."""

from __future__ import annotations

import pytest
import torch

from aajr import frobenius_squared, spectral_squared
from aajr.testing import dense


def test_frobenius_and_spectral_norms_of_a_linear_policy(generator):
    W = dense.inputs(3, 4)
    x = dense.inputs(2, 4)
    spectral = spectral_squared(lambda x: x @ W.T, x, generator, iterations=300)
    torch.testing.assert_close(spectral, torch.linalg.matrix_norm(W, 2).square().expand(2))
    frobenius = frobenius_squared(lambda x: x @ W.T, x, generator, projections=4000)
    torch.testing.assert_close(frobenius, W.square().sum().expand(2), rtol=0.1, atol=0)


def test_the_power_iteration_rises_to_the_norm_from_below():
    policy, x = dense.tanh_net(), dense.inputs()
    exact = torch.linalg.matrix_norm(dense.jacobian(policy, x), 2).square()
    values = [
        spectral_squared(policy, x, torch.Generator().manual_seed(0), iterations=k)
        for k in (1, 3, 10, 100)
    ]
    for low, high in zip(values, [*values[1:], exact], strict=True):
        assert bool((low <= high * (1 + 1e-9)).all())


@pytest.mark.parametrize("norm", [frobenius_squared, spectral_squared])
def test_rows_do_not_see_one_another(norm):
    policy, x = dense.tanh_net(), dense.inputs()
    others = torch.cat([x[:1], dense.inputs(3, dense.INPUTS, seed=9)])
    values = [norm(policy, t, torch.Generator().manual_seed(0))[0] for t in (x, others)]
    torch.testing.assert_close(values[0], values[1], rtol=1e-12, atol=0)


@pytest.mark.parametrize("norm", [frobenius_squared, spectral_squared])
def test_the_global_seed_changes_nothing(norm):
    policy, x = dense.tanh_net(), dense.inputs()
    values = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        values.append(norm(policy, x, torch.Generator().manual_seed(0)))
    assert torch.equal(*values)


@pytest.mark.parametrize("norm", [frobenius_squared, spectral_squared])
def test_a_constant_row_has_a_zero_norm_and_a_finite_gradient(norm, generator):
    policy = dense.tanh_net()
    torch.nn.init.zeros_(policy[2].weight)
    value = norm(policy, dense.inputs(), generator)
    assert torch.equal(value, torch.zeros_like(value))
    assert bool(dense.parameter_gradient(value, policy).isfinite().all())


@pytest.mark.parametrize("norm", [frobenius_squared, spectral_squared])
@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.ones(4, dtype=torch.bool), r"mask of shape \(4,\) does not fit x of shape \(4, 5\)"),
        (torch.ones(2, 5, dtype=torch.bool), "give a shape that broadcasts to one sample"),
        (torch.ones(5), "mask is torch.float32; give a boolean tensor"),
        ([True], "mask is list; give a boolean tensor"),
        (torch.zeros(5, dtype=torch.bool), "mask is False everywhere; allow at least one feature"),
    ],
)
def test_bad_masks_are_refused(norm, mask, message, generator):
    with pytest.raises(ValueError, match=message):
        norm(dense.tanh_net(), dense.inputs(), generator, mask=mask)


def test_bad_counts_are_refused(generator):
    with pytest.raises(ValueError, match="projections=0 is not allowed; give a whole number >= 1"):
        frobenius_squared(dense.tanh_net(), dense.inputs(), generator, projections=0)
    with pytest.raises(ValueError, match=r"iterations=1\.5 is not allowed"):
        spectral_squared(dense.tanh_net(), dense.inputs(), generator, iterations=1.5)
