"""Every layer that bounds read: they hold everything, and are exact where they can be."""

from __future__ import annotations

import copy
import itertools
import math

import mpmath
import pytest
import torch
from bound_propagation import IntervalBounds
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from aajr import Ball
from aajr._layers import Clamp
from aajr.certification import (
    AuditBudget,
    UnsupportedLayersError,
    audit,
    certified_bounds,
    certified_lipschitz,
)
from aajr.certification._bounds import bytes_per_row
from aajr.certification._curves import curve_of
from aajr.certification._linear import FlatConv, Rescale, matrix_norm
from aajr.certification._network import read_network, supported_network
from aajr.certification._relaxations import bound_model
from aajr.certification._subject import subject_of
from tests.unit.certification.networks import dense_points, linear

CURVES = {
    "leaky": nn.LeakyReLU(0.2),
    "turned leaky": nn.LeakyReLU(-0.5),
    "steep leaky": nn.LeakyReLU(1.7),
    "elu": nn.ELU(),
    "elu 2": nn.ELU(2.0),
    "silu": nn.SiLU(),
    "softplus": nn.Softplus(),
    "softplus 3": nn.Softplus(3.0),
    "gelu": nn.GELU(),
    "mish": nn.Mish(),
    "clamp": Clamp(torch.tensor([-0.5], dtype=torch.float64), torch.tensor([0.7])),
    "tanh": nn.Tanh(),
    "sigmoid": nn.Sigmoid(),
    "relu": nn.ReLU(),
}
BUILT = sorted(set(CURVES) - {"clamp"})
LINF, L2 = Ball("linf", 0.2), Ball("l2", 0.3)
IMAGE = Ball("linf", 0.1, event_dims=3)


def curve(name: str):
    (layer,) = supported_network(CURVES[name]).layers
    return curve_of(layer)


@given(name=st.sampled_from(sorted(CURVES)), centre=st.floats(-40, 40), power=st.floats(-9, 2))
def test_the_lines_and_the_range_of_a_curve_hold_it(name, centre, power):
    known = curve(name)
    lower = torch.tensor([centre - 10**power], dtype=torch.float64)
    upper = torch.tensor([centre + 10**power], dtype=torch.float64)
    z = lower + (upper - lower) * torch.linspace(0, 1, 4001, dtype=torch.float64)
    knots = [torch.as_tensor(k).double().flatten().clamp(lower, upper) for k in known.knots]
    z = torch.cat([z, *knots]).clamp(lower, upper)
    value = known.function(z)
    slope, below, above = known.enclosed(lower, upper)
    slip = 1e-14 * (1 + value.abs() + z.abs())
    assert bool((slope * z + below <= value + slip).all())
    assert bool((value <= slope * z + above + slip).all())
    least, greatest = known.range(lower, upper)
    assert bool((least - slip <= value).all())
    assert bool((value <= greatest + slip).all())
    # as tight as parallel lines can be, up to the curvature inside a cell of the grid
    gap = value - slope * z
    spare = 1e-3 * known.curvature * float(upper - lower) ** 2 + 1e-12
    assert float(above - below) <= float(gap.max() - gap.min()) + spare


@pytest.mark.parametrize("name", CURVES)
def test_slopes_curvatures_and_sizes_are_bounded(name):
    known = curve(name)
    z = torch.linspace(-12, 12, 24_001, dtype=torch.float64, requires_grad=True)
    value = known.function(z)
    (first,) = torch.autograd.grad(value.sum(), z, create_graph=True)
    second = torch.zeros_like(z)
    if first.requires_grad:
        (second,) = torch.autograd.grad(first.sum(), z)
    smooth = torch.ones_like(z, dtype=torch.bool)
    for knot in known.knots:
        smooth &= (z - torch.as_tensor(knot)).abs() > 1e-6
    assert float(first.detach().abs().max()) <= known.slope
    assert float(second.detach()[smooth].abs().max()) <= known.curvature
    assert bool((value.abs() <= known.size(z.abs()) + 1e-15).all())


def filled(*layers: nn.Module, seed: int = 0, gain: float = 1.5) -> nn.Sequential:
    policy = nn.Sequential(*layers)
    generator = torch.Generator().manual_seed(seed)
    for parameter in policy.parameters():
        fan = max(1, math.prod(parameter.shape[1:]))
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data.copy_(gain * noise / fan**0.5)
    return policy


