"""Bounds hold, and are as tight as they claim."""

from __future__ import annotations

import builtins
import copy
import sys
import warnings
from fractions import Fraction

import mpmath
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from aajr import Ball, MaskedGradientWarning, ProjectedGradientAscent
from aajr.certification import certified_bounds
from aajr.certification._bounds import Propagator
from aajr.certification._network import supported_network
from aajr.certification._region import region_around
from aajr.certification._rounding import interval_margins, relaxation_margins
from tests.unit.certification.networks import ACTIVATIONS, dense_points, linear, network

BALLS = {
    "linf": Ball("linf", 0.2),
    "l2": Ball("l2", 0.3),
    "masked": Ball("linf", 0.3, mask=torch.tensor([True, False, True])),
    "scaled_l2": Ball("l2", 0.2, scale=torch.tensor([0.3, 2.0, 1.0])),
    "boxed": Ball("linf", 0.5, low=-0.4, high=torch.tensor([0.5, 0.2, 9.0])),
    "boxed_l2": Ball("l2", 0.5, low=-0.4, high=0.4, mask=torch.tensor([True, True, False])),
    "wide": Ball("linf", 50.0),
    "none": Ball("linf", 0.0),
}


def states(seed: int, rows: int = 6, features: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, features, generator=generator, dtype=torch.float64) * 0.5


def found(policy: nn.Module, x: Tensor, ball: Ball) -> Tensor:
    """Outputs at many points and at those that gradient ascent likes."""
    double = copy.deepcopy(policy).double()
    points = dense_points(ball, x)
    with torch.no_grad():
        outputs = [double(points)]
    if ball.epsilon:
        for index in range(outputs[0].shape[-1]):
            for sign in (1, -1):
                attack = ProjectedGradientAscent(
                    ball, lambda u, _, i=index, s=sign: s * u[:, i], steps=15
                )
                with warnings.catch_warnings():  # saturated networks have no gradient
                    warnings.simplefilter("ignore", MaskedGradientWarning)
                    trajectory = attack(double, x, torch.Generator().manual_seed(index))
                outputs.append(double(trajectory.points).detach())
    return torch.cat(outputs)


