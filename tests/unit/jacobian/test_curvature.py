"""Second directional derivatives against dense Hessians."""

from __future__ import annotations

import pytest
import torch

from aajr import directional_curvature
from aajr.testing import dense


def hessians(policy, x):
    """D²π of every row, ``[batch, outputs, inputs, inputs]``."""
    row = torch.func.jacfwd(torch.func.jacrev(lambda r: policy(r.unsqueeze(0)).squeeze(0)))
    return torch.stack([row(r) for r in x])


def test_all_three_terms_agree_with_dense_derivatives():
    policy, x, v = dense.tanh_net(), dense.inputs(), dense.inputs(seed=7)
    output, first, second = directional_curvature(policy, x, v)
    torch.testing.assert_close(output, policy(x))
    torch.testing.assert_close(first, (dense.jacobian(policy, x) @ v.unsqueeze(-1)).squeeze(-1))
    torch.testing.assert_close(second, torch.einsum("boij,bi,bj->bo", hessians(policy, x), v, v))


def test_rows_do_not_see_one_another():
    policy, x, v = dense.tanh_net(), dense.inputs(), dense.inputs(seed=7)
    alone = directional_curvature(policy, x[:1], v[:1])
    for part, whole in zip(alone, directional_curvature(policy, x, v), strict=True):
        torch.testing.assert_close(part, whole[:1])


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="v has shape"):
        directional_curvature(torch.tanh, torch.ones(2, 3), torch.ones(2, 2))


def test_other_errors_pass_through():
    def broken(x):
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        directional_curvature(broken, torch.ones(2, 3), torch.ones(2, 3))