def with_curves(seed: int, gain: float, *names: str) -> nn.Sequential:
    sizes = [3, *[6] * len(names), 2]
    linears = [nn.Linear(before, after) for before, after in itertools.pairwise(sizes)]
    kinds = [copy.deepcopy(CURVES[name]) for name in names]
    body = [layer for pair in zip(linears[:-1], kinds, strict=True) for layer in pair]
    return filled(*body, linears[-1], seed=seed, gain=gain)


def states(seed: int, *event: int, rows: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.7 * torch.randn(rows, *event, generator=generator, dtype=torch.float64)


def hold(policy: nn.Module, x: Tensor, ball: Ball, method: str = "crown") -> None:
    """Nothing among many points and the corners of the ball lies outside the bounds."""
    bounds = certified_bounds(policy, x, ball, method)
    double = copy.deepcopy(policy).double().eval()
    points = dense_points(ball, x, 300).flatten(0, 1)
    outputs = [double(points).reshape(300, len(x), -1)]
    if x[0].numel() == 3:
        signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=3))).double()
        reach = ball.epsilon * (1 if ball.norm == "linf" else 3**-0.5)
        outputs += [double(x + reach * sign.reshape(x[0].shape)).unsqueeze(0) for sign in signs]
    found = torch.cat(outputs)
    assert bool((found >= bounds.lower).all())
    assert bool((found <= bounds.upper).all())


@given(
    name=st.sampled_from(BUILT),
    other=st.sampled_from(BUILT),
    seed=st.integers(0, 1000),
    gain=st.floats(0.3, 8.0),
    epsilon=st.floats(1e-6, 2.0),
    norm=st.sampled_from(["l2", "linf"]),
)
def test_bounds_through_every_curve_hold_everything(name, other, seed, gain, epsilon, norm):
    policy = with_curves(seed, gain, name, other)
    hold(policy, states(seed, 3), Ball(norm, epsilon), "crown" if seed % 4 else "ibp")


@given(
    kind=st.sampled_from(["layer", "plain", "rms"]),
    name=st.sampled_from(["tanh", "relu", "silu"]),
    seed=st.integers(0, 1000),
    epsilon=st.floats(1e-6, 1.0),
    norm=st.sampled_from(["l2", "linf"]),
)
def test_bounds_through_normalisation_hold_everything(kind, name, seed, epsilon, norm):
    made = {
        "layer": nn.LayerNorm(6),
        "plain": nn.LayerNorm(6, elementwise_affine=False),
        "rms": nn.RMSNorm(6, 1e-5),
    }[kind]
    activation = copy.deepcopy(CURVES[name])
    policy = filled(nn.Linear(3, 6), made, activation, nn.Linear(6, 2), seed=seed)
    hold(policy, states(seed, 3), Ball(norm, epsilon), "crown" if seed % 4 else "ibp")


def test_the_copy_of_a_normalisation_computes_the_same():
    for made in (nn.LayerNorm(6), nn.LayerNorm(6, bias=False), nn.RMSNorm(6), nn.RMSNorm(6, 1e-3)):
        policy = filled(made)
        x = states(0, 6)
        network = supported_network(policy)
        torch.testing.assert_close(network(x).float(), policy(x.float()), atol=1e-5, rtol=0)


def test_the_range_of_a_rescaled_box_is_reached():
    scale = Rescale(2, 1e-5)
    x = torch.tensor([[0.5, -0.2]], dtype=torch.float64)
    policy = nn.RMSNorm(2, 1e-5, elementwise_affine=False)
    bounds = certified_bounds(policy, x, Ball("linf", 0.3), "ibp")
    line = torch.linspace(-0.3, 0.3, 601, dtype=torch.float64)
    values = scale(x + torch.cartesian_prod(line, line))
    torch.testing.assert_close(bounds.upper[0], values.amax(0), atol=1e-3, rtol=0)
    torch.testing.assert_close(bounds.lower[0], values.amin(0), atol=1e-3, rtol=0)


def test_bounds_hold_for_softplus_with_torchs_jump_and_without():
    x = torch.tensor([[20.0]], dtype=torch.float64)
    bounds = certified_bounds(nn.Softplus(), x, Ball("linf", 1e-12))
    values = torch.tensor([20 - 1e-12, 20.0, 20 + 1e-12], dtype=torch.float64)
    for function in (nn.Softplus(), nn.Softplus(threshold=99)):
        assert bool((bounds.lower <= function(values)).all())
        assert bool((function(values) <= bounds.upper).all())
    assert float(bounds.width) < 1e-8