@pytest.mark.parametrize("method", ["crown", "ibp"])
@pytest.mark.parametrize("ball", BALLS.values(), ids=BALLS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_nothing_found_lies_outside(activation, ball, method):
    x = states(1)
    for seed, gain in ((0, 1.0), (1, 3.0), (2, 20.0)):
        policy = network(activation, seed=seed, gain=gain)
        bounds = certified_bounds(policy, x, ball, method)
        outputs = found(policy, x, ball)
        assert (outputs >= bounds.lower).all()
        assert (outputs <= bounds.upper).all()


@pytest.mark.filterwarnings("ignore::aajr.ResolutionWarning")
@given(
    seed=st.integers(0, 10_000),
    gain=st.floats(0.1, 30.0),
    epsilon=st.floats(0.0, 3.0),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    norm=st.sampled_from(["l2", "linf"]),
)
def test_random_networks_stay_inside(seed, gain, epsilon, activation, norm):
    policy, x, ball = network(activation, seed=seed, gain=gain), states(seed), Ball(norm, epsilon)
    bounds = certified_bounds(policy, x, ball)
    outputs = copy.deepcopy(policy).double()(dense_points(ball, x, 300, seed))
    assert (outputs >= bounds.lower).all()
    assert (outputs <= bounds.upper).all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_ibp_equals_a_second_implementation(activation):
    policy, x, epsilon = network(activation, seed=3), states(2), 0.3
    lower, upper = x - epsilon, x + epsilon
    for layer in copy.deepcopy(policy).double():
        if isinstance(layer, nn.Linear):
            positive, negative = layer.weight.clamp_min(0), layer.weight.clamp_max(0)
            least = lower @ positive.T + upper @ negative.T + layer.bias
            lower, upper = least, upper @ positive.T + lower @ negative.T + layer.bias
        else:
            lower, upper = layer(lower), layer(upper)
    bounds = certified_bounds(policy, x, Ball("linf", epsilon), "ibp")
    torch.testing.assert_close(bounds.lower, lower, rtol=0, atol=1e-9)
    torch.testing.assert_close(bounds.upper, upper, rtol=0, atol=1e-9)


@pytest.mark.parametrize("ball", [BALLS["linf"], BALLS["l2"], BALLS["scaled_l2"], BALLS["masked"]])
def test_linear_policies_have_their_closed_form(ball):
    weight, x = states(4, 5), states(5)
    reach = (torch.ones(3) if ball.scale is None else ball.scale).double()
    reach = reach * (1.0 if ball.mask is None else ball.mask)
    order = 1 if ball.norm == "linf" else 2
    radius = ball.epsilon * torch.linalg.vector_norm(weight * reach, ord=order, dim=1)
    bounds = certified_bounds(linear(weight), x, ball)
    torch.testing.assert_close(bounds.lower, x @ weight.T - radius, rtol=0, atol=1e-9)
    torch.testing.assert_close(bounds.upper, x @ weight.T + radius, rtol=0, atol=1e-9)


@pytest.mark.parametrize("ball", BALLS.values(), ids=BALLS)
def test_crown_is_never_looser(ball):
    for activation in ACTIVATIONS:
        policy, x = network(activation, seed=7, gain=2.0), states(7)
        crown, ibp = (certified_bounds(policy, x, ball, method) for method in ("crown", "ibp"))
        assert (crown.lower >= ibp.lower).all()
        assert (crown.upper <= ibp.upper).all()


def test_crown_is_much_tighter_on_a_tanh_network():
    policy = network("tanh", seed=0, gain=1.4, sizes=(10, 32, 32, 4))
    x, ball = states(0, features=10), Ball("linf", 0.05)
    crown, ibp = (certified_bounds(policy, x, ball, method) for method in ("crown", "ibp"))
    assert crown.width.mean() < 0.5 * ibp.width.mean()


def test_the_region_is_the_smallest_box():
    x = torch.tensor([[0.0, 0.0, 0.0], [5.0, 5.0, 5.0]], dtype=torch.float64)
    ball = Ball("linf", 0.5, scale=torch.tensor([1.0, 2.0, 1.0]), low=-0.25, high=1.0)
    region = region_around(ball, x, torch.tensor([0.5, 0.5], dtype=torch.float64))
    lower = torch.tensor([[-0.25, -0.25, -0.25], [4.5, 4.0, 4.5]], dtype=torch.float64)
    upper = torch.tensor([[0.5, 1.0, 0.5], [5.0, 5.0, 5.0]], dtype=torch.float64)
    torch.testing.assert_close(region.lower, lower, rtol=0, atol=1e-11)
    torch.testing.assert_close(region.upper, upper, rtol=0, atol=1e-11)
    assert (region.lower <= lower).all()
    assert (region.upper >= upper).all()


def test_zero_radius_is_the_output_up_to_rounding():
    policy, x = network("tanh", seed=1, gain=10.0), states(3)
    bounds = certified_bounds(policy, x, Ball("l2", 0.0))
    outputs = copy.deepcopy(policy).double()(x)
    assert (bounds.lower <= outputs).all()
    assert (outputs <= bounds.upper).all()
    assert bounds.width.max() < 1e-8


def test_cancellation_cannot_break_the_bounds():
    weight = torch.tensor([[1e6, -1e6, 1.0]], dtype=torch.float64)
    x = torch.tensor([[1 / 3, 1 / 3, 1e-11]], dtype=torch.float64)
    squeeze = torch.tensor([[1 / 3], [1 / 7], [1 / 11]], dtype=torch.float64)
    policy = nn.Sequential(linear(weight), linear(squeeze), linear(weight))
    bounds = certified_bounds(policy, x, Ball("linf", 0.0))
    value = [Fraction(v) for v in x[0].tolist()]
    for layer in policy:
        rows = [[Fraction(w) for w in row] for row in layer.weight.tolist()]
        value = [sum(w * v for w, v in zip(row, value, strict=True)) for row in rows]
    assert Fraction(bounds.lower.item()) <= value[0] <= Fraction(bounds.upper.item())
    assert value[0] != Fraction(policy(x).item())


def test_saturated_tanh_holds_in_exact_arithmetic():
    policy = network("tanh", seed=5, gain=25.0, sizes=(2, 4, 2)).double()
    x, ball = states(6, rows=3, features=2), Ball("linf", 1e-9)
    bounds = certified_bounds(policy, x, ball)
    for row, lower, upper in zip(x, bounds.lower, bounds.upper, strict=True):
        exact = _exact(policy, row)
        for value, least, greatest in zip(exact, lower.tolist(), upper.tolist(), strict=True):
            assert mpmath.mpf(least) <= value <= mpmath.mpf(greatest)


def test_the_rounding_of_an_activation_counts():
    x = states(8, rows=50, features=4)
    bounds = certified_bounds(nn.Tanh(), x, Ball("linf", 0.0))
    ends = (bounds.lower.flatten().tolist(), bounds.upper.flatten().tolist())
    with mpmath.workdps(40):
        rows = zip(x.flatten().tolist(), *ends, strict=True)
        assert all(lower <= mpmath.tanh(value) <= upper for value, lower, upper in rows)


def _exact(policy: nn.Sequential, row: Tensor) -> list[mpmath.mpf]:
    with mpmath.workdps(60):
        value = [mpmath.mpf(v) for v in row.tolist()]
        for layer in policy:
            if isinstance(layer, nn.Tanh):
                value = [mpmath.tanh(v) for v in value]
                continue
            pairs = zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)
            value = [mpmath.fdot(weights, value) + bias for weights, bias in pairs]
        return value


