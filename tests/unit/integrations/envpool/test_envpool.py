"""EnvPool in the arena: Gymnasium's own episodes through a double, EnvPool's where installed."""

from __future__ import annotations

import importlib.util
import sys
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn

from aajr._seeds import derive
from aajr.arena import Agent, GymnasiumEnvironment, examine
from aajr.arena.environments.episodes import AttackedTeam, play
from aajr.arena.spaces.gymnasium import head_of
from aajr.arena.spaces.heads import CategoricalHead
from aajr.cli._targets import environment_of
from aajr.geometry import Ball
from aajr.integrations.envpool import EnvPoolEnvironment
from aajr.testing.environments import EnvironmentContract, same_record

pytestmark = pytest.mark.filterwarnings("ignore:.*precision lowered by casting:UserWarning")
NAMES = ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1"]


class Pool:
    """EnvPool's interface over Gymnasium; it tells the environments in reverse order."""

    def __init__(self, name, seeds):
        self.single = [gymnasium.make(name) for _ in seeds]
        self.seeds, self.over, self.closed = seeds, [False] * len(seeds), False

    def _told(self, numbers):
        return {"env_id": np.array(numbers[::-1], np.int32)}

    def reset(self):
        shown = [one.reset(seed=s)[0] for one, s in zip(self.single, self.seeds, strict=True)]
        return np.stack(shown[::-1]), self._told(range(len(shown)))

    def step(self, action, env_id):
        assert env_id.dtype == np.int32
        found = []
        for number, chosen in zip(env_id.tolist(), action, strict=True):
            assert not self.over[number], "an ended environment would be reset by this step"
            shown, reward, ended, cut, _ = self.single[number].step(chosen)
            self.over[number] = ended or cut
            found.append((shown, np.float32(reward), ended, cut))
        parts = [np.stack(part) for part in zip(*found[::-1], strict=True)]
        return (*parts, self._told(env_id.tolist()))

    def close(self):
        self.closed = True


class Module(SimpleNamespace):
    """The part of EnvPool's module that is used."""

    def __init__(self):
        super().__init__(made=[])

    def list_all_envs(self):
        return [*NAMES, "Endless-v0", "Crowd-v0"]

    def make(self, name, env_type, num_envs, seed):
        assert env_type == "gymnasium"
        assert len(seed) == num_envs
        assert all(0 <= s < 2**31 for s in seed)
        self.made.append(Pool(name, seed))
        return self.made[-1]

    def make_spec(self, name, **settings):
        real = gymnasium.make(name if name in NAMES else "CartPole-v1")
        own = {"Endless-v0": 2**31 - 1}.get(name, real.spec.max_episode_steps)
        config = SimpleNamespace(
            max_num_players=8 if name == "Crowd-v0" else 1, max_episode_steps=own
        )
        return SimpleNamespace(
            config=config,
            observation_space=real.observation_space,
            action_space=real.action_space,
            reward_threshold=real.spec.reward_threshold,
        )


@pytest.fixture
def double(monkeypatch):
    """The double of EnvPool in its place."""
    monkeypatch.setitem(sys.modules, "envpool", Module())
    return sys.modules["envpool"]


def balancer():
    network = nn.Linear(4, 2, bias=False).requires_grad_(False)
    network.weight.copy_(torch.tensor([[0.0, 0.0, -1.0, 0.0], [0.0, 0.0, 1.0, 0.0]]))
    return Agent(network, CategoricalHead((2,)), 4, "raw", source="balancer")


def linear(environment):
    head = head_of(environment.action_space)
    network = nn.Linear(environment.features, head.outputs, bias=False).requires_grad_(False)
    network.weight.copy_(torch.arange(network.weight.numel()).reshape(network.weight.shape).sin())
    return Agent(network, head, environment.features, "raw")


def clean(agent):
    return AttackedTeam(agent, None, torch.Generator())


def seed_of_31_bits(episodes):
    """The first seed of whose episodes all seeds are in EnvPool's range, so that they stay."""
    small = (
        seed
        for seed in range(99)
        if all(derive(seed, "start", index) < 2**31 - 1 for index in range(episodes))
    )
    return next(small)


