"""Masks of forbidden actions: shown beside the observation, and kept under attack."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

import aajr
from aajr.arena import Agent
from aajr.arena.agents.masks import ShowMask, masked
from aajr.arena.environments.episodes import AttackedTeam, play
from aajr.arena.environments.gymnasium import GymnasiumEnvironment


class Doors(gym.Env):
    """Two of four doors are locked, others at every step; a locked one raises an error."""

    observation_space = spaces.Box(-1, 1, (2, 2), np.float32)

    def __init__(self, actions):
        self.action_space = actions

    def _draw(self):
        self.allowed = np.array(self.np_random.permutation([1, 1, 0, 0]), bool)
        return self.np_random.uniform(-1, 1, (2, 2)).astype(np.float32)

    def action_masks(self):
        return self.allowed

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 5
        return self._draw(), {}

    def step(self, action):
        if not self.allowed[action]:
            raise RuntimeError(f"door {action} is locked")
        self.left -= 1
        return self._draw(), 1.0, self.left == 0, False, {}


def agent():
    network = nn.Linear(4, 4)
    with torch.no_grad():
        network.weight.copy_(torch.randn(4, 4, generator=torch.Generator().manual_seed(0)))
    value = lambda module, x: x.sum(1)  # noqa: E731
    return Agent.from_module(network, spaces.Discrete(4), value=value)


def test_forbidden_actions_are_never_taken_even_under_attack():
    made = lambda: ShowMask(Doors(spaces.Discrete(4)))  # noqa: E731
    victim = masked(agent(), (2, 2))
    environment = GymnasiumEnvironment(made, 3, 0, victim.sight, limit=9)
    assert environment.features == victim.features == 8
    mask = environment.attackable("full")
    assert mask.tolist() == [False] * 4 + [True] * 4
    ball = aajr.Ball("linf", 0.8, mask=mask)
    attack = aajr.ProjectedGradientAscent(ball, aajr.Divergence(victim.metric), steps=3)
    team = AttackedTeam(victim, attack, torch.Generator())
    record = play(environment, team)
    assert record.reward.sum() == 15, "an episode ended at a locked door"
    assert team.largest == pytest.approx(0.8)
    unmasked = GymnasiumEnvironment(lambda: Doors(spaces.Discrete(4)), 3, 0, limit=9)
    with pytest.raises(RuntimeError, match="is locked"):
        play(unmasked, AttackedTeam(agent(), None, torch.Generator()))


def test_outputs_and_values_are_the_agents_own_where_allowed():
    plain, shown = agent(), torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    allowed = torch.tensor([[1.0, 0.0, 0.0, 1.0]]).expand(3, 4)
    victim = masked(plain)
    found = victim(torch.cat([allowed, shown], 1))
    assert torch.equal(found[:, [0, 3]], plain(shown)[:, [0, 3]])
    assert bool((found[:, [1, 2]] == -torch.inf).all())
    slightly = victim(torch.cat([allowed + 0.4 * torch.tensor([-1.0, 1.0, 1.0, -1.0]), shown], 1))
    assert torch.equal(found, slightly)
    assert torch.equal(victim.value(torch.cat([allowed, shown], 1)), plain.value(shown))
    assert (victim.unit, victim.source) == (plain.unit, plain.source)
    gone = torch.zeros(1, 8)  # what an agent sees that has left the game
    assert torch.equal(victim(gone), plain(gone[:, 4:]))


def test_what_has_no_mask_is_refused():
    with pytest.raises(ValueError, match="no method action_masks"):
        ShowMask(gym.make("CartPole-v1"))
    continuous = Agent.from_module(nn.Linear(2, 1), spaces.Box(-1, 1, (1,)))
    with pytest.raises(ValueError, match="a DeterministicHead; a mask needs discrete actions"):
        masked(continuous)


@pytest.mark.parametrize("space", [spaces.Discrete(4), spaces.MultiDiscrete([3, 2])])
def test_maskable_ppo_acts_as_its_own_predict(space):
    contrib = pytest.importorskip("sb3_contrib")
    model = contrib.MaskablePPO("MlpPolicy", Doors(space), seed=0, device="cpu")
    with torch.no_grad():
        for weight in model.policy.parameters():
            weight += 0.5 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    source = np.random.default_rng(0)
    raw = source.uniform(-1, 1, (8, 2, 2)).astype(np.float32)
    count = spaces.flatdim(space)
    allowed = source.random((8, count)) < 0.6
    allowed[:, [0, -1]] = True  # one entry of each head
    expected, _ = model.predict(raw, action_masks=allowed, deterministic=True)
    victim = masked(Agent.from_sb3(model), (2, 2))
    shown = np.concatenate([allowed.astype(np.float32), raw.reshape(8, -1)], 1)
    found = victim.head.act(victim(victim.sight(shown))).numpy()
    np.testing.assert_array_equal(found.reshape(expected.shape), expected)
