"""Mixtures of objectives and the scale that makes them comparable."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from aajr import Ball, Divergence, LeastValue, Mixture, Reference, Targeted, objective_scale
from aajr.testing import dense

REFERENCE = Reference(dense.inputs(), dense.inputs(4, 6, seed=2))
OUTPUT = dense.inputs(4, 6, seed=3)


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
def test_a_mixture_weighs_each_objective_in_its_own_unit(weight):
    first, second = LeastValue(), Divergence()
    expected = (1 - weight) * first(OUTPUT, REFERENCE) / 2 + weight * second(OUTPUT, REFERENCE) / 5
    found = Mixture(first, second, weight, 2.0, 5.0)(OUTPUT, REFERENCE)
    torch.testing.assert_close(found, expected)


def test_the_scale_is_the_root_mean_square_change(generator):
    """Uniform δ in [-ε, ε] and ℓ = Σ cδ: the mean square is ε²/3 Σc²."""
    cost = torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0], dtype=torch.float64)
    x = dense.inputs(4000, 5)

    def linear(output: Tensor, reference: Reference) -> Tensor:
        return output @ cost

    scale = objective_scale(linear, lambda x: x * 1.0, x, Ball("linf", 0.3), generator)
    assert scale == pytest.approx(0.3 * float(cost.norm()) / 3**0.5, rel=0.02)
    doubled = objective_scale(
        lambda u, r: 2 * linear(u, r),
        lambda x: x * 1.0,
        x,
        Ball("linf", 0.3),
        torch.Generator().manual_seed(0),
    )
    assert doubled == pytest.approx(2 * scale)


def test_the_scale_reads_the_data(generator):
    x = dense.inputs()
    ball = Ball("linf", 0.3)
    assert objective_scale(Targeted(), torch.tanh, x, ball, generator, data={"target": x}) > 0
    with pytest.raises(ValueError, match=r"needs data\['target'\]"):
        objective_scale(Targeted(), torch.tanh, x, ball, generator)


def test_an_objective_without_change_has_no_scale(generator):
    with pytest.raises(ValueError, match="does not change in the ball"):
        objective_scale(LeastValue(), torch.zeros_like, dense.inputs(), Ball("l2", 0.1), generator)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": 1.1}, "weight=1.1 is not allowed"),
        ({"weight": 0.5, "first_scale": 0.0}, "first_scale=0.0 is not allowed"),
        ({"weight": 0.5, "second_scale": -1.0}, "second_scale=-1.0 is not allowed"),
    ],
)
def test_bad_mixtures_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Mixture(LeastValue(), Divergence(), **settings)
