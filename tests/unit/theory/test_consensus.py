"""What any k of n sources may do to a map that follows their consensus."""

from __future__ import annotations

import math

import pytest
import torch

from aajr.theory import unavoidable_damage

GRID = torch.linspace(-60, 60, 2_400_001, dtype=torch.float64)


def reached(reports, bound):
    """Ends of what any γ-Lipschitz map that follows the consensus may say, over a grid of z."""
    distance = (
        reports.square().sum() - 2 * GRID * reports.sum() + len(reports) * GRID.square()
    ).sqrt()
    return float((GRID - bound * distance).max()), float((GRID + bound * distance).min())


@pytest.mark.parametrize(("sources", "liars"), [(3, 1), (5, 2), (9, 2), (9, 4), (4, 2)])
@pytest.mark.parametrize("share", [1.001, 1.1, 1.5])
def test_the_least_damage_is_that_of_the_extreme_lipschitz_map(sources, liars, share):
    """sup_z z - γ‖r - z1‖ is γ-Lipschitz and follows the consensus; no such map says less."""
    bound = share / math.sqrt(sources)
    reports = torch.zeros(sources, dtype=torch.float64)
    reports[:liars] = 1.0
    low, high = reached(reports, bound)
    assert high >= low
    expected = unavoidable_damage(sources, liars, bound, 1.0)
    assert expected == pytest.approx(max(0.0, low), abs=1e-6)
    assert unavoidable_damage(sources, liars, bound, 1000.0) == pytest.approx(1000 * expected)


def test_the_least_bound_leaves_the_mean_alone(generator):
    """Both ends meet in the mean, whatever the reports."""
    reports = torch.randn(6, generator=generator, dtype=torch.float64)
    low, high = reached(reports, 1 / math.sqrt(6))
    mean = float(reports.mean())
    assert low == pytest.approx(mean, abs=0.03)  # the ends are at infinity, the grid is not
    assert high == pytest.approx(mean, abs=0.03)
    assert unavoidable_damage(6, 2, 1 / math.sqrt(6), 3.0) == pytest.approx(1.0)


@pytest.mark.parametrize(("sources", "liars"), [(5, 2), (9, 3)])
def test_damage_vanishes_where_the_honest_alone_can_be_averaged(sources, liars):
    enough = 1 / math.sqrt(sources - liars)
    assert unavoidable_damage(sources, liars, enough * 1.0001, 5.0) == 0
    assert unavoidable_damage(sources, liars, enough * 0.99, 5.0) > 0


def test_slopes_that_follow_the_consensus_are_no_smaller_than_those_of_the_mean(generator):
    slopes = torch.randn(1000, 7, generator=generator, dtype=torch.float64)
    slopes = slopes + (1 - slopes.sum(1, keepdim=True)) / 7
    assert float(slopes.norm(dim=1).min()) >= 1 / math.sqrt(7)
    assert float(torch.full((7,), 1 / 7).norm()) == pytest.approx(1 / math.sqrt(7))


def test_the_median_follows_has_slope_zero_along_the_lie_and_bounded_damage(generator):
    """Two of five lie by up to a million; J at the perturbed point, along the liars, is zero."""
    honest = torch.rand(200, 3, generator=generator, dtype=torch.float64)
    for size in (1.5, 10.0, 1e6):
        lies = size * torch.randn(200, 2, generator=generator, dtype=torch.float64).sign()
        reports = torch.cat([lies, honest], 1).requires_grad_()
        said = reports.median(1).values
        assert bool((said >= honest.amin(1)).all() & (said <= honest.amax(1)).all())
        (slopes,) = torch.autograd.grad(said.sum(), reports)
        assert float(slopes[:, :2].abs().max()) == 0
        torch.testing.assert_close(slopes.sum(1), torch.ones(200, dtype=torch.float64))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 4, 1.0, 1.0), "liars=4 exceeds sources=3"),
        ((4, 1, 0.4, 1.0), "bound=0.4 lets no map follow the consensus of sources=4.*0.5"),
        ((0, 1, 1.0, 1.0), "sources=0 is not allowed"),
        ((4, 1, 1.0, -1.0), "epsilon=-1.0 is not allowed"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        unavoidable_damage(*arguments)
