"""The certified Lipschitz constant against known ones."""

from __future__ import annotations

import copy
from fractions import Fraction

import pytest
import torch
from torch import nn

from aajr.certification import certified_lipschitz
from aajr.theory import network_constants
from tests.unit.certification.networks import ACTIVATIONS, linear, network, orthogonal_chain


@pytest.mark.parametrize("lipschitz", [0.3, 1.0, 7.0])
def test_orthogonal_layers_have_their_constant(lipschitz):
    found = certified_lipschitz(orthogonal_chain(lipschitz))
    assert found == pytest.approx(lipschitz, rel=1e-8)
    assert found >= lipschitz


def test_it_is_rounded_up():
    rows = torch.randn(50, 1, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for row in rows:
        exact = sum(Fraction(value) ** 2 for value in row[0].tolist())
        assert Fraction(certified_lipschitz(linear(row))) ** 2 >= exact


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_it_agrees_with_the_theory_module(activation):
    policy = network(activation, seed=2)
    known = network_constants(policy).lipschitz
    assert certified_lipschitz(policy) == pytest.approx(known, rel=1e-8)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_no_secant_exceeds_it(activation):
    policy = network(activation, seed=0, gain=2.0).double()
    weights = torch.tensor([0.5, 0.0, 2.0])
    bound = certified_lipschitz(policy, weights)
    generator = torch.Generator().manual_seed(0)
    x, step = torch.randn(2, 5000, 3, generator=generator, dtype=torch.float64)
    change = (policy(x + weights * step) - policy(x)).norm(dim=1)
    assert (change <= bound * step.norm(dim=1)).all()


def test_weights_restrict_the_first_layer():
    policy = linear(torch.diag(torch.tensor([3.0, 4.0, 5.0])))
    assert certified_lipschitz(policy, torch.tensor([1.0, 1.0, 0.0])) == pytest.approx(4.0)
    assert certified_lipschitz(policy, torch.tensor([2.0, 0.0, 0.0])) == pytest.approx(6.0)
    assert certified_lipschitz(policy, torch.zeros(3)) == 0.0


def test_an_activation_may_come_first():
    policy = nn.Sequential(nn.Sigmoid(), linear(3 * torch.eye(2)))
    assert certified_lipschitz(policy, torch.tensor([1.0, 2.0])) == pytest.approx(1.5)


def test_bad_weights_say_what_to_do():
    policy = linear(torch.eye(2))
    for weights in (torch.ones(3), torch.ones(1, 2)):
        with pytest.raises(ValueError, match=r"weights has shape .* give \(2,\)"):
            certified_lipschitz(copy.deepcopy(policy), weights)
    with pytest.raises(ValueError, match="negative"):
        certified_lipschitz(policy, torch.tensor([1.0, -1.0]))
