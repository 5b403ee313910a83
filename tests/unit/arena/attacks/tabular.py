"""Small grid worlds whose optimal adversary is known exactly, by value iteration."""

from __future__ import annotations

import dataclasses
from functools import cached_property

import torch
from scipy.optimize import linprog
from torch import Tensor, nn

from aajr.adversaries import Adversary
from aajr.arena.agents.agent import Agent
from aajr.arena.spaces.heads import CategoricalHead
from tests.unit.arena.environments.test_environments import Played

MOVES = torch.tensor([[1, 0], [-1, 0], [0, 1], [0, -1]])


@dataclasses.dataclass(frozen=True)
class Grid:
    """A walk on a rectangle of cells, whose reward is that of the cell that is entered.

    The agent sees the column, the row and the time, each as numbers of about unit size. A move
    slips into a random one with probability ``slip``. The first cell is (0, 0). A cell of
    ``ends`` is never left, and pays nothing more.

    Attributes:
        rewards: reward of each cell, ``[columns, rows]``.
        ends: cells that are never left, by column and row.
    """

    rewards: tuple[tuple[float, ...], ...]
    ends: tuple[tuple[int, int], ...] = ()
    steps: int = 10
    slip: float = 0.1
    episodes: int = 1
    seed: int = 0

    features, agents, opponents, liars, claims = 3, 1, (), 0, (None, None)
    items = torch.tensor([0, 1, -1])
    sources = torch.full((3,), -1)

    @property
    def facts(self):
        return {"cells": [*map(list, self.rewards)], "slip": self.slip, "steps": self.steps}

    def attackable(self, threat):
        return torch.tensor([True, True, False])

    def resized(self, episodes, seed):
        return dataclasses.replace(self, episodes=episodes, seed=seed)

    def reset(self):
        return RunningGrid(self)

    @cached_property
    def cells(self) -> Tensor:
        """Column and row of every state, ``[states, 2]``."""
        columns, rows = torch.tensor(self.rewards).shape
        return torch.cartesian_prod(torch.arange(columns), torch.arange(rows))

    @cached_property
    def model(self) -> tuple[Tensor, Tensor]:
        """Probabilities ``[states, actions, next states]`` and expected rewards of actions."""
        columns, rows = torch.tensor(self.rewards).shape
        reached = (self.cells[:, None] + MOVES).clamp_min(0)
        reached = reached.minimum(torch.tensor([columns - 1, rows - 1]))
        places = reached[..., 0] * rows + reached[..., 1]
        exact = nn.functional.one_hot(places, columns * rows).double()
        moved = (1 - self.slip) * exact + self.slip * exact.mean(1, keepdim=True)
        gained = moved @ torch.tensor(self.rewards).double().flatten()
        for column, row in self.ends:
            state = column * rows + row
            moved[state], gained[state] = torch.eye(columns * rows).double()[state], 0.0
        return moved, gained

    def shown(self, time: int, states: Tensor) -> Tensor:
        """What the agent sees in the states, ``[states, 3]``."""
        place = self.cells[states].float()
        return torch.cat([place, torch.full((len(states), 1), time / self.steps)], 1)

    def value(self, choices: list[Tensor]) -> float:
        """Exact expected return, if at each time an action is chosen in every state."""
        moved, gained = self.model
        value, every = torch.zeros(len(gained)).double(), torch.arange(len(gained))
        for choice in reversed(choices):
            value = gained[every, choice] + moved[every, choice] @ value
        return float(value[0])

    def attacked_value(self, agent: Agent, adversary: Adversary | None) -> float:
        """Exact expected return of an agent under an adversary without randomness."""
        choices, every = [], torch.arange(len(self.cells))
        for time in range(self.steps):
            x = self.shown(time, every)
            if adversary is not None:
                x = adversary(agent, x, torch.Generator()).worst
            choices.append(agent.head.act(agent(x))[:, 0])
        return self.value(choices)

    def worst(self, able: Tensor, *, ahead: bool = True) -> list[Tensor]:
        """The action of least expected return among the ``able``, by time and state.

        With ``ahead=False`` it is the action of least expected reward at once.
        """
        moved, gained = self.model
        value, choices = torch.zeros(len(gained)).double(), []
        for _ in range(self.steps):
            q = gained + (moved @ value if ahead else 0.0)
            value, choice = q.masked_fill(~able, torch.inf).min(1)
            choices.append(choice)
        return choices[::-1]


