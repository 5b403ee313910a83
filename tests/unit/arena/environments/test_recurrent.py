"""Agents with a memory: one for each row, fresh in each episode, and seen by the attack."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from aajr import Ball, Divergence, ProjectedGradientAscent, VertexSearch
from aajr.adversaries import (
    EpisodeBudget,
    SparseAscent,
    SubsetSearch,
    TemporallyCoupled,
    rows_at_once,
)
from aajr.arena.agents.agent import Agent
from aajr.arena.environments.episodes import AttackedTeam, play
from aajr.arena.environments.protocols import Recurrent
from aajr.arena.spaces.heads import DeterministicHead
from aajr.geometry import Frozen, Sparse


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
        clean.extend(reference.outputs[:, 0].tolist())
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


class Gated(Agent):
    """A GRU of three features, which counts how often it is asked."""

    def __init__(self) -> None:
        limit = torch.ones(2)
        super().__init__(nn.Linear(5, 2), DeterministicHead(-limit, limit), 3, "raw")
        self.cell, self.asked = nn.GRUCell(3, 5), 0
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for weight in self.parameters():
                weight.copy_(torch.randn(weight.shape, generator=generator))
        self.requires_grad_(False)

    def forward(self, observation):
        return self.recall(observation, self.begin(len(observation)))[0]

    def begin(self, rows):
        return torch.zeros(rows, 5)

    def recall(self, observation, memory):
        self.asked += 1
        memory = self.cell(observation, memory)
        return self.network(memory), memory


def total(output, reference):
    return (output * torch.tensor([1.0, -0.5])).sum(1)


BALL = Ball("linf", 0.3)
ASCENT = ProjectedGradientAscent(BALL, total, steps=3, random_start=False, select="best")
ATTACKS = {
    "pgd": ASCENT,
    "stable": dataclasses.replace(ASCENT, step_rule="stable"),
    "backtracking": dataclasses.replace(ASCENT, step_rule="backtracking"),
    "divergence": VertexSearch(BALL, Divergence()),
    "sparse": SparseAscent(Sparse(BALL, 1), total, steps=3, restarts=1),
    "frozen": SubsetSearch(Frozen(torch.arange(3), 1), total),
    "coupled": TemporallyCoupled(ASCENT, reach=0.1),
    "budget": EpisodeBudget(ASCENT, 0.7),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_one_batch_finds_what_the_rows_find_one_by_one(name):
    generator = torch.Generator().manual_seed(1)
    views = torch.randn(4, 6, 1, 3, generator=generator)
    agent = Gated()
    together = AttackedTeam(agent, ATTACKS[name], torch.Generator())
    alone = [AttackedTeam(Gated(), ATTACKS[name], torch.Generator()) for _ in range(6)]
    found, expected = [], []
    for view in views:
        found.append(together(view))
        expected.append(torch.cat([one(view[k : k + 1]) for k, one in enumerate(alone)]))
    torch.testing.assert_close(torch.stack(found), torch.stack(expected), rtol=1e-5, atol=1e-6)
    assert together.largest == pytest.approx(max(one.largest for one in alone))
    assert agent.asked < 2 * max(one.actor.asked for one in alone), "rows go one by one"


@pytest.mark.parametrize("name", ["pgd", "stable", "backtracking", "divergence", "sparse"])
def test_every_row_is_attacked_with_its_own_memory(name):
    """The same search, row by row, of a map without memory into which the row's is written."""
    views = torch.randn(3, 5, 1, 3, generator=torch.Generator().manual_seed(1))
    agent, memory, attack = Gated(), torch.zeros(5, 5), ATTACKS[name]
    team = AttackedTeam(agent, attack, torch.Generator())
    for view in views:
        worst = []
        for row, x in zip(memory, view, strict=True):

            def policy(x, row=row):
                return agent.recall(x, row.expand(len(x), -1))[0]

            worst.append(attack(policy, x, torch.Generator()).worst)
        found = team(view)
        outputs, memory = agent.recall(torch.cat(worst), memory)
        torch.testing.assert_close(found[:, 0], agent.head.act(outputs), rtol=1e-5, atol=1e-6)


def test_the_memory_of_a_row_stays_with_it_where_rows_are_split():
    views = torch.randn(3, 6, 1, 3, generator=torch.Generator().manual_seed(1))
    whole, split = (AttackedTeam(Gated(), ASCENT, torch.Generator()) for _ in range(2))
    for view in views:
        expected = whole(view)
        with rows_at_once(4):
            found = split(view)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_an_attack_on_the_logits_reads_the_memory():
    views = torch.randn(3, 4, 1, 3, generator=torch.Generator().manual_seed(1))
    agent, memory = Gated(), torch.zeros(4, 5)
    met = []
    team = AttackedTeam(
        agent, ASCENT, torch.Generator(), on_logits=True, choose=lambda x: met.append(x) or x
    )
    for view in views:
        team(view)
        outputs, memory = agent.recall(view[:, 0], memory)
        torch.testing.assert_close(met[-1], outputs)  # the clean ones
        torch.testing.assert_close(met[-2], outputs + torch.tensor([0.3, -0.3]))


def test_an_agent_that_explores_remembers_too():
    assert isinstance(Summing(), Recurrent)
    found = []
    agent = Summing()
    team = clean_team(choose=lambda outputs: found.append(outputs) or agent.head.act(outputs))
    play(Counting(2), team)
    assert [x[0, 0].item() for x in found] == [1.0, 4.0]