def test_crown_is_tighter_than_ibp_through_the_new_layers():
    layers = (nn.Linear(3, 16), nn.LayerNorm(16), nn.SiLU(), nn.Linear(16, 16), nn.ELU())
    policy = filled(*layers, nn.Linear(16, 2))
    crown, ibp = (
        certified_bounds(policy, states(1, 3), Ball("linf", 0.02), method).width.mean()
        for method in ("crown", "ibp")
    )
    assert crown < 0.5 * ibp


def test_where_an_activation_is_linear_the_bounds_are_exact():
    weight = states(2, 3)
    for layer in (nn.LeakyReLU(0.3), Clamp(torch.full((3,), -9.0), torch.full((3,), 99.0))):
        shifted = linear(torch.eye(3).double(), torch.full((3,), 5.0).double())
        x = states(3, 3)
        bounds = certified_bounds(nn.Sequential(shifted, layer, linear(weight)), x, LINF)
        middle, reach = (x + 5) @ weight.T, 0.2 * weight.abs().sum(1)
        torch.testing.assert_close(bounds.upper, middle + reach, atol=1e-9, rtol=0)
        torch.testing.assert_close(bounds.lower, middle - reach, atol=1e-9, rtol=0)


EXACT = {
    "elu": lambda z: z if z > 0 else mpmath.expm1(z),
    "silu": lambda z: z / (1 + mpmath.exp(-z)),
    "softplus": lambda z: mpmath.log1p(mpmath.exp(z)),
    "gelu": lambda z: z * mpmath.ncdf(z),
    "mish": lambda z: z * mpmath.tanh(mpmath.log1p(mpmath.exp(z))),
}


@pytest.mark.parametrize("name", EXACT)
def test_bounds_hold_in_exact_arithmetic(name):
    policy = with_curves(3, 12.0, name, name).double()
    x = states(6, 3)
    bounds = certified_bounds(policy, x, Ball("linf", 0.0))
    with mpmath.workdps(50):
        for row, lower, upper in zip(x, bounds.lower, bounds.upper, strict=True):
            value = [mpmath.mpf(v) for v in row.tolist()]
            for layer in policy:
                if not isinstance(layer, nn.Linear):
                    value = [EXACT[name](v) for v in value]
                    continue
                pairs = zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)
                value = [mpmath.fdot(weights, value) + bias for weights, bias in pairs]
            for exact, least, greatest in zip(value, lower.tolist(), upper.tolist(), strict=True):
                assert mpmath.mpf(least) <= exact <= mpmath.mpf(greatest)


CONVOLUTIONS = {
    "plain": nn.Conv2d(2, 3, 2),
    "strided": nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False),
    "dilated": nn.Conv2d(2, 4, 2, dilation=2, padding=(1, 0), groups=2),
}


def image_policy(conv: nn.Conv2d) -> nn.Sequential:
    body = nn.Sequential(conv, nn.ReLU(), nn.Flatten())
    size = body(torch.zeros(1, 2, 6, 5)).shape[1]
    return filled(*body, nn.Linear(size, 3))


def dense(policy: nn.Sequential) -> nn.Sequential:
    """The same network with the convolution written out as a matrix."""
    conv = copy.deepcopy(policy[0]).double()
    bias = conv(torch.zeros(1, 2, 6, 5).double()).flatten()
    unit = torch.eye(60, dtype=torch.float64).reshape(60, 2, 6, 5)
    matrix = (conv(unit).flatten(1) - bias).T
    return nn.Sequential(linear(matrix, bias), nn.ReLU(), copy.deepcopy(policy[3]).double())


