r"""The price of robustness: policies fitted under either constraint at the same γ.

Policies have four inputs and two outputs: a calm output and a sharp output, which must react
sharply to its input. The adversary increases the first output. This is the calm output in the task
``separate``, and the sharp output in the control task ``shared``. Every policy is fitted to
minimise the squared error subject to

.. math:: \max_{x, k} \|J(x + \delta_k) v_k\| \le \gamma \quad\text{or}\quad
    \max_{x, k} \|J(x + \delta_k)\|_2 \le \gamma .

Both constraints are enforced in the same way: on the same points, by the same hinge with the same
growing weight, and at the end by rescaling the last layer if the largest sensitivity exceeds γ.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from aajr._seeds import derive
from aajr._vectors import unit
from aajr.adversaries import ProjectedGradientAscent, rows_at_once
from aajr.geometry import Ball
from aajr.studies.theory._tasks import INPUTS, Task, first_output, squared_error, targets
from aajr.theory import Membership, membership
from aajr.trajectory import Objective, Trajectory

Constraint = Literal["aligned", "global", "none"]
CONSTRAINTS: tuple[Constraint, ...] = ("aligned", "global", "none")


@dataclass(frozen=True)
class PriceConfig:
    """The experiment's sizes.

    Attributes:
        gammas: the grid of γ.
        seeds: seeds of the data and the initial weights.
        samples: number of points of an update, drawn anew for each update.
        judged: number of points on which the final rescaling enforces the constraint; there are
            equally many test points.
        hidden: number of units in each of the two hidden layers.
        updates: number of updates of Adam.
        learning_rate: initial learning rate; a cosine schedule takes it to zero.
        epsilon: L2 radius of the adversary.
        steps: number of steps of the adversary; each has length ε / 2.
        first_weight: initial weight of the hinge.
        last_weight: final weight of the hinge; it grows geometrically until three quarters of the
            updates.
    """

    gammas: tuple[float, ...] = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 9.0)
    seeds: tuple[int, ...] = tuple(range(10))
    samples: int = 64
    judged: int = 1024
    hidden: int = 32
    updates: int = 1500
    learning_rate: float = 5e-3
    epsilon: float = 0.1
    steps: int = 2
    first_weight: float = 1e-5
    last_weight: float = 0.3


@dataclass(frozen=True)
class Fit:
    """One fitted policy.

    Attributes:
        task: name of the task, which decides the output that the adversary increases.
        constraint: the constraint under which the policy was fitted.
        gamma: γ; None without a constraint.
        seed: seed of the policy.
        nominal: mean squared error on test points.
        robust: mean squared error on test points attacked by the adversary of the constraint.
        other: mean squared error on test points attacked by an adversary that maximises this error.
        rescaled: factor of the last layer, 1 if the constraint already held.
        train: largest sensitivities (aligned, global) on the points of the final rescaling.
        test: largest sensitivities (aligned, global) on the test points.
    """

    task: Task
    constraint: Constraint
    gamma: float | None
    seed: int
    nominal: float
    robust: float
    other: float
    rescaled: float
    train: tuple[float, float]
    test: tuple[float, float]


class Ensemble:
    """Tanh networks of the same architecture, evaluated as one batched network.

    Args:
        seeds: seeds of the members' weights.
        hidden: number of units in each of the two hidden layers.
    """

    def __init__(self, seeds: tuple[int, ...], hidden: int) -> None:
        sizes = (INPUTS, hidden, hidden, 2)
        shapes = list(itertools.pairwise(sizes))
        drawn = [
            [_weight(seed, layer, *shape) for seed in seeds] for layer, shape in enumerate(shapes)
        ]
        self.weights = [torch.stack(layer).requires_grad_() for layer in drawn]
        self.biases = [
            w.new_zeros(len(seeds), 1, w.shape[2]).requires_grad_() for w in self.weights
        ]
        self.members = len(seeds)

    def parameters(self) -> list[Tensor]:
        """All weights and biases."""
        return [*self.weights, *self.biases]

    def __call__(self, x: Tensor) -> Tensor:
        """Map ``[members * samples, INPUTS]``, member after member, to outputs ``[..., 2]``."""
        value = x.reshape(self.members, -1, INPUTS)
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            value = torch.baddbmm(bias, value, weight)
            value = value if index == len(self.weights) - 1 else value.tanh()
        return value.reshape(-1, 2)

    def member(self, index: int) -> Callable[[Tensor], Tensor]:
        """One member as a policy with frozen weights."""
        weights = [w[index].detach() for w in self.weights]
        biases = [b[index].detach() for b in self.biases]

        def policy(x: Tensor) -> Tensor:
            hidden = (x @ weights[0] + biases[0]).tanh()
            return (hidden @ weights[1] + biases[1]).tanh() @ weights[2] + biases[2]

        return policy


def jacobian(policy: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Dense Jacobian of a policy with independent rows, ``[rows, 2, INPUTS]``, differentiable."""
    x = x.detach().requires_grad_()
    output = policy(x)
    rows = [
        torch.autograd.grad(output[:, index].sum(), x, create_graph=True)[0] for index in (0, 1)
    ]
    return torch.stack(rows, 1)


def sensitivity(J: Tensor, constraint: Constraint) -> Tensor:
    """‖J v‖ with v = J₁/‖J₁‖, or ‖J‖₂ in its closed form for two outputs, ``[rows]``."""
    if constraint == "aligned":
        v = unit(J[:, 0], (1,))
        return torch.einsum("rmn,rn->rm", J, v).norm(dim=1)
    gram = J @ J.transpose(1, 2)
    half, gap = (gram[:, 0, 0] + gram[:, 1, 1]) / 2, (gram[:, 0, 0] - gram[:, 1, 1]) / 2
    return (half + (gap.square() + gram[:, 0, 1].square() + 1e-24).sqrt()).sqrt()


