"""Random inner problems: a smooth network, an objective with known constants, a ball, inputs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from aajr._seeds import derive
from aajr.adversaries import Critic, Divergence, Surrogate, Targeted
from aajr.geometry import Ball, Categorical, DiagonalGaussian, Euclidean, Metric
from aajr.theory import (
    Constants,
    critic_constants,
    divergence_constants,
    network_constants,
    softmax_constants,
    surrogate_constants,
)
from aajr.trajectory import Objective, Reference

BATCH = 4

ConstantsAt = Callable[[Reference, Tensor], Constants]
"""A function of the reference and the radii ``[rows]``; returns L and G of the objective within
the radius of its centre."""


@dataclass(frozen=True, eq=False)
class Loss:
    """An objective with its constants.

    Attributes:
        objective: ℓ.
        constants: returns L and G within a radius of the centre.
        centre: returns the centre of the radius; the clean output by default.
        data: data that the objective reads.
    """

    objective: Objective
    constants: ConstantsAt
    centre: Callable[[Reference], Tensor] = lambda reference: reference.outputs
    data: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Problem:
    """One random problem, determined by seed and index.

    Attributes:
        index: its index.
        kind: name of the objective.
        policy: π, float64.
        loss: ℓ with its constants.
        ball: Δ.
        x: clean inputs, ``[BATCH, inputs]``.
        generator: random source for all further draws.
    """

    index: int
    kind: str
    policy: nn.Sequential
    loss: Loss
    ball: Ball
    x: Tensor
    generator: torch.Generator


class Draw:
    """Draw random numbers from one generator, in float64."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers."""
        return torch.randn(shape, generator=self.generator, dtype=torch.float64)

    def integer(self, least: int, greatest: int) -> int:
        """A whole number between the two limits, both included."""
        return int(torch.randint(least, greatest + 1, (), generator=self.generator))

    def log_uniform(self, least: float, greatest: float) -> float:
        """A number between the two limits, uniform in its logarithm."""
        share = float(torch.rand((), generator=self.generator, dtype=torch.float64))
        return float(math.exp(math.log(least) + share * math.log(greatest / least)))

    def coin(self) -> bool:
        """True or False with equal probability."""
        return bool(self.integer(0, 1))


def random_problem(seed: int, index: int) -> Problem:
    """Draw the problem of an index: tanh or softplus, 1 to 3 hidden layers of 4 to 32 units.

    Example:
        >>> random_problem(0, 5).kind == random_problem(0, 5).kind
        True
    """
    generator = torch.Generator().manual_seed(derive(seed, "problem", index))
    draw = Draw(generator)
    kind = tuple(KINDS)[index % len(KINDS)]
    inputs, outputs = draw.integer(2, 10), 2 * draw.integer(2, 4)
    policy = random_network(draw, inputs, outputs)
    loss = KINDS[kind](draw, inputs, outputs)
    x = draw.normal(BATCH, inputs)
    return Problem(index, kind, policy, loss, _ball(draw, x), x, generator)


def random_network(draw: Draw, inputs: int, outputs: int) -> nn.Sequential:
    """Draw a network with gain 0.3 to 3 per layer; a high gain makes it very non-linear."""
    activation = nn.Tanh if draw.coin() else nn.Softplus
    gain = draw.log_uniform(0.3, 3.0)
    sizes = [inputs, *(draw.integer(4, 32) for _ in range(draw.integer(1, 3))), outputs]
    layers: list[nn.Module] = []
    for index, (before, after) in enumerate(itertools.pairwise(sizes)):
        linear = nn.utils.skip_init(  # type: ignore[no-untyped-call]
            nn.Linear, before, after, dtype=torch.float64
        )
        with torch.no_grad():
            linear.weight.copy_(gain * draw.normal(after, before) / math.sqrt(before))
            linear.bias.copy_(0.5 * draw.normal(after))
        layers += [linear] if index == len(sizes) - 2 else [linear, activation()]
    return nn.Sequential(*layers)


def describe(network: nn.Sequential) -> str:
    """Sizes and activation of a network in a short text.

    Example:
        >>> describe(nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)))
        '3-8-2 Tanh'
    """
    linear = [layer for layer in network if isinstance(layer, nn.Linear)]
    sizes = [linear[0].in_features, *(layer.out_features for layer in linear)]
    return f"{'-'.join(map(str, sizes))} {type(network[1]).__name__}"


