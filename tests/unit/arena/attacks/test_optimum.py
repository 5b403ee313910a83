"""Learned attackers beside the optimal adversary of a small game, all in exact expectations."""

from __future__ import annotations

import pytest
import torch

from aajr import Ball, UniformNoise
from aajr.arena.attacks.learned import AttackerConfig, LearnedAdversary, train_attacker
from aajr.arena.environments.episodes import AttackedTeam, play
from aajr.arena.training.ppo import PPOConfig
from tests.unit.arena.attacks.tabular import Grid, able, at_corners, walker

# The end at (0, 2) is a trap for the attacker: it costs the agent 1 at once, and nothing later.
GRID = Grid(
    ((0, 0, -1, 0), (0, 0, 0, 0), (0, 0, 0, -3), (-6, 0, 0, 8)), ends=((3, 3), (0, 2)), steps=8
)
AGENT = walker((3.1, 3.3))
EPSILON = 0.8
BALL = Ball("linf", EPSILON, mask=GRID.attackable("full"))
ABLE = able(GRID, AGENT, EPSILON)
CLEAN = GRID.attacked_value(AGENT, None)
OPTIMUM = CLEAN - GRID.value(GRID.worst(ABLE))
PPO = PPOConfig(
    environments=128, epochs=4, minibatches=2, learning_rate=1e-2, entropy=0.02, discount=1.0,
    hidden=(32,),
)  # fmt: skip


def share(adversary) -> float:
    """The exact expected damage of an adversary, as a share of the optimum."""
    return (CLEAN - GRID.attacked_value(AGENT, adversary)) / OPTIMUM


def by_table(choices) -> LearnedAdversary:
    """The adversary that leads the agent to the chosen actions, each at a corner of the ball.

    PA-AD is in reach of it too: with linear logits it goes to corners alone.
    """
    signs, actions = at_corners(GRID, AGENT, EPSILON)

    def network(x):
        time = (x[:, 2] * GRID.steps).round().long()
        state = (x[:, 0] * len(GRID.rewards) + x[:, 1]).long()
        wanted = torch.stack(choices)[time, state]
        return signs[(actions[:, state] == wanted).float().argmax(0)]

    return LearnedAdversary(BALL, network, squash=False)


def test_the_optimum_is_attained_and_by_foresight_alone():
    assert share(by_table(GRID.worst(ABLE))) == pytest.approx(1)
    assert share(by_table(GRID.worst(ABLE, ahead=False))) < 0.5
    assert share(UniformNoise(BALL)) < 0.5
    assert 1 < ABLE.sum(1).float().mean() < 3


def test_no_adversary_in_the_ball_beats_the_optimum():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        weight = torch.randn(3, 2, generator=generator)
        assert share(LearnedAdversary(BALL, lambda x, w=weight: 3 * (x - 1) @ w)) <= 1


def test_expected_returns_are_those_of_played_episodes():
    for adversary in (None, by_table(GRID.worst(ABLE))):
        team = AttackedTeam(AGENT, adversary, torch.Generator())
        returns = play(GRID.resized(4000, 1), team).reward.sum((1, 2))
        error = returns.std() / len(returns) ** 0.5
        assert abs(float(returns.mean()) - GRID.attacked_value(AGENT, adversary)) < 4 * error


@pytest.mark.parametrize("kind", ["sa_rl", "pa_ad"])
def test_a_learned_attacker_reaches_the_optimum(kind):
    found = train_attacker(AGENT, GRID, BALL, kind, AttackerConfig(50, PPO))
    assert 0.99 <= share(found) <= 1
