"""Only what bound propagation really sees is accepted."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from aajr.arena.agents.actors import Actor
from aajr.certification import UnsupportedLayersError
from aajr.certification._network import supported_network


class Squared(nn.Linear):
    def forward(self, x):
        return super().forward(x).square()


class Residual(nn.Sequential):
    def forward(self, x):
        return x + super().forward(x)


def test_the_copy_computes_the_same():
    policy = nn.Sequential(
        nn.Flatten(),
        nn.Sequential(nn.Linear(4, 5, bias=False), nn.Tanh(), nn.Dropout(0.5)),
        nn.Identity(),
        nn.Linear(5, 3),
        nn.Sigmoid(),
    )
    x = torch.randn(6, 2, 2, generator=torch.Generator().manual_seed(0))
    network = supported_network(policy)
    expected = policy.eval()(x).double()
    torch.testing.assert_close(network(network.rows(x)), expected, rtol=1e-5, atol=1e-6)
    assert all(p.dtype == torch.float64 for p in network.layers.parameters())


def test_actors_are_unwrapped():
    actor = Actor(5, heads=(2, 3), hidden=(4,))
    x = torch.ones(2, 5)
    network = supported_network(actor)
    torch.testing.assert_close(network(network.rows(x)).float(), actor(x))


def test_parametrised_layers_count_as_what_they_compute():
    policy = parametrizations.orthogonal(nn.Linear(3, 3))
    network = supported_network(policy)
    torch.testing.assert_close(network.layers[0].weight.float(), policy.weight)


def test_reading_a_spectral_norm_does_not_iterate_it():
    policy = parametrizations.spectral_norm(nn.Linear(5, 5)).train()
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    network = supported_network(policy)
    assert all(torch.equal(value, before[name]) for name, value in policy.state_dict().items())
    assert policy.training
    torch.testing.assert_close(network.layers[0].weight.float(), policy.eval().weight)


@pytest.mark.parametrize(
    "policy",
    [
        nn.Sequential(nn.Linear(2, 2), nn.GELU("tanh")),
        nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2, eps=0.0)),
        nn.Sequential(nn.Linear(2, 4), nn.LayerNorm(2)),
        nn.Sequential(nn.Linear(2, 2), nn.Softplus(threshold=5)),
        nn.Sequential(nn.Linear(2, 2), nn.Softplus(beta=-1)),
        nn.Conv2d(2, 2, 2),
        nn.Sequential(nn.Linear(2, 2), nn.Flatten(0)),
        Squared(2, 2),
        Residual(nn.Linear(2, 2)),
        nn.Sequential(nn.Linear(2, 2), Residual(nn.Linear(2, 2))),
        nn.Sequential(),
        torch.tanh,
    ],
)
def test_other_layers_are_refused(policy):
    with pytest.raises(UnsupportedLayersError):
        supported_network(policy)


def test_the_layer_is_named():
    policy = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Tanh(), nn.Softmax(-1)))
    with pytest.raises(UnsupportedLayersError, match=r"policy\[1\]\[1\] is Softmax.*supported are"):
        supported_network(policy)


def test_hooks_and_replaced_passes_are_refused():
    hooked = nn.Sequential(nn.Linear(2, 2))
    hooked[0].register_forward_hook(lambda module, args, output: 2 * output)
    replaced = nn.Sequential(nn.Linear(2, 2))
    replaced[0].forward = torch.tanh
    for policy in (hooked, replaced):
        with pytest.raises(UnsupportedLayersError, match=r"policy\[0\].*hooks"):
            supported_network(policy)


def test_rows_of_agents_must_be_flattened_by_the_caller():
    network = supported_network(nn.Sequential(nn.Linear(3, 2)))
    with pytest.raises(UnsupportedLayersError, match=r"flatten\(0, -2\)"):
        network.rows(torch.ones(4, 2, 3))


def test_nan_weights_are_refused():
    policy = nn.Linear(2, 2)
    policy.bias.data[0] = torch.nan
    with pytest.raises(ValueError, match="NaN or infinite weights"):
        supported_network(policy)