def _ball(draw: Draw, x: Tensor) -> Ball:
    features = x.shape[1]
    scale = (0.5 * draw.normal(features)).exp() if draw.coin() else None
    mask = None
    if draw.coin():
        mask = draw.normal(features) > -0.5
        mask[0] = True
    edge = 1.0 + float(x.abs().max()) * draw.log_uniform(0.01, 1.0) if draw.coin() else None
    return Ball(
        "l2" if draw.coin() else "linf",
        draw.log_uniform(0.03, 1.0),
        scale=scale,
        mask=mask,
        low=None if edge is None else -edge,
        high=edge,
    )


def _divergence(metric: Metric) -> Loss:
    return Loss(
        Divergence(metric),
        lambda reference, radius: divergence_constants(metric, reference.outputs, radius),
    )


def _targeted(metric: Metric, target: Tensor) -> Loss:
    return Loss(
        Targeted(metric),
        lambda reference, radius: divergence_constants(metric, reference.data["target"], radius),
        lambda reference: reference.data["target"],
        {"target": target},
    )


def _surrogate_heads(draw: Draw, outputs: int) -> Loss:
    def log_prob(logits: Tensor, action: Tensor) -> Tensor:
        return logits.log_softmax(1).gather(1, action.unsqueeze(1)).squeeze(1)

    action = torch.randint(outputs, (BATCH,), generator=draw.generator)
    return _surrogate(Categorical(), log_prob, action, draw)


def _surrogate_gaussian(draw: Draw, outputs: int) -> Loss:
    def log_prob(output: Tensor, action: Tensor) -> Tensor:
        mean, log_scale = output.chunk(2, 1)
        return -(0.5 * ((action - mean) / log_scale.exp()).square() + log_scale).sum(1)

    return _surrogate(DiagonalGaussian(), log_prob, draw.normal(BATCH, outputs // 2), draw)


def _surrogate(
    metric: Metric, log_prob: Callable[[Tensor, Tensor], Tensor], action: Tensor, draw: Draw
) -> Loss:
    def constants(reference: Reference, radius: Tensor) -> Constants:
        advantage, played = reference.data["advantage"], reference.data["action"]
        return surrogate_constants(metric, advantage, reference.outputs, played, radius)

    data = {"action": action, "advantage": draw.normal(BATCH)}
    return Loss(Surrogate(log_prob), constants, data=data)


def _critic(draw: Draw, inputs: int, outputs: int, *, relaxed: bool) -> Loss:
    network = random_network(draw, inputs + outputs, 1)
    rest, weight = list(network)[1:], network[0].get_parameter("weight")
    own = nn.Linear(outputs, len(weight), dtype=torch.float64)
    own.weight.data = weight.data[:, inputs:]
    found = critic_constants(
        network_constants(nn.Sequential(own, *rest)), softmax_constants() if relaxed else None
    )
    value = network.requires_grad_(False)
    critic = Critic(
        lambda state, action: value(torch.cat([state, action], 1)).squeeze(1),
        (lambda logits: logits.softmax(1)) if relaxed else None,
    )
    return Loss(critic, lambda reference, radius: found)


KINDS: dict[str, Callable[[Draw, int, int], Loss]] = {
    "divergence, Euclidean": lambda d, n, m: _divergence(Euclidean()),
    "divergence, one head": lambda d, n, m: _divergence(Categorical()),
    "divergence, two heads": lambda d, n, m: _divergence(Categorical((m // 2, m - m // 2))),
    "divergence, Gaussian": lambda d, n, m: _divergence(DiagonalGaussian()),
    "targeted, Euclidean": lambda d, n, m: _targeted(Euclidean(), d.normal(BATCH, m)),
    "targeted, one head": lambda d, n, m: _targeted(Categorical(), d.normal(BATCH, m)),
    "surrogate, one head": lambda d, n, m: _surrogate_heads(d, m),
    "surrogate, Gaussian": lambda d, n, m: _surrogate_gaussian(d, m),
    "critic": lambda d, n, m: _critic(d, n, m, relaxed=False),
    "critic, relaxed action": lambda d, n, m: _critic(d, n, m, relaxed=True),
}
"""Makers of objectives by name; the index of a problem cycles through them."""