@pytest.mark.parametrize("method", ["crown", "ibp"])
@pytest.mark.parametrize("conv", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
@torch.no_grad()
def test_convolutions_are_bounded_as_their_matrices(conv, method):
    policy = image_policy(copy.deepcopy(conv))
    x, matrices = states(4, 2, 6, 5), dense(policy)
    found = certified_bounds(policy, x, Ball("l2", 0.4, event_dims=3), method)
    expected = certified_bounds(matrices, x.flatten(1), Ball("l2", 0.4), method)
    torch.testing.assert_close(found.lower, expected.lower, atol=1e-8, rtol=0)
    torch.testing.assert_close(found.upper, expected.upper, atol=1e-8, rtol=0)
    hold(policy, x, IMAGE, method)


@pytest.mark.parametrize("conv", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
@torch.no_grad()
def test_the_norm_of_a_convolution_is_at_least_that_of_its_matrix(conv):
    policy = image_policy(copy.deepcopy(conv))
    generator = torch.Generator().manual_seed(0)
    scale = torch.rand(60, generator=generator, dtype=torch.float64)
    matrix = dense(policy)[0].weight
    first = read_network(policy, states(4, 2, 6, 5)).layers[0]
    assert isinstance(first, FlatConv)
    assert matrix_norm(first, None) >= torch.linalg.matrix_norm(matrix, ord=2)
    assert matrix_norm(first, scale) >= torch.linalg.matrix_norm(matrix * scale, ord=2)


def test_one_dimensional_convolutions_hold_everything():
    policy = filled(nn.Conv1d(1, 2, 2, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(8, 2))
    hold(policy, states(5, 1, 3), Ball("l2", 0.3))


@pytest.mark.parametrize("name", BUILT)
def test_no_secant_exceeds_the_lipschitz_constant(name):
    layers = [nn.Linear(3, 6), nn.LayerNorm(6), copy.deepcopy(CURVES[name]), nn.Linear(6, 2)]
    policy = filled(*layers).double()
    bound = certified_lipschitz(policy)
    x, step = states(0, 3, rows=2000), states(1, 3, rows=2000)
    change = (policy(x + 1e-2 * step) - policy(x)).norm(dim=1)
    assert bool((change <= bound * 1e-2 * step.norm(dim=1)).all())


def test_what_is_missing_is_said():
    image = torch.zeros(1, 1, 3, 3)
    with pytest.raises(UnsupportedLayersError, match=r"size of the image, which is not known"):
        certified_lipschitz(nn.Sequential(nn.Conv2d(1, 1, 2), nn.Flatten()))
    reflected = nn.Conv2d(1, 1, 2, padding=1, padding_mode="reflect")
    with pytest.raises(UnsupportedLayersError, match="padding_mode='zeros'"):
        certified_bounds(nn.Sequential(reflected, nn.Flatten()), image, IMAGE)
    unflattened = nn.Sequential(nn.Conv2d(1, 1, 2), nn.Linear(2, 2))
    with pytest.raises(UnsupportedLayersError, match=r"policy\[1\] meets samples of shape"):
        certified_bounds(unflattened, image, IMAGE)
    with pytest.raises(UnsupportedLayersError, match="normalises the last dimensions"):
        certified_bounds(nn.LayerNorm(3), image, IMAGE)


def test_a_network_too_wide_for_crown_is_bounded_by_ibp_and_says_so():
    policy = filled(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(16_384, 2))
    x = states(7, 1, 64, 64, rows=1)
    assert bytes_per_row(read_network(policy, x).layers) > 4 * 2**30
    with pytest.raises(ValueError, match=r"CROWN would need about 16 GiB .* method='ibp'"):
        certified_bounds(policy, x, IMAGE)
    assert bool((certified_bounds(policy, x, IMAGE, "ibp").width > 0).all())
    assert "IBP alone" in subject_of(policy, x)[0]["bounds"]


@pytest.mark.parametrize("layer", [nn.ReLU(), nn.Tanh(), nn.Sigmoid(), nn.ELU(), Rescale(2, 1e-5)])
def test_bounds_that_rounding_turned_around_are_an_error_of_ours(layer):
    model = bound_model(nn.Sequential(nn.Linear(2, 2).double(), layer))
    zero, one = torch.zeros(1, 2, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"lower bound above its upper bound, .* method='ibp'"):
        model.bound_sequential[1].alpha_beta(IntervalBounds(None, one, zero))


class Halves(nn.Module):
    """A policy that shows its layers, rightly or not."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.body, self.factor = linear(torch.eye(2)), factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * self.body(x)

    def as_sequential(self) -> nn.Sequential:
        return nn.Sequential(self.body)


class Doubled(Halves):
    """A forward pass of its own, and inherited layers."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def test_layers_that_a_policy_shows_must_be_its_own():
    x = torch.ones(3, 2)
    bounds = certified_bounds(Halves(1.0), x, LINF)
    torch.testing.assert_close(bounds.upper, (x + 0.2).double(), atol=1e-6, rtol=0)
    with pytest.raises(UnsupportedLayersError, match=r"as_sequential\(\) differ by 0.5"):
        certified_bounds(Halves(0.5), x, LINF)
    with pytest.raises(UnsupportedLayersError, match="Doubled"):
        certified_lipschitz(Doubled(1.0))


def test_an_audit_certifies_the_new_layers():
    policy = filled(nn.Linear(3, 8), nn.LayerNorm(8), nn.SiLU(), nn.Linear(8, 4))
    found = audit(policy, states(0, 3).float(), L2, heads=(2, 2), budget=AuditBudget(queries=50))
    assert not found.not_certified
    assert all(found.checks.values())
    assert "found_below_certified" in found.checks
