"""The attacks without gradients: the adversary contract, and what they find."""

from __future__ import annotations

import pytest
import torch

from aajr import Ball, Divergence, RandomSearch
from aajr._inspection import inspect
from aajr.certification import BlackBoxSearch
from aajr.testing import AdversaryContract
from tests.unit.certification.networks import linear


class TestBlackBoxSearch(AdversaryContract):
    def make(self, ball: Ball):
        return BlackBoxSearch(ball, queries=8)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_the_black_box_finds_the_closed_form_of_a_linear_policy(norm, generator):
    weight = torch.randn(1, 6, generator=generator, dtype=torch.float64)
    search = BlackBoxSearch(Ball(norm, 0.5), queries=800)
    found = search(linear(weight), torch.zeros(5, 6, dtype=torch.float64), generator)
    exact = 0.5 * torch.linalg.vector_norm(weight, ord=2 if norm == "l2" else 1)
    change = found.worst @ weight[0]
    assert (change.abs() > 0.98 * exact).all()


def test_it_asks_as_often_as_it_says_and_needs_no_gradient(generator):
    calls = []

    @torch.no_grad()
    def policy(x):
        calls.append(len(x))
        return (10 * x).round()

    inspect(policy, torch.zeros(2, 3))
    calls.clear()
    search = BlackBoxSearch(Ball("linf", 0.3), queries=30)
    trajectory = search(policy, torch.zeros(2, 3), generator)
    assert sum(calls) == trajectory.forward_passes * 2 == 62
    assert (trajectory.gradients == 0).all()
    assert policy(trajectory.worst).abs().eq(3).all()


def test_it_beats_random_draws(generator):
    weight = torch.randn(3, 20, generator=generator)
    x, ball = torch.zeros(30, 20), Ball("linf", 1.0)
    losses = [
        search(ball, Divergence(), 200)(linear(weight), x, generator).losses.amax(0).mean()
        for search in (RandomSearch, BlackBoxSearch)
    ]
    assert losses[1] > 2 * losses[0]


def test_bad_objectives_say_what_to_do(generator):
    for objective in (lambda u, _: u.sum(), lambda u, _: u.sum(1) * torch.nan):
        with pytest.raises(ValueError, match=r"one loss per sample|NaN or infinite losses"):
            BlackBoxSearch(Ball("linf", 0.1), objective)(torch.tanh, torch.ones(2, 3), generator)
    with pytest.raises(ValueError, match="queries=0"):
        BlackBoxSearch(Ball("linf", 0.1), queries=0)
