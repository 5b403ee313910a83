"""Perturbations of a whole trajectory, differentiated through the simulator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from aajr._checks import check_batch, check_count, check_number
from aajr._modes import Policy
from aajr.adversaries._base import Adversary
from aajr.adversaries._pgd import ProjectedGradientAscent
from aajr.geometry import Ball
from aajr.trajectory import Reference, Trajectory


@final
@dataclass(frozen=True, eq=False)
class Dynamics:
    """A differentiable simulator as three pure functions, rows independent of one another.

    Attributes:
        step: (state ``[batch, ...]``, action ``[batch, *output]``) to the next state.
        observe: state to the policy's input ``[batch, *event]``.
        cost: state after a step to its cost ``[batch]``, which the adversary maximises.

    Example:
        >>> import torch
        >>> integrator = Dynamics(lambda s, a: s + a, lambda s: s, lambda s: s.square().sum(1))
        >>> integrator.observations(lambda x: -0.5 * x, torch.ones(1, 1), horizon=3).flatten()
        tensor([1.0000, 0.5000, 0.2500])
    """

    step: Callable[[Tensor, Tensor], Tensor]
    observe: Callable[[Tensor], Tensor]
    cost: Callable[[Tensor], Tensor]

    @torch.no_grad()
    def observations(self, policy: Policy, state: Tensor, horizon: int) -> Tensor:
        """The policy's inputs in an unattacked episode, ``[batch, horizon, *event]``."""
        check_count("horizon", horizon)
        check_batch("state", state)
        seen = []
        for _ in range(horizon):
            seen.append(self.observe(state))
            state = self.step(state, policy(seen[-1]))
        return torch.stack(seen, 1)

    def total_cost(self, policy: Policy, state: Tensor, perturbation: Tensor) -> Tensor:
        """Σ_t cost(s_t), t = 1..H, of the policy at inputs observe(s_{t-1}) + δ_{t-1}: ``[batch]``.

        Args:
            policy: map from observations to actions.
            state: s_0, ``[batch, ...]``.
            perturbation: δ, ``[batch, H, *event]``.
        """
        total = perturbation.new_zeros(perturbation.shape[0])
        for delta in perturbation.unbind(1):
            state = self.step(state, policy(self.observe(state) + delta))
            total = total + self.cost(state)
        return total


@final
@dataclass(frozen=True, eq=False)
class ThroughDynamics(Adversary):
    """Plans δ_0..δ_{H-1} at once: projected gradient ascent on the cost of the whole episode.

    An attack on one step moves the action as far as it can; this one maximises the cost that
    follows. Call it with the observations of the unattacked episode; it reads ``data["state"]``,
    the states at the start. The trajectory's events are ``[H, *event]`` and its losses are total
    costs. A point of the trajectory is the observation of the unattacked episode plus δ_t. In the
    search, the policy gets the observation of the attacked episode plus δ_t. A pass is one episode
    of the whole batch.

    Attributes:
        ball: the threat set of one step, or of the whole plan if ``event_dims`` is one more than
            the number of dimensions of an observation.
        dynamics: the simulator.
        steps: number of steps of projected gradient ascent.
        step_size: in units of ε; it may be large, because the best plan seen is kept.
        restarts: independent searches; the best one is kept.

    Raises:
        ValueError: no steps, no restarts, or a state that is not a batch.

    Example:
        >>> import torch
        >>> integrator = Dynamics(lambda s, a: s + a, lambda s: s, lambda s: s.sum(1))
        >>> policy, state = (lambda x: -0.5 * x), torch.zeros(1, 1)
        >>> clean = integrator.observations(policy, state, horizon=3)
        >>> attack = ThroughDynamics(Ball("linf", 0.1), integrator)
        >>> g = torch.Generator().manual_seed(0)
        >>> attack(policy, clean, g, {"state": state}).worst.flatten()
        tensor([-0.1000, -0.1000, -0.1000])

    Source: differentiation through a simulator's steps, as in Degrave et al., A differentiable
    physics engine for deep learning in robotics, 2019, https://arxiv.org/abs/1611.01652.
    """

    ball: Ball
    dynamics: Dynamics
    steps: int = 20
    step_size: float = 0.25
    restarts: int = 1
    needs = ("state",)

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        check_count("restarts", self.restarts)
        check_number("step_size", self.step_size, exclusive=True)

    def run(self, policy: Policy, reference: Reference, generator: torch.Generator) -> Trajectory:
        """Ascend the total cost; one evaluation is one episode of the batch."""
        x, state = reference.inputs, reference.data["state"]
        check_batch("data['state']", state)

        def episode(point: Tensor) -> Tensor:
            plan = point - x
            return self.dynamics.total_cost(policy, state, plan).unsqueeze(1)

        ascent = ProjectedGradientAscent(
            self.ball,
            lambda output, reference: output.squeeze(1),
            steps=self.steps,
            step_size=self.step_size * self.ball.epsilon or None,
            restarts=self.restarts,
            select="best",
        )
        found = ascent.run(episode, reference, generator)
        return replace(found, reference=reference)
