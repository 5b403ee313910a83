"""Distributions, advantages, threats and collections, each against a second implementation."""

import pytest
import torch
from tensordict import TensorDict
from torch import nn
from torch.distributions import Categorical

from aajr.arena.agents.actors import TanhNetwork, mlp
from aajr.arena.spaces.distributions import CategoricalHeads
from aajr.arena.spaces.heads import greedy_heads, sample_heads
from aajr.arena.training.advantages import critic_input, rows_of
from aajr.arena.training.collection import FrozenTeam, LearningTeam, collect
from aajr.arena.training.ppo import PPOConfig
from aajr.hide_and_seek.game import HideAndSeekConfig, make_torchrl_env
from aajr.hide_and_seek.game.actors import team_actor
from aajr.hide_and_seek.game.threats import attackable_features

HEADS = (3, 2, 4)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_heads_are_a_product_of_categoricals():
    logits = torch.randn(7, 9, generator=generator(), dtype=torch.float64)
    parts = [Categorical(logits=part) for part in torch.split(logits, HEADS, -1)]
    ours = CategoricalHeads(logits, HEADS)
    action = torch.stack([torch.arange(7) % size for size in HEADS], -1)
    expected = sum(part.log_prob(action[:, i]) for i, part in enumerate(parts))
    assert torch.allclose(ours.log_prob(action), expected)
    assert torch.allclose(ours.entropy(), sum(part.entropy() for part in parts))
    assert torch.equal(ours.mode, greedy_heads(logits, HEADS))


def test_a_masked_action_adds_nothing_to_the_entropy():
    logits = torch.tensor([[0.0, 1.0, -torch.inf]], requires_grad=True)
    entropy = CategoricalHeads(logits, (3,)).entropy()
    assert torch.allclose(entropy, Categorical(logits=logits[:, :2]).entropy())
    (slope,) = torch.autograd.grad(entropy.sum(), logits)
    assert bool(slope.isfinite().all())


def test_sampling_has_the_right_frequencies():
    logits = torch.tensor([1.0, 0.0, -1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    drawn = sample_heads(logits.expand(40_000, -1), HEADS, generator())
    for index, part in enumerate(torch.split(logits, HEADS, -1)):
        frequency = torch.bincount(drawn[:, index]) / 40_000
        assert torch.allclose(frequency, part.softmax(-1), atol=0.015)


def test_sampling_reads_its_generator_only():
    logits = torch.zeros(50, 9)
    torch.manual_seed(0)
    first = sample_heads(logits, HEADS, generator(3))
    torch.manual_seed(1)
    assert torch.equal(first, sample_heads(logits, HEADS, generator(3)))


def test_threats_reach_what_they_say():
    game = HideAndSeekConfig()
    counts = {
        t: int(attackable_features(game, "hider", t).sum()) for t in ("full", "others", "actions")
    }
    assert counts == {"full": 60, "others": 23, "actions": 0}
    with pytest.raises(ValueError, match="threat='all' is unknown"):
        attackable_features(game, "hider", "all")


def test_critic_inputs():
    observation = torch.randn(2, 3, 4, 5)
    assert critic_input(observation, "independent") is observation
    team = critic_input(observation, "centralised")
    assert team.shape == (2, 3, 4, 25)
    assert torch.equal(team[1, 2, 3, :5], observation[1, 2, 3])
    assert torch.equal(team[1, 2, 3, 5:], observation[1, 2].flatten())


def test_advantages_against_a_plain_loop():
    envs, steps, agents, features = 2, 6, 3, 4
    g = generator()
    observation = torch.randn(envs, steps, agents, features, generator=g)
    reward = torch.randn(envs, steps, agents, 1, generator=g)
    done = torch.zeros(envs, steps, 1, dtype=torch.bool)
    done[:, -1] = True
    zeros = torch.zeros(envs, steps, agents, 26)
    team = {
        "observation": observation,
        "perceived": observation + 1,
        "shift": zeros,
        "action": torch.zeros(envs, steps, agents, 4, dtype=torch.long),
        "action_log_prob": torch.zeros(envs, steps, agents),
    }
    after = {"observation": observation, "reward": reward}
    data = TensorDict(
        {
            "hider": TensorDict(team, [envs, steps, agents]),
            "next": TensorDict(
                {"hider": TensorDict(after, [envs, steps, agents]), "done": done}, [envs, steps]
            ),
        },
        [envs, steps],
    )
    critic = nn.Linear(features, 1)
    ppo = PPOConfig(discount=0.9, trace=0.8)
    rows = rows_of(data, "hider", critic, ppo)
    value = critic(observation).detach()
    advantage = torch.zeros_like(reward)
    running = torch.zeros(envs, agents, 1)
    for t in reversed(range(steps)):
        following = value[:, t + 1] if t + 1 < steps else torch.zeros_like(running)
        delta = reward[:, t] + 0.9 * following - value[:, t]
        running = delta + 0.9 * 0.8 * running
        advantage[:, t] = running
    assert torch.allclose(rows["advantage"], advantage.flatten(0, 2), atol=1e-5)
    assert torch.allclose(rows["value_target"], (advantage + value).flatten(0, 2), atol=1e-5)
    assert torch.equal(rows["observation"], rows["state_observation"] + 1)


def test_a_frozen_league_shares_the_environments():
    first, second = (team_actor(60, generator=generator(i)) for i in (1, 2))
    with torch.no_grad():
        for actor, favourite in ((first, 2), (second, 5)):
            actor.network[-1].bias[favourite] = 50.0
    players = {
        "hider": LearningTeam(team_actor(60), generator()),
        "seeker": FrozenTeam([first, second], generator()),
    }
    game = HideAndSeekConfig(max_steps=4)
    data = collect(make_torchrl_env(game, 6), players, 4, seed=1)
    moves = data["seeker", "action"][..., 0]
    assert (moves[:3] == 2).all()
    assert (moves[3:] == 5).all()
    with pytest.raises(ValueError, match="actors is empty"):
        FrozenTeam([], generator())


def test_the_fast_tanh_is_tanh():
    network = mlp(3, 2, (8, 8), torch.Generator().manual_seed(0))
    fast, x = TanhNetwork(*network), torch.linspace(-20, 20, 300).reshape(100, 3)
    torch.testing.assert_close(fast(x), network(x), rtol=0, atol=1e-6)
    exact, x = network.double(), x.double()
    torch.testing.assert_close(TanhNetwork(*exact)(x), exact(x), rtol=0, atol=1e-15)
