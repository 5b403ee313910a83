"""What is added to a trainer's loss, and how often."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import Tensor

from aajr._checks import check_choice, check_count, check_number

MethodName = Literal["aajr", "random_direction", "r3f", "smart", "adversarial"]
MetricName = Literal["fisher", "euclidean", "hidden"]
Role = Literal["user", "tool"]
Attacker = (
    Literal["prompt", "tools", "all"] | tuple[Role, ...] | Callable[[Mapping[str, Any]], Tensor]
)

ROLES: tuple[Role, ...] = get_args(Role)
"""Roles of a chat that may be the attacker."""

METHODS: tuple[MethodName, ...] = get_args(MethodName)
"""AAJR and its rivals; NEFTune is TRL's own ``neftune_noise_alpha``."""

DIFFERENCES: tuple[MethodName, ...] = ("aajr", "random_direction")
"""The methods that divide a difference of two passes by its step."""


@dataclass(frozen=True)
class Robustness:
    """A penalty on how strongly the other party's text changes the model's answers.

    The attacked tokens' embeddings e of a sequence move by ε‖e‖ along a unit direction v. AAJR adds
    λ ‖J v‖²_F ‖e‖² / T to the loss: J is the Jacobian of the T answer tokens' logits, F the Fisher
    metric of their distributions, v the gradient of the trainer's own loss.

    Attributes:
        weight: λ ≥ 0; 0 is the host trainer, bit for bit.
        method: ``aajr``; ``random_direction`` (the same along a random v); ``r3f`` (symmetric KL at
            a random point of radius ε); ``smart`` (at the point of greatest KL); ``adversarial``
            (the trainer's loss at the point that raises it most).
        radius: ε of ``r3f``, ``smart`` and ``adversarial``, as a share of ‖e‖.
        steps: ascent steps of ``smart`` and ``adversarial``.
        attacker: which tokens move: ``prompt`` (every token that is not part of the answer; in
            chats without a prompt, the words of users and tools), roles of the chat template such
            as ``("tool", "user")`` (only their words, never the system prompt or the template's
            marks), ``tools`` (what tools returned, by TRL's tool mask or else by the template),
            ``all``, or a function from the arguments of the model's call (``input_ids``,
            ``labels``, …) to a mask ``[rows, tokens]``.
        layer: index of the layer whose input moves; 0 moves the embeddings. The perturbed pass
            skips the layers before it.
        metric: ``fisher``, ``euclidean`` (logits), or ``hidden`` (last hidden state, without the
            head, if the logits do not fit into memory).
        sketch: number of random projections of the hidden state under ``hidden``; None takes the
            state itself.
        fraction: ρ, share of the batch's sequences that are penalised, at least one.
        interval: optimiser steps between two penalised steps; λ is multiplied by it. A training
            of no more steps takes its own length instead, or half of it (rounded up) if it warms
            up, so one step is penalised.
        warmup: share of training, in whole steps, during which λ rises linearly from 0.
        step: step size of the finite difference, as a share of ‖e‖.
        chunk: number of answer tokens whose logits are held at a time.
        seed: seed of the drawn rows and random directions; the global random state is not used.

    Raises:
        ValueError: a setting outside its range; the message names it.

    Example:
        >>> Robustness(weight=0.1, interval=4).method
        'aajr'

    Source: Karras et al., 2020, https://arxiv.org/abs/1912.04958, for the interval; the rivals:
    Aghajanyan et al., 2020, https://arxiv.org/abs/2008.03156 (R3F), Jiang et al., 2020,
    https://arxiv.org/abs/1911.03437 (SMART), Zhu et al., 2020, https://arxiv.org/abs/1909.11764
    (adversarial), Casper et al., 2024, https://arxiv.org/abs/2403.05030 (latent adversarial).
    """

    weight: float
    method: MethodName = "aajr"
    radius: float = 0.1
    steps: int = 1
    attacker: Attacker = "prompt"
    layer: int = 0
    metric: MetricName = "fisher"
    sketch: int | None = None
    fraction: float = 0.125
    interval: int = 12
    warmup: float = 0.1
    step: float = 1e-4
    chunk: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("method", self.method, METHODS)
        check_choice("metric", self.metric, get_args(MetricName))
        if isinstance(self.attacker, tuple):
            _check_roles(self.attacker)
        elif not callable(self.attacker):
            check_choice("attacker", self.attacker, ("prompt", "tools", "all"))
        check_number("weight", self.weight)
        check_number("radius", self.radius, exclusive=True)
        check_number("step", self.step, exclusive=True, maximum=1)
        check_number("fraction", self.fraction, exclusive=True, maximum=1)
        check_number("warmup", self.warmup, maximum=1)
        for name in ("steps", "interval", "chunk"):
            check_count(name, getattr(self, name))
        for name in ("layer", "seed"):
            check_count(name, getattr(self, name), minimum=0)
        if self.sketch is not None:
            check_count("sketch", self.sketch)
            if self.metric != "hidden":
                raise ValueError(f"sketch={self.sketch} needs metric='hidden', not {self.metric!r}")

    def weight_at(self, step: int, total: int) -> float:
        """λ at one of ``total`` optimiser steps, not yet multiplied by the interval."""
        length = int(self.warmup * total)
        return self.weight if step >= length else self.weight * step / length

    def interval_at(self, total: int) -> int:
        """Optimiser steps between two penalised steps in a training of ``total`` steps.

        A training no longer than the interval takes its own length, so only its first step is
        penalised. If λ is 0 there because of a warm-up, it takes half of its length, rounded up,
        so only the step in its middle is penalised.
        """
        if self.interval < total:
            return self.interval
        return total if self.weight_at(0, total) > 0 else (total + 1) // 2


def _check_roles(roles: tuple[str, ...]) -> None:
    if not roles or not set(roles) <= set(ROLES):
        raise ValueError(
            f"attacker={roles!r} is not allowed; give one or more of {', '.join(ROLES)}, or a "
            "function that marks tokens"
        )
