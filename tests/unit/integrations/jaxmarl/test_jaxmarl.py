"""JaxMARL's games in the arena against JaxMARL's own loop."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from aajr import Ball, ProjectedGradientAscent, UniformNoise
from aajr._seeds import derive
from aajr.arena.agents.agent import Agent
from aajr.arena.agents.masks import masked
from aajr.arena.environments.episodes import AttackedTeam, contest, play
from aajr.arena.environments.pettingzoo import PettingZooEnvironment
from aajr.arena.spaces.heads import CategoricalHead

jaxmarl = pytest.importorskip("jaxmarl")
jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402
from jaxmarl.environments.multi_agent_env import MultiAgentEnv  # noqa: E402
from jaxmarl.environments.spaces import Box, Discrete  # noqa: E402

from aajr.integrations.jaxmarl import parallel_env  # noqa: E402

TAG = jaxmarl.make("MPE_simple_tag_v3")
CATCHERS = ["adversary_0", "adversary_1", "adversary_2"]


def chooser(features: int) -> Agent:
    network = nn.Linear(features, 5, bias=False).requires_grad_(False)
    source = torch.Generator().manual_seed(features)
    network.weight.copy_(torch.randn(5, features, generator=source))
    return Agent(network, CategoricalHead((5,)), features, "raw")


def tag(episodes: int = 2, limit: int | None = 6) -> PettingZooEnvironment:
    others = {"agent_0": chooser(14)}
    return PettingZooEnvironment(
        partial(parallel_env, TAG), episodes, 1, CATCHERS, others, limit=limit
    )


def test_every_game_is_the_one_that_jaxmarl_plays():
    record = play(tag(), AttackedTeam(chooser(16), None, torch.Generator()))
    for index in range(2):
        key, now = jax.random.split(jax.random.PRNGKey(derive(1, "start", index)))
        shown, state = TAG.reset(now)
        for step in range(6):
            views = {name: torch.as_tensor(np.array(shown[name])) for name in TAG.agents}
            for place, name in enumerate(CATCHERS):
                assert torch.equal(record.observation[index, step, place], views[name])
            actions = {name: chooser(len(x))(x).argmax().numpy() for name, x in views.items()}
            key, now = jax.random.split(key)
            shown, state, gained, _, _ = TAG.step(now, state, actions)
            expected = [float(gained[name]) for name in CATCHERS]
            assert record.reward[index, step].tolist() == expected
            assert record.action[index, step, :, 0].tolist() == [actions[n] for n in CATCHERS]


def test_the_time_limit_truncates():
    environment = tag(episodes=1, limit=None)
    assert environment.steps == TAG.max_steps
    record = play(environment, AttackedTeam(chooser(16), None, torch.Generator()))
    _, state = TAG.reset(jax.random.PRNGKey(0))
    length, over = 0, False
    while not over:
        idle = dict.fromkeys(TAG.agents, np.int64(0))
        _, state, _, done, _ = TAG.step(jax.random.PRNGKey(0), state, idle)
        length, over = length + 1, bool(done["__all__"])
    assert record.played.shape == (1, length)
    assert record.truncated.tolist() == [True]


def test_a_team_is_attacked():
    ball = Ball("linf", 0.5)
    team = AttackedTeam(chooser(16), UniformNoise(ball), torch.Generator().manual_seed(0))
    assert 0.4 < contest(tag(), team, "noise", 0.5).score.largest_perturbation <= 0.5 + 1e-6


class Doors(MultiAgentEnv):
    """Three agents see noise; a quarter of the doors is locked, others at every step.

    Agent i leaves after 3 + i steps. An open door earns 1, a locked one costs 9.
    """

    def __init__(self):
        super().__init__(num_agents=3)
        self.action_spaces = dict.fromkeys(self.agents, Discrete(4))
        self.observation_spaces = dict.fromkeys(self.agents, Box(-9.0, 9.0, (3,)))

    @property
    def max_steps(self):
        return 9

    def _look(self, key):
        return dict(zip(self.agents, jax.random.normal(key, (3, 3)), strict=True))

    @partial(jax.jit, static_argnums=(0,))
    def reset(self, key):
        return self._look(key), (key, jnp.zeros((), int))

    @partial(jax.jit, static_argnums=(0,))
    def get_avail_actions(self, state):
        locked = jax.random.randint(state[0], (3,), 0, 4)
        return {name: jnp.arange(4) != locked[place] for place, name in enumerate(self.agents)}

    def step_env(self, key, state, actions):
        allowed, time = self.get_avail_actions(state), state[1] + 1
        rewards = {name: 10.0 * allowed[name][actions[name]] - 9 for name in self.agents}
        done = {name: time >= 3 + place for place, name in enumerate(self.agents)}
        return self._look(key), (key, time), rewards, {**done, "__all__": time >= 5}, {}


DOORS = Doors()


def doors(masks: bool = True) -> PettingZooEnvironment:
    return PettingZooEnvironment(partial(parallel_env, DOORS, masks=masks), 4, 3)


def allowed_in(record, size: int) -> bool:
    """Whether every action was available, by the game's own loop with the same actions.

    Also checks that the mask is shown in the first ``size`` features.
    """
    found = []
    for index in range(len(record.played)):
        key, now = jax.random.split(jax.random.PRNGKey(derive(3, "start", index)))
        _, state = DOORS.reset(now)
        for step in range(int(record.played[index].sum())):
            told = DOORS.get_avail_actions(state)
            numbers = dict(zip(DOORS.agents, record.action[index, step, :, 0].numpy(), strict=True))
            for place, name in enumerate(DOORS.agents):
                if bool(record.alive[index, step, place]):
                    seen = record.observation[index, step, place, :size].tolist()
                    assert seen == told[name].tolist()[:size]
                    found.append(bool(told[name][numbers[name]]))
            key, now = jax.random.split(key)
            _, state, *_ = DOORS.step(now, state, numbers)
    assert len(found) == 4 * (3 + 4 + 5)
    return all(found)


def test_masks_are_shown_and_kept_under_any_attack():
    environment = doors()
    source = torch.Generator().manual_seed(0)
    network = nn.Linear(3, 4, bias=False).requires_grad_(False)
    network.weight.copy_(torch.randn(4, 3, generator=source))
    agent = masked(chooser_of(network))
    free = environment.attackable("full")
    assert free.tolist() == [False] * 4 + [True] * 3
    assert environment.feature_names[3:5] == ("action_mask=3", "observation[0]")
    ball = Ball("linf", 5.0, mask=free)
    for adversary in (None, UniformNoise(ball), ProjectedGradientAscent(ball, steps=2)):
        team = AttackedTeam(agent, adversary, torch.Generator().manual_seed(0))
        record = play(environment, team)
        assert allowed_in(record, 4)
        assert torch.equal(record.reward, record.alive.float())
        assert adversary is None or team.largest > 1
    blind = AttackedTeam(chooser_of(network), None, torch.Generator())
    assert not allowed_in(play(doors(masks=False), blind), 0)


def chooser_of(network: nn.Linear) -> Agent:
    return Agent(network, CategoricalHead((4,)), 3, "raw")


def test_masks_of_a_game_that_tells_none_are_an_error():
    with pytest.raises(ValueError, match="masks=True, but SimpleTagMPE has no get_avail_actions"):
        parallel_env(TAG, masks=True)


def test_an_unknown_name_is_an_error():
    with pytest.raises(ValueError, match="environment='chess' is not in JaxMARL"):
        parallel_env("chess")


def test_agents_that_see_different_things_are_not_attacked_together():
    with pytest.raises(ValueError, match="different spaces"):
        PettingZooEnvironment(partial(parallel_env, TAG), 1, 0)
