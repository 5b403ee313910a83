"""The threat on actions: the adversary changes what the agent does, by ε or with probability ε."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from aajr.arena.agents.agent import Agent
from aajr.arena.environments.acting import WithActions
from aajr.arena.environments.protocols import AgentLike, Environment
from aajr.arena.environments.sources import WithSources
from aajr.arena.spaces.chances import ChanceHead
from aajr.arena.spaces.features import Entry, Features
from aajr.arena.spaces.heads import CategoricalHead, DeterministicHead, GaussianHead, Head
from aajr.geometry import Ball

UNIT = "units of the action"
CHANCE = "probability of another choice"


def on_actions(
    agent: AgentLike, environment: Environment[Any], ball: Ball
) -> tuple[Agent, WithActions[Any], Ball]:
    """An agent whose *observations* an adversary may change, so that it changes actions by that.

    The environment shows the action a that the agent has chosen behind what it sees, and the
    returned agent does what it is shown. So every attack on observations is one on actions:
    noise on a, the action a + δ of least Q(s, a + δ), a learned attacker that sees s and a and
    commands δ. No attack needs gradients of the agent. The played action stays within the
    bounds of the action space. Where actions are choices, ε is a probability: with probability ε
    at most another entry is played, and the adversary says which, see
    :class:`~aajr.arena.spaces.chances.ChanceHead`.

    Args:
        agent: the agent.
        environment: the environment as the agent sees it. In one of sources no source lies.
        ball: norm, ε, mask and scale of δ, each for all actions or ``[actions]``; the valid box is
            cut to the bounds of the actions. Of choices it has the norm linf and ε alone.

    Returns:
        The agent that does what it is shown, the environment, and the ball in its features.

    Raises:
        ValueError: a ball that does not fit the actions.

    Source: Pan et al., Characterizing attacks on deep reinforcement learning, 2019,
    https://arxiv.org/abs/1907.09470; Tessler et al., Action robust reinforcement learning, 2019,
    https://arxiv.org/abs/1901.09184 (noisy and probabilistic action robust MDP).
    """
    if isinstance(environment, WithSources):
        environment = environment.environment
    match = WithActions(environment, agent)
    ball.check(torch.zeros(1, match.numbers))
    head, unit, inside = _played(agent.head, ball, match)
    source = getattr(agent, "source", "") or type(getattr(agent, "network", agent)).__name__
    network = _Shown(agent, environment.features)
    return Agent(network, head, match.features, unit, source=source), match, inside


def action_features(head: Head) -> Features:
    """The numbers of an action as features, so that they can be chosen by name.

    Raises:
        ValueError: actions that are choices.

    Example:
        >>> head = DeterministicHead(-torch.ones(3), torch.ones(3))
        >>> action_features(head).selected("1:")
        tensor([False,  True,  True])
    """
    return Features((Entry("action", (len(_continuous(head).low),)),))


class _Shown(nn.Module):
    """All that is shown behind an observation; it holds the agent, so that it has its weights."""

    def __init__(self, agent: AgentLike, first: int) -> None:
        super().__init__()
        self.agent, self.first = agent, first

    def forward(self, observation: Tensor) -> Tensor:
        return observation[..., self.first :]


def _played(head: Head, ball: Ball, match: WithActions[Any]) -> tuple[Head, str, Ball]:
    """The head of what is played, the unit of ε, and the ball of all that is shown."""
    if isinstance(head, CategoricalHead):
        return ChanceHead(head.sizes), CHANCE, _of_chances(ball, match)
    bounds = _continuous(head)
    played = DeterministicHead(bounds.low, bounds.high)
    return played, UNIT, _behind(ball, bounds, match.trusted)


def _continuous(head: Head) -> GaussianHead:
    """The head, whose actions are those of a Box."""
    if not isinstance(head, GaussianHead):
        raise ValueError(
            f"the agent acts by {head}, whose actions are no numbers; name no features of them"
        )
    return head


def _of_chances(ball: Ball, match: WithActions[Any]) -> Ball:
    """The ball of the probabilities of choices."""
    plain = all(part is None for part in (ball.mask, ball.scale, ball.low, ball.high))
    if ball.norm != "linf" or ball.epsilon > 1 or not plain:
        raise ValueError(
            f"the agent's actions are choices, of which ε is a probability, but ball has norm="
            f"{ball.norm!r}, epsilon={ball.epsilon}, or a mask, scale or box; give "
            "Ball('linf', ε) with ε at most 1"
        )
    able = match.attackable("actions")
    low = torch.where(able, 0.0, -torch.inf)
    return replace(ball, mask=able, low=low, high=torch.where(able, 1.0, torch.inf))


def _behind(ball: Ball, head: GaussianHead, features: int) -> Ball:
    """The ball of actions as one of observations with actions behind them."""
    actions = len(head.low)

    def lifted(value: Tensor | float | None, missing: float, fill: float) -> Tensor:
        own = torch.as_tensor(missing if value is None else value)
        return torch.cat([torch.full((features,), fill).to(own), own.expand(actions)])

    low, high = lifted(ball.low, -torch.inf, -torch.inf), lifted(ball.high, torch.inf, torch.inf)
    low[features:] = low[features:].maximum(head.low)
    high[features:] = high[features:].minimum(head.high)
    mask = lifted(None if ball.mask is None else ball.mask.float(), 1.0, 0.0).bool()
    scale = None if ball.scale is None else lifted(ball.scale, 1.0, 1.0)
    return replace(ball, mask=mask, scale=scale, low=low, high=high)
