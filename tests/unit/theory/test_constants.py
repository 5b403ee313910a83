"""Constants against suprema sampled by dense derivatives: never exceeded, and nearly reached."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from aajr import directional_curvature, theory
from aajr.adversaries import Critic, Divergence, Surrogate, Targeted
from aajr.geometry import Categorical, DiagonalGaussian, Euclidean, Metric
from aajr.testing import dense
from aajr.theory import Constants
from aajr.trajectory import Reference

RADIUS = 0.7
CASES = [*dense.METRICS.values()]


def sampled(objective, reference, radius: float, count: int = 400) -> tuple[float, float]:
    """Largest ‖∇²ℓ‖₂ and ‖∇ℓ‖₂ over random outputs around the reference, one row each."""
    generator = torch.Generator().manual_seed(3)
    centre = reference.outputs
    smooth, lipschitz = 0.0, 0.0
    for index in range(count):
        noise = torch.randn(centre.shape, generator=generator, dtype=centre.dtype)
        reach = radius if index % 2 else radius * float(torch.rand((), generator=generator))
        output = centre + reach * noise / noise.norm()
        loss = lambda u: objective(u, reference).sum()  # noqa: E731
        hessian = torch.func.hessian(loss)(output).detach().reshape(centre.numel(), centre.numel())
        smooth = max(smooth, float(torch.linalg.matrix_norm(hessian, ord=2)))
        lipschitz = max(lipschitz, float(torch.func.grad(loss)(output).detach().norm()))
    return smooth, lipschitz


def holds(constants: Constants, found: tuple[float, float]) -> bool:
    smooth, lipschitz = float(constants.smoothness), float(constants.lipschitz)
    return found[0] <= smooth * (1 + 1e-9) and found[1] <= lipschitz * (1 + 1e-9)


def centre(metric: Metric, seed: int = 2) -> torch.Tensor:
    return 0.5 * dense.inputs(1, dense.OUTPUTS, seed=seed)


@pytest.mark.parametrize("metric", CASES, ids=dense.METRICS)
@pytest.mark.parametrize("seed", [2, 5])
def test_divergence(metric, seed):
    reference = Reference(torch.zeros(1, 2), centre(metric, seed))
    constants = theory.divergence_constants(metric, reference.outputs, RADIUS)
    found = sampled(Divergence(metric), reference, RADIUS)
    assert holds(constants, found)
    assert found[0] > 0.1 * float(constants.smoothness)


def test_targeted_is_a_divergence_from_the_target():
    target = centre(Euclidean(), seed=9)
    reference = Reference(torch.zeros(1, 2), target.clone(), {"target": target})
    constants = theory.divergence_constants(Euclidean(), target, RADIUS)
    assert holds(constants, sampled(Targeted(), reference, RADIUS))


def categorical_log_prob(output, action):
    return output.log_softmax(-1)[torch.arange(len(output)), action]


def gaussian_log_prob(output, action):
    mean, log_scale = output.chunk(2, -1)
    normal = torch.distributions.Normal(mean, log_scale.exp(), validate_args=False)
    return normal.log_prob(action).sum(-1)


@pytest.mark.parametrize("advantage", [-3.0, 2.0])
def test_surrogate(advantage):
    weight = torch.tensor([advantage], dtype=torch.float64)
    cases = [
        (Categorical(), categorical_log_prob, torch.tensor([1])),
        (DiagonalGaussian(), gaussian_log_prob, dense.inputs(1, 3, seed=4)),
    ]
    for metric, log_prob, action in cases:
        output = centre(metric)
        reference = Reference(torch.zeros(1, 2), output, {"action": action, "advantage": weight})
        constants = theory.surrogate_constants(metric, weight, output, action, RADIUS)
        found = sampled(Surrogate(log_prob), reference, RADIUS)
        assert holds(constants, found)
        assert found[0] > 0.1 * float(constants.smoothness)


def test_critic_through_a_softmax():
    value = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    objective = Critic(
        lambda state, action: value(action).squeeze(-1), Categorical(heads=(2, 4)).probabilities
    )
    reference = Reference(torch.zeros(1, 2), centre(Categorical()))
    constants = theory.critic_constants(theory.network_constants(value), theory.softmax_constants())
    assert holds(constants, sampled(objective, reference, 3.0))


def test_softmax_constants_are_not_exceeded_and_the_slope_is_reached():
    steepest, bent = 0.0, 0.0
    for seed in range(300):
        u = 3 * dense.inputs(1, 2 + seed % 4, seed=seed)
        d = dense.inputs(*u.shape, seed=seed + 1000)
        _, first, second = directional_curvature(lambda z: z.softmax(-1), u, d / d.norm())
        steepest, bent = max(steepest, float(first.norm())), max(bent, float(second.norm()))
    # two equal logits reach one half
    zero = torch.zeros(1, 2, dtype=torch.float64)
    d = torch.tensor([[1.0, -1.0]], dtype=torch.float64) / math.sqrt(2)
    assert float(
        directional_curvature(lambda z: z.softmax(-1), zero, d)[1].norm()
    ) == pytest.approx(0.5)
    assert steepest <= 0.5
    assert 0.1 < bent <= 1.0


@pytest.mark.parametrize("activation", [nn.Tanh, nn.Softplus, nn.Sigmoid])
def test_network_constants_bound_every_direction(activation):
    tightest = 0.0
    for seed in range(40):
        net = nn.Sequential(
            nn.Linear(3, 8), activation(), nn.Linear(8, 8), activation(), nn.Linear(8, 2)
        )
        net = net.double()
        torch.nn.utils.vector_to_parameters(
            dense.inputs(sum(p.numel() for p in net.parameters()), seed=seed), net.parameters()
        )
        constants = theory.network_constants(net)
        x, v = dense.inputs(50, 3, seed=seed), dense.inputs(50, 3, seed=seed + 1)
        v = v / v.norm(dim=1, keepdim=True)
        _, first, second = (t.detach() for t in directional_curvature(net, x, v))
        spectral = theory.top_singular(net, x)[0].detach()
        assert float(spectral.max()) <= constants.lipschitz
        assert float(first.norm(dim=1).max()) <= constants.lipschitz
        assert float(second.norm(dim=1).max()) <= constants.smoothness
        tightest = max(tightest, float(second.norm(dim=1).max()) / constants.smoothness)
    assert tightest > 1e-3


def test_orthogonal_layers_have_the_known_lipschitz_constant():
    first, second = (torch.linalg.qr(dense.inputs(4, 4, seed=s))[0] for s in (0, 1))
    net = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)).double()
    with torch.no_grad():
        net[0].weight.copy_(2 * first)
        net[2].weight.copy_(3 * second)
        net[0].bias.zero_()
    assert theory.network_constants(net).lipschitz == pytest.approx(6.0)
    spectral, direction = theory.top_singular(net, torch.zeros(1, 4, dtype=torch.float64))
    assert float(spectral.detach()) == pytest.approx(6.0)
    assert direction.shape == (1, 4)


def test_relu_has_no_smoothness_and_unknown_layers_are_refused():
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    assert theory.network_constants(net).smoothness == math.inf
    with pytest.raises(ValueError, match="constants of LayerNorm"):
        theory.network_constants(nn.Sequential(nn.LayerNorm(2)))
    with pytest.raises(ValueError, match="constants of Softplus"):
        theory.network_constants(nn.Softplus(beta=20))


def test_an_infinite_constant_of_weight_zero_does_not_matter():
    assert Constants(0.0, 0.0).after(Constants(math.inf, 1.0)) == Constants(0.0, 0.0)


def test_unknown_metrics_and_negative_radii_are_refused():
    class Odd(Euclidean.__mro__[1]):
        def apply(self, output, tangent): ...
        def factor(self, output, noise): ...
        def divergence(self, output, other): ...

    for call in (
        lambda: theory.divergence_constants(Odd(), torch.zeros(1, 2), 1.0),
        lambda: theory.surrogate_constants(
            Euclidean(), torch.ones(1), torch.zeros(1, 2), torch.zeros(1), 1.0
        ),
    ):
        with pytest.raises(ValueError, match="constants for metric="):
            call()
    with pytest.raises(ValueError, match=r"radius=-1\.0"):
        theory.divergence_constants(Euclidean(), torch.zeros(1, 2), -1.0)
