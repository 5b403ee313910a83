"""The final call: a perturbation that does not reach the policy is caught, needs are named."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from aajr import Adversary, AutoPGD, Ball, Trajectory, Transfer, UniformNoise, fgsm
from aajr._errors import ContractError
from aajr.testing import dense

BALL = Ball("linf", 0.3)


def total(output: Tensor, reference) -> Tensor:
    return output.sum(1)


def record(reference, points, losses, worst) -> Trajectory:
    return Trajectory(
        reference=reference,
        points=torch.stack(points),
        gradients=torch.zeros_like(torch.stack(points[1:])),
        losses=torch.stack(losses),
        worst=worst,
    )


@dataclass(frozen=True, eq=False)
class Scripted(Adversary):
    """Runs a given function from (policy, reference) to (points, losses, worst)."""

    script: object
    ball: Ball = BALL

    def run(self, policy, reference, generator):
        return record(reference, *self.script(policy, reference))


def forgets_when_asking(policy, reference):
    x = reference.inputs
    losses = [total(policy(x), reference) for _ in range(2)]
    return [x, x + 0.1], losses, x + 0.1


def forgets_in_a_population(policy, reference):
    x = reference.inputs
    losses = list(policy(torch.cat([x, x])).sum(1).chunk(2))
    return [x, x + 0.1], losses, x + 0.1


def forgets_when_returning(policy, reference):
    x = reference.inputs
    return [x, x + 0.1], [total(policy(x), reference)], x


def returns_the_worse_of_two(policy, reference):
    x = reference.inputs
    losses = [total(policy(x), reference), total(policy(x + 0.1), reference)]
    return [x, x + 0.1], losses, x


@pytest.mark.parametrize(
    "script",
    [
        forgets_when_asking,
        forgets_in_a_population,
        forgets_when_returning,
        returns_the_worse_of_two,
    ],
)
def test_an_adversary_that_forgets_its_perturbation_is_caught(script, generator):
    with pytest.raises(ContractError, match="of Scripted did not reach the policy"):
        Scripted(script)(lambda x: 2 * x, dense.inputs(), generator)


def stays_where_it_is_best(policy, reference):
    x = reference.inputs
    losses = [total(policy(x), reference), total(policy(x - 0.1), reference)]
    return [x, x - 0.1], losses, x


def steps_back_to_the_clean_input(policy, reference):
    x = reference.inputs
    return [x - 0.1, x], [total(policy(x - 0.1), reference)], x


def never_moves(policy, reference):
    x = reference.inputs
    return [x, x], [total(policy(x), reference)], x


def never_asks(policy, reference):
    x = reference.inputs
    return [x, x + 0.1], [x.sum(1), x.sum(1)], x + 0.1


@pytest.mark.parametrize(
    "script", [stays_where_it_is_best, steps_back_to_the_clean_input, never_moves, never_asks]
)
def test_knowing_choices_pass(script, generator):
    Scripted(script)(lambda x: 2 * x, dense.inputs(), generator)


def leaves(policy, reference):
    x = reference.inputs
    return [x, x + 0.31], [total(policy(x), reference)], x + 0.31


def test_leaving_the_ball_is_caught(generator):
    with pytest.raises(ContractError, match="Scripted returned a point outside its ball"):
        Scripted(leaves)(lambda x: 2 * x, dense.inputs(), generator)


@dataclass(frozen=True, eq=False)
class Late(Scripted):
    """Reads the time."""

    script: object = never_moves
    needs = ("time", "previous")


def test_missing_needs_are_named(generator):
    x, time = dense.inputs(), torch.zeros(dense.BATCH, dtype=torch.long)
    message = r"the adversary needs data\['previous'\] but data holds time; pass data="
    with pytest.raises(ValueError, match=message):
        Late()(torch.tanh, x, generator, {"time": time})
    with pytest.raises(ValueError, match="but data holds nothing"):
        Late()(torch.tanh, x, generator)
    Late()(torch.tanh, x, generator, {"time": time, "previous": torch.zeros_like(x)})


def test_wrappers_need_what_they_wrap(generator):
    with pytest.raises(ValueError, match=r"needs data\['time'\]"):
        Transfer(torch.tanh, Late())(torch.tanh, dense.inputs(), generator)


@pytest.mark.parametrize("attack", [UniformNoise(BALL), fgsm(BALL, total), AutoPGD(BALL)])
def test_real_attacks_move_every_row_and_would_be_caught_otherwise(attack, generator):
    trajectory = attack(dense.tanh_net(), dense.inputs(), generator)
    assert bool((trajectory.worst != trajectory.origin).any(1).all())

    def forgetful(policy, reference):
        policy(trajectory.points[-1])
        return list(trajectory.points), list(trajectory.losses), trajectory.origin

    with pytest.raises(ContractError, match="did not reach the policy"):
        Scripted(forgetful)(dense.tanh_net(), dense.inputs(), generator)