@pytest.mark.parametrize("margins", [interval_margins, relaxation_margins])
def test_margins_are_small_and_grow_with_the_weights(margins):
    x = states(0).abs()
    small, large = (
        margins(supported_network(network("tanh", seed=0, gain=gain)).layers, x)
        for gain in (1.0, 100.0)
    )
    assert 0 < small.max() < 1e-10
    assert large.max() > 50 * small.max()


def test_batches_do_not_matter():
    policy, x, ball = network("tanh", seed=0), states(0, rows=7), Ball("linf", 0.1)
    whole = certified_bounds(policy, x, ball)
    parts = certified_bounds(policy, x, ball, batch_size=3)
    torch.testing.assert_close(whole.lower, parts.lower, rtol=0, atol=1e-13)
    torch.testing.assert_close(whole.upper, parts.upper, rtol=0, atol=1e-13)


def test_batches_fit_memory():
    sizes = [Propagator(supported_network(nn.Linear(2, width))).batch_size for width in (8, 4096)]
    assert sizes == [65536, 1]


def test_the_policy_is_left_alone():
    policy = network("tanh", seed=0).train()
    before = copy.deepcopy(policy.state_dict())
    certified_bounds(policy, states(0), Ball("linf", 0.1))
    assert policy.training
    assert all(torch.equal(value, before[name]) for name, value in policy.state_dict().items())
    assert all(p.dtype == torch.float32 and p.requires_grad for p in policy.parameters())
    assert [type(layer) for layer in policy.modules()][1:3] == [nn.Linear, nn.Tanh]


@pytest.mark.parametrize("event", [(2, 3), (1, 2, 3)])
def test_images_begin_with_flatten(event):
    policy, x = network("relu", seed=0, sizes=(6, 5, 2)), states(0, features=6)
    ball = Ball("l2", 0.1, event_dims=len(event))
    image = certified_bounds(nn.Sequential(nn.Flatten(), policy), x.reshape(6, *event), ball)
    rows = certified_bounds(policy, x, Ball("l2", 0.1))
    torch.testing.assert_close(image.lower, rows.lower)


def test_budgets_of_several_agents_are_sound():
    policy, x = network("tanh", seed=0, sizes=(6, 5, 2)), states(0, features=6).reshape(6, 2, 3)
    joint = nn.Sequential(nn.Flatten(), policy)
    ball = Ball("l2", 0.4, coalition=torch.tensor([True, True]))
    bounds = certified_bounds(joint, x, ball)
    generator = torch.Generator().manual_seed(0)
    noise = 10 * torch.randn(500, *x.shape, generator=generator, dtype=x.dtype)
    points = torch.stack([x + ball.project(delta, x) for delta in noise])
    outputs = policy.double()(points.flatten(2))
    assert (outputs >= bounds.lower).all()
    assert (outputs <= bounds.upper).all()


@pytest.mark.filterwarnings("ignore::aajr.ResolutionWarning")
def test_bad_input_says_what_to_do(monkeypatch):
    policy, x, ball = network("tanh", seed=0), states(0), Ball("linf", 0.1)
    with pytest.raises(ValueError, match="NaN"):
        certified_bounds(policy, x * torch.nan, ball)
    with pytest.raises(ValueError, match="at least one row"):
        certified_bounds(policy, x[:0], ball)
    with pytest.raises(ValueError, match="x has 2 features but the policy takes 3"):
        certified_bounds(policy, x[:, :2], Ball("linf", 0.1))
    with pytest.raises(ValueError, match="'fast' is unknown"):
        certified_bounds(policy, x, ball, "fast")
    with pytest.raises(ValueError, match="batch_size=0"):
        certified_bounds(policy, x, ball, batch_size=0)
    with pytest.raises(ValueError, match=r"rescale"):
        certified_bounds(network("relu", seed=0, gain=1e4), x * 1e306, ball)
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "bound_propagation":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(sys.modules, "aajr.certification._relaxations")
    with pytest.raises(ImportError, match=r"pip install 'aajr\[certify\]'"):
        certified_bounds(policy, x, ball)
