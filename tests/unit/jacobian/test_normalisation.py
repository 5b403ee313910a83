"""Exact estimators through every normalisation layer, against dense reverse-mode Jacobians."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import Tensor, nn

from aajr import directional_curvature, directional_derivative
from aajr.testing import dense

WIDTH = 8


class Shaped(nn.Module):
    """A layer that sees its features in another shape."""

    def __init__(self, layer: nn.Module, *shape: int) -> None:
        super().__init__()
        self.layer, self.shape = layer, shape

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.reshape(len(x), *self.shape)).reshape(len(x), -1)


class Functional(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, 2.0, WIDTH))
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, (WIDTH,), self.weight)


LAYERS = {
    "layer": lambda: nn.LayerNorm(WIDTH),
    "layer without parameters": lambda: nn.LayerNorm(WIDTH, elementwise_affine=False),
    "layer without bias": lambda: nn.LayerNorm(WIDTH, bias=False, eps=0.1),
    "layer over two dimensions": lambda: Shaped(nn.LayerNorm((2, 4)), 2, 4),
    "layer as a function": lambda: Functional(nn.functional.layer_norm),
    "layer as torch's function": lambda: Functional(torch.layer_norm),
    "group": lambda: nn.GroupNorm(2, WIDTH),
    "instance": lambda: Shaped(nn.InstanceNorm1d(2, affine=True), 2, 4),
    "instance of images": lambda: Shaped(nn.InstanceNorm2d(1), 1, 2, 4),
    "instance with statistics": lambda: Shaped(
        nn.InstanceNorm1d(2, track_running_stats=True), 2, 4
    ),
    "batch": lambda: nn.BatchNorm1d(WIDTH),
    "root mean square": lambda: nn.RMSNorm(WIDTH),
    "local response": lambda: Shaped(nn.LocalResponseNorm(2), WIDTH, 1),
    "weight": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(WIDTH, WIDTH)),
    "spectral": lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(WIDTH, WIDTH)),
}
every_layer = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)


def net_with(layer: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, WIDTH), layer, nn.Tanh(), nn.Linear(WIDTH, 3)).double().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return net


@every_layer
@pytest.mark.parametrize("estimator", ["forward_mode", "double_backward"])
def test_the_parameter_gradient_is_dense(layer, estimator):
    policy, x, v = net_with(layer()), dense.inputs(), dense.inputs(seed=2)
    expected = (dense.jacobian(policy, x) @ v.unsqueeze(-1)).square().sum()
    wrapped = functools.partial(policy)
    _, product = directional_derivative(wrapped, x, v, estimator)
    dense.assert_matches(product.square().sum(), expected, policy, tolerance=1e-9)


@every_layer
def test_the_curvature_is_that_of_differences(layer):
    policy, x, v = net_with(layer()), dense.inputs(), dense.inputs(seed=2)
    h = 1e-4
    bent = ((policy(x + h * v) - 2 * policy(x) + policy(x - h * v)) / h**2).detach()
    found = directional_curvature(policy, x, v)[2]
    torch.testing.assert_close(found, bent, rtol=1e-3, atol=1e-4 * float(bent.abs().max()))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scripted_layer_norm_is_refused():
    policy = torch.jit.script(net_with(nn.LayerNorm(WIDTH)))
    x = dense.inputs()
    with pytest.raises(ValueError, match="scripted module with layer_norm"):
        directional_derivative(lambda z: policy(z), x, x, "forward_mode")
