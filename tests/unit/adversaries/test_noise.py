"""Uniform noise."""

from __future__ import annotations

import torch

from aajr import Ball, UniformNoise
from aajr.testing import dense


def test_it_is_one_draw_and_one_pass(generator):
    ball, x = Ball("linf", 0.2), dense.inputs()
    trajectory = UniformNoise(ball)(dense.tanh_net(), x, generator)
    delta = ball.sample(x, torch.Generator().manual_seed(0))
    assert torch.equal(trajectory.worst, x + delta)
    assert torch.equal(trajectory.points, torch.stack([x, x + delta]))
    assert torch.equal(trajectory.gradients[0], delta)
    assert (trajectory.forward_passes, trajectory.backward_passes) == (1, 0)