@pytest.mark.parametrize("name", NAMES)
def test_episodes_are_those_of_gymnasiums_adapter(double, name):
    seed = seed_of_31_bits(4)
    expected = GymnasiumEnvironment(name, 4, seed, limit=60, attack_choices=True)
    environment = EnvPoolEnvironment(name, 4, seed, limit=60, attack_choices=True)
    agent = balancer() if name == "CartPole-v1" else linear(expected)
    found, own = play(environment, clean(agent)), play(expected, clean(agent))
    same_record(found, own)
    assert (environment.steps, environment.solved_at) == (expected.steps, expected.solved_at)
    if name == "CartPole-v1":
        assert len(set(found.played.sum(1).tolist())) > 1
    assert all(pool.closed for pool in double.made)


def test_an_examination_runs_the_whole_suite(double):
    world = EnvPoolEnvironment("CartPole-v1", 1, 0, limit=30)
    report = examine(balancer(), world, Ball("linf", 0.2), "quick", episodes=3, epsilons=())
    assert report.environment["environment"] == "envpool:CartPole-v1"
    assert report.worst.mean_return.estimate <= report.clean.estimate == 30
    assert len(report.attacks) > 3


def test_the_command_takes_its_name(double):
    found = environment_of("envpool:CartPole-v1", 7)
    assert isinstance(found, EnvPoolEnvironment)
    assert (found.source, found.steps) == ("CartPole-v1", 7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Chess-v0", 1, 0), "source='Chess-v0' is not in EnvPool"),
        (("Crowd-v0", 1, 0), "several players"),
        (("CartPole-v1", 1, 0, {"num_envs": 3}), r"settings=\['num_envs'\] follow from episodes"),
        (("CartPole-v1", 1, 0, {}, torch.as_tensor, 0), "limit=0"),
    ],
)
def test_bad_input_is_named(double, arguments, message):
    with pytest.raises(ValueError, match=message):
        EnvPoolEnvironment(*arguments)


def test_an_endless_game_needs_a_limit(double):
    with pytest.raises(ValueError, match="no limit of time; give limit="):
        _ = EnvPoolEnvironment("Endless-v0", 1, 0).steps
    assert EnvPoolEnvironment("Endless-v0", 1, 0, limit=9).steps == 9


def test_without_envpool_the_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "envpool", None)
    with pytest.raises(ImportError, match=r"aajr\[envpool\]"):
        EnvPoolEnvironment("CartPole-v1", 1, 0)


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1"])
def test_every_episode_is_the_one_that_envpool_plays_alone(name):
    envpool = pytest.importorskip("envpool")
    environment = EnvPoolEnvironment(name, 4, 3, limit=60)
    agent = balancer() if name == "CartPole-v1" else linear(environment)
    record = play(environment, clean(agent))
    for index in range(4):
        seed = derive(3, "start", index) % (2**31 - 1)
        pool = envpool.make(name, env_type="gymnasium", num_envs=1, seed=[seed])
        shown, _ = pool.reset()
        for step in range(int(record.played[index].sum())):
            assert np.array_equal(record.observation[index, step, 0].numpy(), shown[0])
            action = agent.head.act(agent(torch.as_tensor(shown).float()))
            assert torch.equal(record.action[index, step], action)
            native = action[0].numpy() if name == "CartPole-v1" else action.numpy()
            shown, reward, ended, cut, _ = pool.step(native)
            assert float(record.reward[index, step, 0]) == pytest.approx(float(reward[0]))
        assert bool(record.terminated[index]) == bool(ended[0])
        assert bool(record.truncated[index]) == (bool(cut[0]) or step == 59)


@pytest.mark.skipif(importlib.util.find_spec("envpool") is None, reason="needs EnvPool")
class TestEnvPool(EnvironmentContract):
    def make(self, episodes, seed):
        return EnvPoolEnvironment("CartPole-v1", episodes, seed, limit=12)
