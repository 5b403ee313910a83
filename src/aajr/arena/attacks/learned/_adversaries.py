"""Adversaries that carry out the commands of a trained attacker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import final

import torch
from torch import Tensor

from aajr._checks import check_count
from aajr._modes import Policy, evaluating
from aajr._vectors import per_row, unit
from aajr.adversaries import Adversary, LyingSources, ProjectedGradientAscent
from aajr.geometry import Ball, Sparse, check_event
from aajr.geometry.groups import largest, touched
from aajr.trajectory import Reference, Trajectory


@final
@dataclass(frozen=True, eq=False)
class LearnedAdversary(Adversary):
    """SA-RL: δ = P_Δ(ε s ⊙ tanh(u)) with the command u = ν(x) of a network.

    With ``squash=False`` the command is already a share of the radius, and δ = P_Δ(ε s ⊙ u).

    It takes no gradient and does not query the victim. If ``data["command"]`` is given, it replaces
    the network's command; training passes sampled commands in this way.

    Attributes:
        ball: the threat set; its mask is the same for every sample.
        network: ν, map from observations ``[batch, *event]`` to commands ``[batch, masked]``, one
            number for every attackable feature.
        features: mask ``[*event]`` of the features that a command covers; by default those
            attackable in the ball.
        squash: whether commands are squashed by tanh.

    Example:
        >>> import torch
        >>> ball = Ball("linf", 0.1, mask=torch.tensor([True, False]))
        >>> adversary = LearnedAdversary(ball, lambda x: 100 * x[:, :1])
        >>> adversary(torch.tanh, torch.tensor([[1.0, 1.0]]), torch.Generator()).worst
        tensor([[1.1000, 1.0000]])

    Source: Zhang et al., Robust reinforcement learning on state observations with learned optimal
    adversary, 2021, https://arxiv.org/abs/2101.08452.
    """

    ball: Ball
    network: Callable[[Tensor], Tensor]
    features: Tensor | None = None
    squash: bool = True

    def run(self, policy: Policy, reference: Reference, generator: torch.Generator) -> Trajectory:
        """Carry out one command."""
        x = reference.inputs
        allowed = commanded(self.ball, x) if self.features is None else self.features
        command = _command(self.network, reference, int(allowed.sum()))
        wanted = torch.zeros_like(x)
        wanted[:, allowed] = command.to(x).tanh() if self.squash else command.to(x)
        reach = replace(self.ball, norm="linf").steepest(torch.ones_like(x))
        worst = x + self.ball.project(self.ball.epsilon * reach * wanted, x)
        return Trajectory(
            reference=reference,
            points=torch.stack([x, worst]),
            gradients=torch.zeros_like(x).unsqueeze(0),
            losses=torch.zeros(1, x.shape[0], dtype=x.dtype, device=x.device),
            worst=worst,
            event_dims=self.ball.budget_dims,
            forward_passes=1,
        )


@final
@dataclass(frozen=True, eq=False)
class DirectedAdversary(Adversary):
    """PA-AD: max_δ ⟨d, π(x + δ)⟩ with the direction d = ν(x)/‖ν(x)‖ of a director.

    The director acts in the small space of the victim's outputs. Projected gradient ascent from
    the centre of the ball finds the perturbation that moves the output along d.

    Attributes:
        ball: the threat set.
        network: ν, map from observations ``[batch, features]`` to directions in the victim's
            outputs ``[batch, outputs]``. ``data["command"]`` replaces its result if given.
        steps: steps of projected gradient ascent; a single step reaches the boundary.

    Example:
        >>> import torch
        >>> director = lambda x: torch.tensor([[1.0, 0.0]]).expand(len(x), -1)
        >>> adversary = DirectedAdversary(Ball("linf", 0.1), director)
        >>> policy = lambda x: torch.stack([x[:, 0] - x[:, 1], x[:, 0]], 1)
        >>> adversary(policy, torch.zeros(1, 2), torch.Generator()).worst
        tensor([[ 0.1000, -0.1000]])

    Source: Sun et al., Who is the strongest enemy? Towards optimal and efficient evasion attacks
    in deep RL, 2022, https://arxiv.org/abs/2106.05087.
    """

    ball: Ball
    network: Callable[[Tensor], Tensor]
    steps: int = 1

    def __post_init__(self) -> None:
        check_count("steps", self.steps)

    def run(self, policy: Policy, reference: Reference, generator: torch.Generator) -> Trajectory:
        """Follow one direction by gradient ascent."""
        outputs = reference.outputs
        command = _command(self.network, reference, outputs[0].numel())
        direction = unit(command.to(outputs), per_row(command))

        def along(output: Tensor, reference: Reference) -> Tensor:
            return (output.flatten(1) * direction).sum(1)

        ascent = ProjectedGradientAscent(
            self.ball,
            along,
            steps=self.steps,
            step_size=self.ball.epsilon or None if self.steps == 1 else None,
            random_start=False,
        )
        return ascent.run(policy, reference, generator)


@final
@dataclass(frozen=True, eq=False)
class LearnedLiars(Adversary):
    """Any k of n sources lie; the network names the liars and commands their lies.

    A command ends with a score for every source that can be attacked. The k sources of greatest
    score lie, as the rest of the command says; the reports of the others stay as they are.

    Attributes:
        adversary: carries out the rest of the command, in the L∞ ball of all reports.
        sources: number of the source that reports each feature, in the shape of one event, -1 for
            features that no source can change; every feature is a source of its own by default.
        liars: k.
        stay: whether the liars that were named first in an episode stay to its end. It then reads
            ``data["liars"]`` ``[batch, sources]``, the liars so far, without any at first, and
            returns the present ones in the trajectory's ``reference.data["liars"]``.

    Raises:
        ValueError: a ball that is not L∞, no liars, sources that are not whole numbers.

    Example:
        >>> import torch
        >>> network = lambda x: torch.tensor([[9.0, 9.0, 9.0, 0.3, 0.1, 0.2]])
        >>> adversary = LearnedAdversary(Ball("linf", 0.5), network)
        >>> attack = LearnedLiars(adversary, torch.tensor([0, 1, 2]), liars=2)
        >>> attack(torch.tanh, torch.zeros(1, 3), torch.Generator()).worst
        tensor([[0.5000, 0.0000, 0.5000]])
    """

    adversary: LearnedAdversary | DirectedAdversary
    sources: Tensor | None
    liars: int
    stay: bool = False
    ball: Sparse = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ball", Sparse(self.adversary.ball, self.liars, self.sources))
        object.__setattr__(self, "needs", ("liars",) if self.stay else ())

    def run(self, policy: Policy, reference: Reference, generator: torch.Generator) -> Trajectory:
        """Name the liars and carry out the command on their reports."""
        x = reference.inputs
        check_event(self.ball.budget_dims, x)
        members, able = self.ball.members(x), attackable_sources(self.ball, x)
        command, scores = self._command(reference, int(able.sum()))
        liars = torch.zeros(len(x), len(members), dtype=torch.bool, device=x.device)
        liars[:, able] = largest(scores, self.liars)
        if self.stay:
            before = reference.data["liars"]
            liars = torch.where(before.any(-1, keepdim=True), before, liars)
        data = {**reference.data, "command": command, "liars": liars}
        groups = self.sources
        if groups is None:
            groups = torch.arange(x[0].numel()).reshape(x.shape[1:])
        lies = LyingSources(self._inner(x), groups, self.liars, "given")
        return lies.run(policy, replace(reference, data=data), generator)

    def _command(self, reference: Reference, sources: int) -> tuple[Tensor, Tensor]:
        """The inner adversary's command and the scores of the sources."""
        command = _asked(self.adversary.network, reference)
        if command.ndim != 2 or not bool(command.isfinite().all()) or command.shape[1] <= sources:
            raise ValueError(
                f"the network's command has shape {tuple(command.shape)} or NaN; it must be finite "
                f"and end with a score for each of {sources} sources"
            )
        return command[:, :-sources], command[:, -sources:]

    def _inner(self, x: Tensor) -> Adversary:
        if isinstance(self.adversary, DirectedAdversary):
            return self.adversary
        return replace(self.adversary, features=commanded(self.ball, x))


def commanded(threat: Ball | Sparse, x: Tensor) -> Tensor:
    """Mask ``[*event]`` of the features that a command covers: those attackable in the threat."""
    if isinstance(threat, Sparse):
        return commanded(threat.ball, x) & threat.members(x).any(0)
    return replace(threat, coalition=None).attackable(x[:1])[0].bool()


def attackable_sources(threat: Sparse, x: Tensor) -> Tensor:
    """True for the sources with a feature that a command covers, ``[sources]``."""
    return touched(commanded(threat, x).to(x), threat.members(x))


def _asked(network: Callable[[Tensor], Tensor], reference: Reference) -> Tensor:
    command = reference.data.get("command")
    if command is None:
        with torch.no_grad(), evaluating(network):
            command = network(reference.inputs)
    return command


def _command(network: Callable[[Tensor], Tensor], reference: Reference, size: int) -> Tensor:
    command = _asked(network, reference)
    expected = (reference.inputs.shape[0], size)
    if command.shape != expected or not bool(torch.isfinite(command).all()):
        raise ValueError(
            f"the network's command has shape {tuple(command.shape)} or NaN; it must be finite and "
            f"{expected}"
        )
    return command
