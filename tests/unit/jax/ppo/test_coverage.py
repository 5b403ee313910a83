"""The reward for rare states is that of the arena in torch, and leaves the ends of episodes out."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from aajr.arena.attacks.learned._coverage import coverage
from aajr.jax.ppo import Opponent, PPOConfig, Rollout, load_player, train, train_attacker
from aajr.jax.ppo._coverage import rarity, with_coverage
from aajr.jax.ppo._learner import init_learner


def states(seed: int, rows: int) -> np.ndarray:
    g = np.random.default_rng(seed)
    found = np.float32(g.normal(size=(rows, 3)) * [1.0, 5.0, 0.1])
    found[:, 2] = 0.5  # a constant feature does not count
    return found


@pytest.mark.parametrize("rows", [5, 40])
def test_it_is_that_of_the_arena(rows):
    x = states(0, rows)
    expected = coverage(torch.from_numpy(x), torch.Generator())
    found = rarity(jnp.asarray(x), jnp.ones(rows))
    np.testing.assert_allclose(found, expected.numpy(), rtol=2e-3)


def test_states_that_do_not_count_change_nothing():
    x = np.concatenate([states(1, 30), 100 * states(2, 6)])
    counts = jnp.asarray([1.0] * 30 + [0.0] * 6)
    found = rarity(jnp.asarray(x), counts)
    np.testing.assert_allclose(found[:30], rarity(jnp.asarray(x[:30]), jnp.ones(30)), rtol=2e-3)
    assert not found[30:].any()


def rollout() -> Rollout:
    g = np.random.default_rng(3)
    ended = np.zeros((12, 2), np.float32)
    ended[5, 0] = 1
    counts = np.ones_like(ended)
    counts[6, 0] = 0
    reward = np.float32(g.normal(size=ended.shape)) * counts
    seen = states(4, 26).reshape(13, 2, 3)
    empty = np.zeros((13, 2, 0), np.float32)
    action = np.zeros((12, 2, 1), np.float32)
    return Rollout(*map(jnp.asarray, (seen, empty, action, reward, ended, 0 * ended, counts)))


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_the_reward_mixes_both_in_units_of_their_spread(share):
    played = rollout()
    found = with_coverage(played, share)
    counts, ended = np.asarray(played.counts), np.asarray(played.ended)
    alive = (counts * (1 - ended)).reshape(-1) > 0
    after = np.asarray(played.observation[1:]).reshape(24, 3)[alive]
    rare = coverage(torch.from_numpy(after), torch.Generator()).numpy()
    bonus = np.zeros(24)
    bonus[alive] = (rare - rare.mean()) / rare.std()
    own = np.asarray(played.reward)
    expected = (1 - share) * own / own[counts > 0].std() + share * bonus.reshape(12, 2)
    np.testing.assert_allclose(found.reward, expected, atol=5e-3)
    assert found.reward[6, 0] == 0
    np.testing.assert_array_equal(found.observation, played.observation)


def test_no_share_changes_nothing():
    played = rollout()
    assert with_coverage(played, 0.0) is played
    with pytest.raises(ValueError, match=r"coverage=1\.5"):
        Opponent("sa_rl", 0.1, coverage=1.5)
    assert replace(Opponent("sa_rl", 0.1), coverage=1.0).coverage == 1.0


@pytest.mark.parametrize("turns", [False, True], ids=["finished agent", "in turn"])
def test_it_changes_what_an_adversary_learns(turns, tmp_path):
    config = PPOConfig(32, 2, 16, epochs=1, minibatches=2, hidden=(4,), segment=1)
    agent, learned = init_learner(config, 3, 1, None, 0).player, []
    for share in (0.0, 1.0):
        place, opponent = tmp_path / str(share), Opponent("sa_rl", 0.1, coverage=share)
        if turns:
            train("Pendulum-v1", place, config, opponent=opponent)
        else:
            train_attacker("Pendulum-v1", agent, place, opponent, config)
        learned.append(load_player(place, "adversary").params["actor"][0]["weight"])
    assert not np.array_equal(*learned)
