"""Every adapter of the arena passes the contract of environments."""

from __future__ import annotations

import pytest
import torch
from torchrl.envs import GymEnv, SerialEnv, VmasEnv

from aajr.arena import GymnasiumEnvironment
from aajr.arena.agents.actors import Actor
from aajr.arena.environments.acting import WithActions
from aajr.arena.environments.pettingzoo import PettingZooEnvironment
from aajr.integrations.torchrl import TorchRLEnvironment
from aajr.integrations.vmas import VMASEnvironment
from aajr.testing.environments import EnvironmentContract
from tests.unit.arena.environments.test_pettingzoo import Fading

CHOOSING, ACTING = (
    Actor(size, (2,), generator=torch.Generator().manual_seed(seed))
    for seed, size in enumerate((4, 9))
)


def cart_pole():
    return GymEnv("CartPole-v1")


class TestGymnasium(EnvironmentContract):
    def make(self, episodes, seed):
        return GymnasiumEnvironment("CartPole-v1", episodes, seed, limit=12)


class TestActions(EnvironmentContract):
    def make(self, episodes, seed):
        cart = GymnasiumEnvironment("CartPole-v1", episodes, seed, limit=12)
        return WithActions(cart, CHOOSING)

    def agent(self, environment):
        return ACTING


class TestPettingZoo(EnvironmentContract):
    def make(self, episodes, seed):
        return PettingZooEnvironment(Fading, episodes, seed, limit=6)


class TestGymnax(EnvironmentContract):
    tolerance = 1e-6

    def make(self, episodes, seed):
        pytest.importorskip("gymnax")
        from aajr.integrations.gymnax import GymnaxEnvironment

        return GymnaxEnvironment("CartPole-v1", episodes, seed, limit=12)


class TestVMAS(EnvironmentContract):
    alone = False

    def make(self, episodes, seed):
        return VMASEnvironment("navigation", episodes, seed, 6)


class TestTorchRL(EnvironmentContract):
    def make(self, episodes, seed):
        return TorchRLEnvironment(cart_pole, episodes, seed, limit=12)


class TestTorchRLInBatches(EnvironmentContract):
    def make(self, episodes, seed):
        return TorchRLEnvironment(lambda: SerialEnv(2, cart_pole), episodes, seed, limit=12)


class TestTorchRLGroup(EnvironmentContract):
    def make(self, episodes, seed):
        def navigation():
            return VmasEnv("navigation", num_envs=2, max_steps=6)

        return TorchRLEnvironment(navigation, episodes, seed, ("agents", "observation"))
