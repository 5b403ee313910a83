"""The reward for new states: its neighbours beside a brute-force search, and what it finds."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from aajr import Ball
from aajr.arena.agents.agent import Agent
from aajr.arena.attacks.learned import AttackerConfig, load_attacker, train_attacker
from aajr.arena.attacks.learned._coverage import coverage, with_coverage
from aajr.arena.spaces.heads import CategoricalHead
from aajr.arena.training.checkpoints import CheckpointError
from aajr.arena.training.ppo import PPOConfig
from tests.unit.arena.attacks.tabular import Grid, Played, able
from tests.unit.arena.attacks.test_learned import BALL, MASK, run, victim, weights


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def by_hand(states, nearest):
    """The bonus of every state, neighbour by neighbour."""
    columns = list(zip(*states, strict=True))
    means = [sum(column) / len(column) for column in columns]
    spreads = [
        math.sqrt(sum((x - m) ** 2 for x in column) / len(column))
        for column, m in zip(columns, means, strict=True)
    ]
    z = [[x / s if s else 0.0 for x, s in zip(row, spreads, strict=True)] for row in states]
    found = []
    for index, row in enumerate(z):
        apart = sorted(math.dist(row, other) for j, other in enumerate(z) if j != index)[:nearest]
        found.append(math.log(1 + sum(apart) / len(apart)))
    return found


@given(st.integers(2, 12), st.integers(1, 4), st.integers(1, 12), st.integers(0, 10**6))
def test_it_is_the_distance_of_the_nearest_neighbours(rows, features, nearest, seed):
    states = torch.randn(rows, features, generator=generator(seed)).double()
    states[:, 0] = 3.0  # a constant feature
    states[1] = states[0]  # a state that was visited twice
    expected = torch.tensor(by_hand(states.tolist(), nearest)).double()
    # cdist by matrix products loses digits at distance 0
    torch.testing.assert_close(
        coverage(states, generator(), nearest=nearest), expected, rtol=1e-6, atol=1e-6
    )


def test_units_and_order_do_not_count():
    states = torch.randn(40, 3, generator=generator()).double()
    found = coverage(states, generator(1))
    moved = coverage(states * torch.tensor([10.0, 1e-3, 1.0]) + 7, generator(2))
    torch.testing.assert_close(found, moved)
    order = torch.randperm(40, generator=generator(3))
    torch.testing.assert_close(found[order], coverage(states[order], generator(4)))
    assert torch.equal(coverage(states[:1], generator()), torch.zeros(1).double())


def test_of_many_states_neighbours_are_sought_among_a_few():
    states = torch.randn(50, 2, generator=generator()).double()
    drawn = torch.randperm(50, generator=generator(5))[:8]
    z = (states - states.mean(0)) / states.std(0, correction=0)
    distance = (z[:, None] - z[drawn]).norm(dim=-1)
    distance[drawn, torch.arange(8)] = torch.inf
    expected = distance.sort(1).values[:, :3].mean(1).log1p()
    found = coverage(states, generator(5), nearest=3, particles=8)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@dataclasses.dataclass(frozen=True)
class Cut(Played):
    played: torch.Tensor = None


def episodes() -> Cut:
    """Three episodes of two agents, of one, three and four steps."""
    played = torch.arange(4) < torch.tensor([[1], [3], [4]])
    there = played[..., None].float()
    observation = torch.randn(3, 4, 2, 5, generator=generator()) * there[..., None]
    reward = torch.randn(3, 4, 2, generator=generator(1)) * there
    return Cut(played.any(1), observation, reward, reward, played)


def test_the_reward_is_shared_between_the_task_and_new_states():
    record = episodes()
    reward, played = record.reward, record.played
    task, new, half = (with_coverage(record, c, generator())[..., 0] for c in (0, 1, 0.5))
    torch.testing.assert_close(task, -reward / reward[played].std(correction=0))
    torch.testing.assert_close(half, (task + new) / 2)
    rarity = coverage(record.observation[played].flatten(0, 1), generator()).reshape(-1, 2)
    rarity = (rarity - rarity.mean()) / rarity.std(correction=0)
    # rows of the played steps: 0 | 1 2 3 | 4 5 6 7; a step earns what the next one shows
    expected = torch.zeros(3, 4, 2)
    expected[1, :2], expected[2, :3] = rarity[2:4], rarity[5:8]
    torch.testing.assert_close(new, expected)


def test_a_reward_that_never_changes_is_left_as_it_is():
    record = episodes()
    flat = dataclasses.replace(record, reward=torch.zeros_like(record.reward))
    assert bool(with_coverage(flat, 0.5, generator()).isfinite().all())
    assert torch.equal(with_coverage(flat, 0.0, generator())[..., 0], flat.reward)


def test_a_run_goes_on_bit_for_bit(tmp_path):
    whole = run("sa_rl", 3, tmp_path / "whole", coverage=0.5)
    run("sa_rl", 2, tmp_path / "parts", coverage=0.5)
    parts = run("sa_rl", 3, tmp_path / "parts", coverage=0.5)
    for name, value in whole.learner.state().items():
        assert torch.equal(value, parts.learner.state()[name]), name
    plain = run("sa_rl", 3).learner.attacker
    assert not torch.equal(weights(plain), weights(whole.learner.attacker))
    with pytest.raises(CheckpointError, match="belongs to another run"):
        run("sa_rl", 4, tmp_path / "parts")
    loaded = load_attacker(tmp_path / "whole" / "attacker.safetensors", BALL)
    x = torch.randn(4, len(MASK), generator=generator())
    shown = [one(victim(), x, generator()).worst for one in (loaded, whole.adversary)]
    assert torch.equal(*shown)


CORRIDOR = Grid(((0,),) * 13 + ((-1,),), ends=((13, 0),), steps=20)
"""The agent loses 1 at the far end, thirteen steps away, and nothing before."""


def homing() -> Agent:
    """An agent that goes back to the start unless the row seems to be above 0.6; it is 0."""
    network = nn.Linear(3, 4).requires_grad_(False)
    network.weight.copy_(torch.tensor([[0.0, 1, 0], [0, -1, 0], [0, 0, 0], [0, 0, 0]]))
    network.bias.copy_(torch.tensor([-0.6, 0.6, -9, -9]))
    return Agent(network, CategoricalHead((4,)), 3, "cells")


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0.01), (0.5, 0.9, 1), (1.0, 0.9, 1)])
def test_it_finds_what_the_victims_reward_does_not_show(share, least, most):
    """The damage as a share of the optimum, by value iteration, within one budget."""
    ball, agent = Ball("linf", 0.9, mask=torch.tensor([False, True, False])), homing()
    ppo = PPOConfig(
        environments=64, epochs=4, minibatches=2, learning_rate=5e-3, entropy=0.0, discount=1.0,
        hidden=(32,),
    )  # fmt: skip
    config = AttackerConfig(40, ppo, coverage=share)
    found = train_attacker(agent, CORRIDOR, ball, "sa_rl", config)
    optimum = CORRIDOR.value(CORRIDOR.worst(able(CORRIDOR, agent, 0.9)))
    assert optimum < -0.99
    assert CORRIDOR.attacked_value(agent, None) > -0.01
    assert least <= CORRIDOR.attacked_value(agent, found) / optimum <= most