def fit(config: PriceConfig, task: Task, constraint: Constraint) -> list[Fit]:
    """Fit the policies of every γ and seed under one constraint on one task, as one ensemble."""
    gammas = config.gammas if constraint != "none" else (math.inf,)
    cells = [(gamma, seed) for gamma in gammas for seed in config.seeds]
    ensemble = Ensemble(tuple(seed for _, seed in cells), config.hidden)
    generators = [torch.Generator().manual_seed(derive(seed, "samples")) for _, seed in cells]
    bound = torch.tensor([gamma for gamma, _ in cells], dtype=torch.float64)
    optimizer = torch.optim.Adam(ensemble.parameters(), lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.updates)
    for update in range(config.updates):
        x = torch.cat([_points(generator, config.samples) for generator in generators])
        error = (ensemble(x) - targets(x, task)).square().sum(1).reshape(len(cells), -1).mean(1)
        loss = error.sum()
        if constraint != "none":
            loss = loss + _hinge_weight(config, update) * _hinge(
                config, ensemble, x, bound, constraint
            )
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    factors = _rescale(config, ensemble, cells, bound, constraint)
    return [
        _judge(config, ensemble.member(i), task, constraint, cell, float(factors[i]))
        for i, cell in enumerate(cells)
    ]


def _hinge(
    config: PriceConfig, ensemble: Ensemble, x: Tensor, bound: Tensor, constraint: Constraint
) -> Tensor:
    # the target is slightly below γ, so that the final rescaling changes little
    values = _sensitivities(config, ensemble, x, constraint) / (0.97 * bound[:, None])
    return (values - 1).clamp_min(0).square().sum(1).sum()


def _hinge_weight(config: PriceConfig, update: int) -> float:
    progress = min(1.0, update / (0.75 * config.updates))
    return float(config.first_weight * (config.last_weight / config.first_weight) ** progress)


def _sensitivities(
    config: PriceConfig, ensemble: Ensemble, x: Tensor, constraint: Constraint
) -> Tensor:
    """Sensitivities at the attacked points x + δ_0 .. x + δ_{K-1}, ``[members, points]``."""
    with rows_at_once(len(x)):  # a smaller batch would split the members
        points = attack(config, ensemble, x).points[:-1]
    values = [sensitivity(jacobian(ensemble, point), constraint) for point in points]
    return torch.cat([value.reshape(ensemble.members, -1) for value in values], 1)


def attack(config: PriceConfig, policy: Callable[[Tensor], Tensor], x: Tensor) -> Trajectory:
    """The adversary of the constraint: ascent on the first output, from the clean point."""
    return _ascent(config, first_output, config.steps)(policy, x, torch.Generator())


def _ascent(config: PriceConfig, objective: Objective, steps: int) -> ProjectedGradientAscent:
    return ProjectedGradientAscent(
        Ball("l2", config.epsilon),
        objective,
        steps=steps,
        step_size=config.epsilon / 2,
        random_start=False,
    )


def _rescale(
    config: PriceConfig,
    ensemble: Ensemble,
    cells: list[tuple[float, int]],
    bound: Tensor,
    constraint: Constraint,
) -> Tensor:
    """Scale down the last layer if the largest sensitivity exceeds γ; directions do not change."""
    if constraint == "none":
        return torch.ones(ensemble.members)
    x = torch.cat([_judged_points(config, seed, "enforced") for _, seed in cells])
    largest = _sensitivities(config, ensemble, x, constraint).detach().amax(1)
    factor = (bound / largest * (1 - 1e-9)).clamp_max(1.0)
    with torch.no_grad():
        ensemble.weights[-1] *= factor[:, None, None]
    return factor


def _judge(
    config: PriceConfig,
    policy: Callable[[Tensor], Tensor],
    task: Task,
    constraint: Constraint,
    cell: tuple[float, int],
    factor: float,
) -> Fit:
    gamma, seed = cell
    train, fresh = (_judged_points(config, seed, part) for part in ("enforced", "fresh"))
    trajectory = attack(config, policy, fresh)
    y = targets(fresh, task)
    worst = _ascent(config, squared_error, 4 * config.steps)(
        policy, fresh, torch.Generator(), {"target": y}
    ).worst
    free = constraint == "none"
    limit = 1.0 if free else gamma

    def largest(found: Membership) -> tuple[float, float]:
        return found.aligned.sensitivity, found.spectral.sensitivity

    return Fit(
        task=task,
        constraint=constraint,
        gamma=None if free else gamma,
        seed=seed,
        nominal=float((policy(fresh) - y).square().sum(1).mean()),
        robust=float((policy(trajectory.worst) - y).square().sum(1).mean()),
        other=float((policy(worst) - y).square().sum(1).mean()),
        rescaled=factor,
        train=largest(membership(policy, attack(config, policy, train), limit)),
        test=largest(membership(policy, trajectory, limit)),
    )


def _points(generator: torch.Generator, samples: int) -> Tensor:
    return 2 * torch.rand(samples, INPUTS, generator=generator, dtype=torch.float64) - 1


def _judged_points(config: PriceConfig, seed: int, part: str) -> Tensor:
    generator = torch.Generator().manual_seed(derive(seed, part))
    return _points(generator, config.judged)


def _weight(seed: int, layer: int, before: int, after: int) -> Tensor:
    generator = torch.Generator().manual_seed(derive(seed, "weights", layer))
    draw = torch.randn(before, after, generator=generator, dtype=torch.float64)
    return draw / math.sqrt(before)
