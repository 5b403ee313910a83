"""The threat on actions: the adversary changes what the agent does by up to ε."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from aajr.arena.agents.agent import Agent
from aajr.arena.environments.acting import WithActions
from aajr.arena.environments.protocols import AgentLike, Environment
from aajr.arena.environments.sources import WithSources
from aajr.arena.spaces.features import Entry, Features
from aajr.arena.spaces.heads import DeterministicHead, GaussianHead, Head
from aajr.geometry import Ball

UNIT = "units of the action"


def on_actions(
    agent: AgentLike, environment: Environment[Any], ball: Ball
) -> tuple[Agent, WithActions[Any], Ball]:
    """An agent whose *observations* an adversary may change, so that it changes actions by that.

    The environment shows the action a that the agent has chosen behind what it sees, and the
    returned agent does what it is shown. So every attack on observations is one on actions:
    noise on a, the action a + δ of least Q(s, a + δ), a learned attacker that sees s and a and
    commands δ. No attack needs gradients of the agent. The played action stays within the
    bounds of the action space.

    Args:
        agent: the agent; its actions are those of a Box.
        environment: the environment as the agent sees it. In one of sources no source lies.
        ball: norm, ε, mask and scale of δ, each for all actions or ``[actions]``; the valid box is
            cut to the bounds of the actions.

    Returns:
        The agent that does what it is shown, the environment, and the ball in its features.

    Raises:
        ValueError: actions that are choices, a ball that does not fit the actions.

    Source: Pan et al., Characterizing attacks on deep reinforcement learning, 2019,
    https://arxiv.org/abs/1907.09470; Tessler et al., Action robust reinforcement learning, 2019,
    https://arxiv.org/abs/1901.09184 (noisy action robust).
    """
    head = _continuous(agent.head)
    if isinstance(environment, WithSources):
        environment = environment.environment
    match = WithActions(environment, agent)
    ball.check(torch.zeros(1, match.numbers))
    acting = Agent(
        _Shown(agent, environment.features),
        DeterministicHead(head.low, head.high),
        match.features,
        UNIT,
        source=getattr(agent, "source", "") or type(getattr(agent, "network", agent)).__name__,
    )
    return acting, match, _behind(ball, head, environment.features)


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
    """The action that is shown behind an observation; it holds the agent, so that it has its
    weights.
    """

    def __init__(self, agent: AgentLike, first: int) -> None:
        super().__init__()
        self.agent, self.first = agent, first

    def forward(self, observation: Tensor) -> Tensor:
        return observation[..., self.first :]


def _continuous(head: Head) -> GaussianHead:
    """The head, whose actions are those of a Box."""
    if not isinstance(head, GaussianHead):
        raise ValueError(
            f"the agent acts by {head}, whose actions are choices; a choice cannot be changed by "
            "ε, so attack its observations instead"
        )
    return head


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
