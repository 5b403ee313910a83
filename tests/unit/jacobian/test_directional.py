"""Estimators of J v against dense Jacobians, their order, and gradients through both branches."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from aajr import directional_derivative
from aajr.jacobian import ESTIMATORS
from aajr.testing import dense

TOLERANCES = {
    "forward_mode": 1e-12,
    "double_backward": 1e-12,
    "forward_difference": 1e-6,
    "central_difference": 1e-8,
}
every_estimator = pytest.mark.parametrize("estimator", ESTIMATORS)


@pytest.mark.parametrize("estimator", TOLERANCES)
@pytest.mark.parametrize("length", [1e-30, 1.0, 1e10])
def test_value_and_parameter_gradient_are_dense(estimator, length):
    policy, x = dense.tanh_net(), dense.inputs()
    v = dense.inputs(seed=2) * length
    output, product = directional_derivative(policy, x, v, estimator)
    expected = (dense.jacobian(policy, x) @ v.unsqueeze(-1)).squeeze(-1)
    dense.assert_matches(
        product.square().sum() / length**2,
        expected.square().sum() / length**2,
        policy,
        tolerance=TOLERANCES[estimator],
    )
    torch.testing.assert_close(output, policy(x), rtol=1e-6, atol=1e-8)


def test_secant_approaches_the_derivative_to_first_order():
    policy, x = dense.tanh_net().requires_grad_(False), dense.inputs()
    v = dense.inputs(seed=2)
    exact = (dense.jacobian(policy, x) @ v.unsqueeze(-1)).squeeze(-1)

    def error(h: float) -> torch.Tensor:
        change = directional_derivative(policy, x, h * v, "secant")[1] / h
        return (change - exact).norm()

    assert float(error(2e-3) / error(1e-3)) == pytest.approx(2, rel=0.01)


def test_the_central_difference_is_of_second_order():
    policy, v = dense.tanh_net(dtype=torch.float32), dense.inputs(seed=2, dtype=torch.float32)
    doubled = copy.deepcopy(policy).double().requires_grad_(False)
    x = dense.inputs(dtype=torch.float32)
    exact = (dense.jacobian(doubled, x.double()) @ v.double().unsqueeze(-1)).squeeze(-1)
    policy.requires_grad_(False)
    errors = {
        name: float((directional_derivative(policy, x, v, name)[1] - exact).norm() / exact.norm())
        for name in ("forward_difference", "central_difference")
    }
    assert errors["central_difference"] < 1e-4 < 3e-4 < errors["forward_difference"] < 3e-3


@every_estimator
def test_a_zero_direction_gives_zero(estimator):
    policy, x = dense.tanh_net(), dense.inputs()
    product = directional_derivative(policy, x, torch.zeros_like(x), estimator)[1]
    assert torch.equal(product, torch.zeros_like(product))
    assert bool(dense.parameter_gradient(product, policy).isfinite().all())


@every_estimator
def test_rows_are_independent(estimator):
    policy, x, v = dense.tanh_net(), dense.inputs(), dense.inputs(seed=2)
    batch = directional_derivative(policy, x, v, estimator)[1]
    for row in range(len(x)):
        part = slice(row, row + 1)
        alone = directional_derivative(policy, x[part], v[part], estimator)[1]
        torch.testing.assert_close(alone, batch[part], rtol=1e-6, atol=1e-8)


@every_estimator
def test_events_of_several_dimensions(estimator):
    flat = dense.tanh_net(6, 4)

    def policy(x: torch.Tensor) -> torch.Tensor:
        return flat(x.flatten(1)).reshape(-1, 2, 2)

    x, v = dense.inputs(3, 2, 3), dense.inputs(3, 2, 3, seed=2) * 1e-4
    product = directional_derivative(policy, x, v, estimator)[1]
    expected = dense.jacobian(flat, x.flatten(1)) @ v.flatten(1).unsqueeze(-1)
    torch.testing.assert_close(product, expected.reshape(3, 2, 2), rtol=2e-3, atol=1e-8)


@pytest.mark.parametrize("estimator", ["forward_difference", "central_difference", "secant"])
def test_both_branches_of_a_difference_are_attached(estimator):
    """A detached clean branch keeps the value and loses the gradient."""
    policy, x = dense.tanh_net(), dense.inputs()
    v = dense.inputs(seed=2) * 1e-5
    exact = (dense.jacobian(policy, x) @ v.unsqueeze(-1)).square().sum()
    true_gradient = dense.parameter_gradient(exact, policy)

    def cosine(product: torch.Tensor) -> float:
        gradient = dense.parameter_gradient(product.square().sum(), policy)
        return float(gradient @ true_gradient / gradient.norm() / true_gradient.norm())

    ours = directional_derivative(policy, x, v, estimator)[1]
    one_branch = policy(x + v) - policy(x).detach()
    torch.testing.assert_close(one_branch, ours, rtol=1e-3, atol=1e-9)
    assert cosine(ours) > 0.999
    assert cosine(one_branch) < 0.95


def deep_net(inputs: int, outputs: int, gain: float) -> nn.Sequential:
    net = nn.Sequential(
        nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, outputs)
    )
    generator = torch.Generator().manual_seed(0)
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0, gain / layer.in_features**0.5, generator=generator)
            nn.init.normal_(layer.bias, 0, 0.1, generator=generator)
    return net.requires_grad_(False)


@pytest.mark.parametrize(
    ("inputs", "outputs", "gain", "size"),
    [
        (53, 26, 1.0, 1.0),
        (53, 26, 2.0, 1.0),
        (53, 26, 0.3, 1.0),
        (11, 3, 1.0, 1.0),
        (53, 26, 1.0, 10.0),
    ],
)
def test_float32_bias_of_the_default_is_below_half_a_percent(inputs, outputs, gain, size):
    policy = deep_net(inputs, outputs, gain)
    exact_policy = copy.deepcopy(policy).double()
    x = dense.inputs(512, inputs, dtype=torch.float32) * size
    v = dense.inputs(512, inputs, seed=2, dtype=torch.float32)
    v = v / v.norm(dim=1, keepdim=True)
    measured = directional_derivative(policy, x, v)[1].double().square().sum(1)
    exact = directional_derivative(exact_policy, x.double(), v.double(), "forward_mode")[1]
    exact = exact.square().sum(1)
    assert abs(float(measured.mean() / exact.mean()) - 1) < 2e-4  # the bias
    assert float((measured / exact - 1).abs().median()) < 2e-3  # a single row's error


def test_a_piecewise_constant_policy_has_no_derivative():
    x = dense.inputs()
    for estimator in ("forward_mode", "double_backward"):
        product = directional_derivative(torch.sign, x, torch.ones_like(x), estimator)[1]
        assert torch.equal(product, torch.zeros_like(x))


@pytest.mark.parametrize(
    ("policy", "v", "estimator", "message"),
    [
        (
            torch.tanh,
            torch.ones(2, 3),
            "exact",
            "estimator='exact' is unknown; choose one of 'forw",
        ),
        (torch.tanh, torch.ones(2, 4), "secant", r"v has shape \(2, 4\) but x has \(2, 3\)"),
        (torch.tanh, torch.ones(2, 3).double(), "secant", r"v has dtype torch.float64 but x"),
        (
            lambda x: x.detach().tanh(),
            torch.ones(2, 3),
            "double_backward",
            r"does not depend on the input through autograd; remove \.detach\(\)",
        ),
    ],
)
def test_bad_input_is_refused(policy, v, estimator, message):
    with pytest.raises(ValueError, match=message):
        directional_derivative(policy, torch.ones(2, 3), v, estimator)


@pytest.mark.parametrize("estimator", TOLERANCES)
@given(factor=st.floats(1e-3, 1e3), sign=st.sampled_from([1, -1]))
def test_the_squared_length_is_homogeneous_in_the_direction(estimator, factor, sign):
    """‖J (c v)‖² = c² ‖J v‖², in every metric."""
    policy, x, v = dense.tanh_net().requires_grad_(False), dense.inputs(), dense.inputs(seed=2)
    pairs = [directional_derivative(policy, x, w, estimator) for w in (v, sign * factor * v)]
    for metric in dense.METRICS.values():
        once, scaled = (metric.squared_norm(*pair) for pair in pairs)
        torch.testing.assert_close(scaled, factor**2 * once, rtol=1e-4, atol=0)
