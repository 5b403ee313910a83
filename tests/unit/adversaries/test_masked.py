"""Masked gradients are flagged on policies that have them, and on no other."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor

from aajr import (
    NES,
    AutoPGD,
    Ball,
    MaskedGradientWarning,
    Square,
    masked_gradients,
)
from aajr.testing import dense

BALL = Ball("linf", 0.3)


def total(output: Tensor, reference) -> Tensor:
    return output.sum(1)


class Sealed(torch.autograd.Function):
    """x forwards, minus the gradient backwards."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


def examine(policy, black_box=Square, objective=total):
    x = dense.inputs(16, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MaskedGradientWarning)
        climbed = AutoPGD(BALL, objective)(policy, x, torch.Generator().manual_seed(0))
    searched = black_box(BALL, objective)(policy, x, torch.Generator().manual_seed(0))
    return masked_gradients(policy, objective, climbed, searched)


@pytest.mark.parametrize("black_box", [Square, NES])
def test_a_smooth_policy_has_no_findings(black_box):
    assert examine(dense.tanh_net(), black_box).findings == ()


@pytest.mark.parametrize("black_box", [Square, NES])
def test_a_staircase_has_zero_gradients_and_black_box_attacks_find_the_failure(black_box):
    report = examine(lambda x: (20 * x).floor() / 20 + 0 * x, black_box)
    assert report.zero_share == 1.0
    assert report.beaten_share == 1.0
    assert len(report.findings) == 2
    assert report.findings[0] == "the gradient is exactly zero on 100% of the samples"
    assert report.findings[1].startswith("an attack without gradients gains over 1 % more")


def test_a_saturated_policy_is_flagged():
    report = examine(lambda x: torch.tanh(1e4 * (x - x.round())))
    assert report.zero_share > 0.3
    assert report.findings


def test_reversed_gradients_mislead():
    report = examine(Sealed.apply)
    assert (report.zero_share, report.misleading_share) == (0.0, 1.0)
    assert "a short step along the gradient lowers the objective on 100%" in report.findings[1]


def test_a_share_below_the_threshold_is_no_finding():
    def mostly_smooth(x: Tensor) -> Tensor:
        flat = (torch.arange(len(x)) % 16 == 0).unsqueeze(1)
        return torch.where(flat, (20 * x).floor() / 20, x)

    x, g = dense.inputs(16, 5), torch.Generator().manual_seed(0)
    climbed, searched = (attack(BALL, total)(mostly_smooth, x, g) for attack in (AutoPGD, Square))
    report = masked_gradients(mostly_smooth, total, climbed, searched, threshold=0.1)
    assert report.zero_share == 1 / 16
    assert report.findings == ()
    assert masked_gradients(mostly_smooth, total, climbed, searched, 0.05).findings


def test_attacks_at_different_inputs_are_refused(generator):
    climbed = AutoPGD(BALL, total)(torch.tanh, dense.inputs(), generator)
    searched = Square(BALL, total)(torch.tanh, dense.inputs(seed=3), generator)
    with pytest.raises(ValueError, match="the attacks have different clean inputs"):
        masked_gradients(torch.tanh, total, climbed, searched)
    with pytest.raises(ValueError, match=r"threshold=0.0 is not allowed"):
        masked_gradients(torch.tanh, total, climbed, climbed, 0.0)
