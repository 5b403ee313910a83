"""Agents with a memory: one for each row, fresh in each episode, and seen by the attack."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from aajr import Ball, ProjectedGradientAscent
from aajr.arena.agents import Agent
from aajr.arena.environments import Recurrent
from aajr.arena.episodes import AttackedTeam, play
from aajr.arena.heads import DeterministicHead


class Summing(Agent):
    """Its action is its weight times the sum of all that it was shown in the episode."""

    def __init__(self) -> None:
        limit = torch.full((2,), 1e6)
        super().__init__(nn.Identity(), DeterministicHead(-limit, limit), 2, "raw")
        self.weight = nn.Parameter(torch.ones(2), requires_grad=False)

    def forward(self, observation):
        return self.recall(observation, self.begin(len(observation)))[0]

    def begin(self, rows):
        return torch.zeros(rows, 2)

    def recall(self, observation, memory):
        total = memory + observation
        return total * self.weight, total


@dataclasses.dataclass(frozen=True)
class Counting:
    """Episode i shows its number to both agents for i + 1 steps; two episodes run at a time."""

    episodes: int = 4
    seed: int = 0
    agents = 2

    def reset(self):
        return RunningCounting(self.episodes)

    def resized(self, episodes, seed):
        return Counting(episodes, seed)


class RunningCounting:
    def __init__(self, episodes: int) -> None:
        self.left = {i: i + 1 for i in range(episodes)}
        self.actions: list[tuple[list[int], Tensor]] = []

    @property
    def running(self):
        return torch.tensor(list(self.left)[:2], dtype=torch.long)

    @property
    def observation(self):
        return (1.0 + self.running)[:, None, None].expand(-1, 2, 2)

    def step(self, action):
        episodes = self.running.tolist()
        self.actions.append((episodes, action))
        self.left = {i: n - (i in episodes) for i, n in self.left.items()}
        self.left = {i: n for i, n in self.left.items() if n}

    def record(self):
        return self.actions


def clean_team(**changes):
    return AttackedTeam(Summing(), None, torch.Generator(), **changes)


def test_every_row_sums_what_its_own_episode_showed():
    met = dict.fromkeys(range(4), 0)
    for episodes, action in play(Counting(), clean_team()):
        for row, episode in enumerate(episodes):
            met[episode] += 1
            assert torch.equal(action[row], torch.full((2, 2), met[episode] * (1.0 + episode)))
    assert met == {0: 1, 1: 2, 2: 3, 3: 4}


def test_the_attack_moves_the_outputs_that_the_memory_gives():
    clean = []

    def total(output, reference):
        clean.append(reference.outputs[0, 0].item())
        return output.sum(1)

    attack = ProjectedGradientAscent(Ball("linf", 0.5), total, steps=1, random_start=False)
    team = AttackedTeam(Summing(), attack, torch.Generator())
    sums = torch.zeros(4)
    for episodes, action in play(Counting(), team):
        expected = sums[episodes] + 1.0 + torch.tensor(episodes)
        assert all(min(abs(x - found) for found in clean) < 1e-4 for x in expected.tolist())
        # what was shown, not what was there, is remembered
        sums[episodes] = expected + 0.5
        torch.testing.assert_close(action[:, 0, 0], sums[episodes])
    assert team.largest == pytest.approx(0.5)


def test_a_row_alone_equals_that_row_among_others():
    views = torch.randn(3, 4, 1, 2, generator=torch.Generator().manual_seed(1))
    attack = ProjectedGradientAscent(
        Ball("linf", 0.1), lambda output, reference: output.sum(1), steps=2, random_start=False
    )
    together = AttackedTeam(Summing(), attack, torch.Generator())
    alone = AttackedTeam(Summing(), attack, torch.Generator())
    for view in views:
        among = together(view)[2:3]
        assert torch.equal(among, alone(view[2:3]))


def test_an_agent_that_explores_remembers_too():
    assert isinstance(Summing(), Recurrent)
    found = []
    agent = Summing()
    team = clean_team(choose=lambda outputs: found.append(outputs) or agent.head.act(outputs))
    play(Counting(2), team)
    assert [x[0, 0].item() for x in found] == [1.0, 4.0]
