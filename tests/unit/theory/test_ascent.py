"""Measured steps against dense gradients and Hessians of the composed objective."""

from __future__ import annotations

import torch

from aajr import Ball, ProjectedGradientAscent
from aajr.testing import dense
from aajr.theory import loss_of, measure_ascent


def task(output, reference):
    return (output.sin() * reference.data["weights"]).sum(1)


def test_every_quantity_agrees_with_dense_derivatives():
    policy = dense.tanh_net()
    attack = ProjectedGradientAscent(Ball("l2", 0.5), task, steps=3, step_size=0.4)
    data = {"weights": dense.inputs(dense.BATCH, dense.OUTPUTS, seed=4)}
    trajectory = attack(policy, dense.inputs(), torch.Generator().manual_seed(0), data)
    ascent = measure_ascent(policy, task, trajectory)
    for row in range(dense.BATCH):
        index = torch.tensor([row])
        loss = loss_of(policy, task, trajectory.reference.rows(index))
        scalar = lambda x: loss(x.unsqueeze(0)).squeeze()  # noqa: B023, E731
        for k in range(3):
            start, end = trajectory.points[k, row], trajectory.points[k + 1, row]
            d = (end - start) / (end - start).norm()
            gradient = torch.func.grad(scalar)(start)
            hessian = torch.func.hessian(scalar)(start)
            expected = {
                "gain": scalar(end) - scalar(start),
                "length": (end - start).norm(),
                "slope": gradient @ d,
                "smoothness": (d @ hessian @ d).abs(),
                "gradient_norm": gradient.norm(),
            }
            for name, value in expected.items():
                torch.testing.assert_close(getattr(ascent, name)[k, row], value, msg=name)


def test_a_step_beyond_the_stable_length_falls_and_a_shorter_one_rises():
    bowl = lambda output, reference: -output.square().sum(1)  # noqa: E731
    for share, falls in ((0.99, False), (1.01, True)):
        attack = ProjectedGradientAscent(
            Ball("l2", 9.0),
            bowl,
            steps=1,
            step_size=share,
            step_direction="raw",
            random_start=False,
        )
        policy = lambda x: x * 1.0  # noqa: E731
        trajectory = attack(policy, torch.ones(2, 3, dtype=torch.float64), torch.Generator())
        ascent = measure_ascent(policy, bowl, trajectory)
        assert bool(ascent.falls.all()) == falls
        assert bool((ascent.length > ascent.stable_length).all()) == falls


def test_rows_that_do_not_move_measure_zero():
    attack = ProjectedGradientAscent(Ball("l2", 0.0), lambda o, r: o.sum(1))
    policy = dense.tanh_net()
    trajectory = attack(policy, dense.inputs(), torch.Generator())
    ascent = measure_ascent(policy, attack.objective, trajectory)
    for value in (ascent.gain, ascent.length, ascent.slope, ascent.smoothness):
        assert not bool(value.any())
    assert not bool(ascent.falls.any())


def test_no_parameter_is_touched():
    policy = dense.tanh_net()
    attack = ProjectedGradientAscent(Ball("l2", 0.3), lambda o, r: o.sum(1))
    trajectory = attack(policy, dense.inputs(), torch.Generator())
    assert not measure_ascent(policy, attack.objective, trajectory).gain.requires_grad
    assert all(p.grad is None for p in policy.parameters())
