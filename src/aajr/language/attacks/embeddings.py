"""Ascent on the embeddings of what the other party wrote: a bound on attacks by words.

Source: Schwinn et al., 2024, https://arxiv.org/abs/2402.09063.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from aajr._modes import Policy
from aajr._settings import check_choice, check_count, check_number
from aajr.adversaries import ProjectedGradientAscent
from aajr.geometry import Ball
from aajr.language.attacks.base import AIMS, Aim, Attempt, Objective
from aajr.language.chats import Chat
from aajr.language.victim import Victim
from aajr.trajectory import Reference


@dataclass(frozen=True)
class EmbeddingAscent:
    """max F(e + δ) subject to ‖δ‖ ≤ ε‖e‖ over the embeddings e of the controlled tokens.

    F is ± the mean log p of the answer's tokens. The number of steps is doubled until F rises by
    less than ``tolerance`` of what was gained, or ``most`` steps are reached.

    Attributes:
        radius: ε.
        aim: what is made probable.
        steps: number of steps of the first search.
        most: largest number of steps of a search.
        restarts: number of random starts of each search.
        tolerance: relative gain at which the search has converged.
    """

    radius: float
    aim: Aim = "wrong"
    steps: int = 10
    most: int = 160
    restarts: int = 2
    tolerance: float = 0.02

    def __post_init__(self) -> None:
        check_number("radius", self.radius, exclusive=True)
        check_choice("aim", self.aim, AIMS)
        check_count("steps", self.steps)
        check_count("most", self.most, minimum=self.steps)
        check_count("restarts", self.restarts)
        check_number("tolerance", self.tolerance)

    def __call__(
        self, victim: Victim, chat: Chat, clean: str, generator: torch.Generator
    ) -> Sequence[Attempt]:
        """The chat with moved embeddings."""
        objective = Objective.of(victim, chat, clean, self.aim)
        x = victim.embedded([chat.ids])
        mask = torch.zeros(x.shape[1:], dtype=torch.bool, device=x.device)
        mask[chat.controlled] = True
        size = float((x[0] * mask).norm())
        ball = Ball("l2", self.radius * size, mask=mask, event_dims=2)

        def policy(embeddings: Tensor) -> Tensor:
            log_p = victim.log_probability(embeddings, objective.reply)
            return (objective.sign * log_p).unsqueeze(-1)

        source = torch.Generator(x.device).manual_seed(
            int(torch.randint(2**31, (), generator=generator))
        )
        worst, gain, converged = self._longest(policy, x, ball, source)
        share = float((worst - x[0]).norm()) / size
        return [Attempt(chat, worst, share, gain, converged)]

    def _longest(
        self, policy: Policy, x: Tensor, ball: Ball, source: torch.Generator
    ) -> tuple[Tensor, float, bool]:
        """The worst embeddings, the gain, and whether a longer search found no more."""
        found, steps = self._searched(policy, x, ball, source, self.steps), self.steps
        while 2 * steps <= self.most:
            steps *= 2
            longer = self._searched(policy, x, ball, source, steps)
            if longer[1] <= found[1] * (1 + self.tolerance):
                return *max(found, longer, key=lambda one: one[1]), True
            found = longer
        return *found, False

    def _searched(
        self, policy: Policy, x: Tensor, ball: Ball, source: torch.Generator, steps: int
    ) -> tuple[Tensor, float]:
        """The worst embeddings and the gain; all restarts are rows of one batch."""
        search = ProjectedGradientAscent(ball, _value, steps=steps, select="best")
        starts = x.expand(self.restarts, -1, -1).contiguous()
        points = search(policy, starts, source).worst
        with torch.no_grad():
            before, after = policy(x), policy(points)
        best = int(after.argmax())
        return points[best], max(0.0, float(after[best] - before))


def _value(output: Tensor, reference: Reference) -> Tensor:
    return output.squeeze(-1)
