"""Output metrics against Hessians of torch's own divergences, and their second-order match."""

from __future__ import annotations

import pytest
import torch

from aajr import Categorical, DiagonalGaussian, Euclidean
from aajr.testing import dense

every_metric = pytest.mark.parametrize("metric", dense.METRICS.values(), ids=dense.METRICS)


def outputs() -> torch.Tensor:
    return dense.inputs(3, dense.OUTPUTS, seed=4)


def hessian(metric, u):
    """Second derivative of D(u, w) in w at w = u, one row."""
    return torch.func.hessian(lambda w: dense.divergence(metric, u, w))(u)


@every_metric
def test_apply_is_the_hessian_of_the_divergence(metric):
    u = outputs()
    expected = torch.stack([hessian(metric, row) for row in u])
    torch.testing.assert_close(dense.metric_matrix(metric, u), expected, rtol=1e-9, atol=1e-9)
    basis = torch.eye(dense.OUTPUTS, dtype=u.dtype)
    columns = [metric.apply(u, e.expand_as(u)) for e in basis]
    torch.testing.assert_close(torch.stack(columns, -1), expected, rtol=1e-9, atol=1e-9)


@every_metric
def test_factor_times_its_transpose_is_the_metric(metric):
    u = outputs()
    basis = torch.eye(dense.OUTPUTS, dtype=u.dtype)
    S = torch.stack([metric.factor(u, e.expand_as(u)) for e in basis], -1)
    expected = dense.metric_matrix(metric, u)
    torch.testing.assert_close(S @ S.transpose(-1, -2), expected, rtol=1e-12, atol=1e-12)


@every_metric
def test_divergence_is_torchs_own(metric):
    u, w = outputs(), dense.inputs(3, dense.OUTPUTS, seed=5)
    torch.testing.assert_close(metric.divergence(u, w), dense.divergence(metric, u, w))
    torch.testing.assert_close(metric.divergence(u, u), torch.zeros(3, dtype=u.dtype))


@every_metric
def test_divergence_matches_half_the_squared_norm_to_third_order(metric):
    policy = dense.tanh_net().requires_grad_(False)
    x, v = dense.inputs(seed=2), dense.inputs(seed=3)
    square = dense.squared_norm(policy, metric, x, v)

    def gap(h: float) -> torch.Tensor:
        divergence = metric.divergence(policy(x), policy(x + h * v))
        return (divergence - h**2 * square / 2).abs().max()

    order = torch.log2(gap(2e-3) / gap(1e-3))
    assert float(order) > 2.9


@every_metric
def test_squared_norm_sums_all_but_the_batch_and_is_not_negative(metric):
    u, t = dense.inputs(3, 2, dense.OUTPUTS, seed=6), dense.inputs(3, 2, dense.OUTPUTS, seed=7)
    value = metric.squared_norm(u, t)
    parts = [metric.squared_norm(u[:, agent], t[:, agent]) for agent in range(2)]
    torch.testing.assert_close(value, parts[0] + parts[1])
    assert bool((value > 0).all())


def test_a_shift_of_logits_has_no_length():
    u = outputs()
    value = Categorical().squared_norm(u, torch.ones_like(u))
    torch.testing.assert_close(value, torch.zeros_like(value), rtol=0, atol=1e-15)


def test_probabilities_are_per_head():
    u = outputs()
    p = Categorical(heads=(2, 4)).probabilities(u)
    torch.testing.assert_close(p[:, :2].sum(-1), torch.ones(3, dtype=u.dtype))
    torch.testing.assert_close(p[:, 2:], u[:, 2:].softmax(-1))
    torch.testing.assert_close(Categorical(heads=(2, 4)).log_probabilities(u).exp(), p)


def test_euclidean_is_the_plain_square():
    t = outputs()
    torch.testing.assert_close(Euclidean().squared_norm(t, t), t.square().sum(-1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Categorical(heads=(1, 2)), "heads=1 is not allowed; give a whole number >= 2"),
        (lambda: Categorical(heads=()), r"heads=\(\) is empty"),
        (
            lambda: Categorical(heads=(2, 2)).probabilities(torch.zeros(1, 5)),
            r"heads=\(2, 2\) need 4 outputs, the policy gives 5; make them agree",
        ),
        (
            lambda: DiagonalGaussian().divergence(torch.zeros(1, 3), torch.zeros(1, 3)),
            "gives 3 outputs, an odd number",
        ),
    ],
)
def test_bad_outputs_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