class RunningGrid:
    def __init__(self, grid: Grid) -> None:
        self.grid, self.source = grid, torch.Generator().manual_seed(grid.seed)
        self.state = torch.zeros(grid.episodes, dtype=torch.long)
        self.kept: list[tuple[Tensor, Tensor, Tensor]] = []

    @property
    def running(self):
        return torch.arange(len(self.state) if len(self.kept) < self.grid.steps else 0)

    @property
    def observation(self):
        return self.grid.shown(len(self.kept), self.state).unsqueeze(1)

    def step(self, action):
        moved, _ = self.grid.model
        before = self.observation
        ahead = torch.multinomial(moved[self.state, action[:, 0, 0]], 1, generator=self.source)
        ended = moved[self.state, :, self.state].sum(1) == len(MOVES)
        gained = torch.tensor(self.grid.rewards).float().flatten()[ahead[:, 0]]
        self.kept.append((before, action, gained.masked_fill(ended, 0.0).unsqueeze(1)))
        self.state = ahead[:, 0]

    def record(self):
        observation, action, reward = (torch.stack(p, 1) for p in zip(*self.kept, strict=True))
        return Played(reward.sum((1, 2)) > 0, observation, action, reward)


def walker(goal: tuple[float, float]) -> Agent:
    """An agent that makes its greater distance to the goal smaller, with logits linear in x."""
    network = nn.Linear(3, 4).requires_grad_(False)
    network.weight.copy_(torch.tensor([[-1.0, 0, 0], [1, 0, 0], [0, -1, 0], [0, 1, 0]]))
    column, row = goal
    network.bias.copy_(torch.tensor([column, -column, row, -row]))
    return Agent(network, CategoricalHead((4,)), 3, "cells")


def able(grid: Grid, agent: Agent, epsilon: float) -> Tensor:
    """Actions that the L∞ ball of the place can make the agent take, ``[states, actions]``.

    An action is possible if the greatest lead of its logit, a linear programme, is positive.
    """
    weight, bias = agent.network.weight[:, :2].double(), agent.network.bias.double()
    leads = [
        [_lead(weight, bias, cell, action, epsilon) for action in range(len(MOVES))]
        for cell in grid.cells.double()
    ]
    found = torch.tensor(leads)
    assert bool((found.abs() > 1e-3).all()), "a tie: choose another ε"
    return found > 0


def _lead(weight: Tensor, bias: Tensor, cell: Tensor, action: int, epsilon: float) -> float:
    """The greatest lead of an action's logit over the others in the ball around a cell."""
    others = [index for index in range(4) if index != action]
    apart = weight[action] - weight[others]
    clean = apart @ cell + bias[action] - bias[others]
    rows = torch.cat([-apart, torch.ones(3, 1)], 1).numpy()
    bounds = [(-epsilon, epsilon)] * 2 + [(None, None)]
    return -linprog([0, 0, -1], rows, clean.numpy(), bounds=bounds).fun


def at_corners(grid: Grid, agent: Agent, epsilon: float) -> tuple[Tensor, Tensor]:
    """The corners of the ball as signs ``[corners, 2]``, and the agent's actions there.

    Returns:
        The signs, and the actions ``[corners, states]``.
    """
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 2)
    seen = grid.shown(0, torch.arange(len(grid.cells))).repeat(len(signs), 1, 1)
    seen[..., :2] += epsilon * signs[:, None]
    return signs, agent.head.act(agent(seen))[..., 0]
