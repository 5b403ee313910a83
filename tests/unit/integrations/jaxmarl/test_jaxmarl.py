"""JaxMARL's games in the arena against JaxMARL's own loop."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from aajr import Ball, UniformNoise
from aajr._seeds import derive
from aajr.arena.agents.agent import Agent
from aajr.arena.environments.episodes import AttackedTeam, contest, play
from aajr.arena.environments.pettingzoo import PettingZooEnvironment
from aajr.arena.spaces.heads import CategoricalHead

jaxmarl = pytest.importorskip("jaxmarl")
jax = pytest.importorskip("jax")

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
            actions = {name: int(chooser(len(x))(x).argmax()) for name, x in views.items()}
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
        idle = dict.fromkeys(TAG.agents, 0)
        _, state, _, done, _ = TAG.step(jax.random.PRNGKey(0), state, idle)
        length, over = length + 1, bool(done["__all__"])
    assert record.played.shape == (1, length)
    assert record.truncated.tolist() == [True]


def test_a_team_is_attacked():
    ball = Ball("linf", 0.5)
    team = AttackedTeam(chooser(16), UniformNoise(ball), torch.Generator().manual_seed(0))
    assert 0.4 < contest(tag(), team, "noise", 0.5).score.largest_perturbation <= 0.5 + 1e-6


def test_an_unknown_name_is_an_error():
    with pytest.raises(ValueError, match="environment='chess' is not in JaxMARL"):
        parallel_env("chess")


def test_agents_that_see_different_things_are_not_attacked_together():
    with pytest.raises(ValueError, match="different spaces"):
        PettingZooEnvironment(partial(parallel_env, TAG), 1, 0)
