"""Runs of PPO: they learn, go on exactly, stop at NaN, and become agents of the arena."""

from __future__ import annotations

import json

import gymnasium
import jax
import numpy as np
import pytest
import torch
from gymnasium import spaces

from aajr.arena import Agent
from aajr.jax import AAJR, Ball, DiagonalGaussian, Divergence, Minimax, ProjectedGradientAscent
from aajr.jax.ppo import PPOConfig, policy, train, value
from aajr.jax.ppo._games import Games

NAME = "Copy-v0"
METRIC = DiagonalGaussian()
SMALL = PPOConfig(
    steps=256, environments=4, rollout=16, epochs=2, minibatches=2, hidden=(8,), segment=1
)


class Copy(gymnasium.Env):
    """Repeat the number that is shown; steps 8, reward -(a - o)²; a number above 2 ends it."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = spaces.Box(-1.5, 1.5, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._show(), {}

    def _show(self):
        self.shown = self.np_random.normal()
        return np.array([self.shown, 7.0])

    def step(self, action):
        assert self.action_space.contains(action), action
        reward = -float((action[0] - self.shown) ** 2)
        return self._show(), reward, abs(self.shown) > 2, False, {}


@pytest.fixture(autouse=True)
def _registered():
    gymnasium.register(NAME, Copy, max_episode_steps=8)
    yield
    del gymnasium.registry[NAME]


def robust() -> Minimax:
    attack = ProjectedGradientAscent(Ball("linf", 0.1), Divergence(METRIC), steps=1)
    return Minimax(attack, AAJR(metric=METRIC, interval=1), weight=0.1)


def same(one, two) -> None:
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        is_key = jax.numpy.issubdtype(a.dtype, jax.dtypes.prng_key)
        pair = (jax.random.key_data(a), jax.random.key_data(b)) if is_key else (a, b)
        np.testing.assert_array_equal(*pair)


@pytest.mark.parametrize(
    ("how", "reached"), [(None, -2.5), (robust(), -4.5)], ids=["plain", "robust"]
)
def test_it_learns(how, reached, tmp_path):
    config = PPOConfig(
        steps=40_960, environments=16, rollout=64, minibatches=8, hidden=(16,), segment=20,
        learning_rate=3e-3,
    )  # fmt: skip
    log = train(NAME, tmp_path, config, how).log
    assert log[0]["return"] < -8
    assert log[-1]["return"] > reached


def test_a_killed_run_goes_on_exactly(tmp_path):
    whole = train(NAME, tmp_path / "whole", SMALL, robust())

    def kill(line):
        if line["steps"] == 3 * SMALL.rows:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(NAME, tmp_path / "two", SMALL, robust(), progress=kill)
    two = train(NAME, tmp_path / "two", SMALL, robust())
    assert [line["return"] for line in two.log] == [line["return"] for line in whole.log]
    assert [line["loss"] for line in two.log] == [line["loss"] for line in whole.log]
    same(two.learner, whole.learner)
    finished = train(NAME, tmp_path / "two", SMALL, robust())
    same(finished.learner, whole.learner)
    lines = (tmp_path / "two/log.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == two.log


def test_seeds_differ_and_the_global_generator_is_not_read(tmp_path):
    np.random.seed(1)
    one = train(NAME, tmp_path / "a", SMALL).learner
    np.random.seed(2)
    same(one, train(NAME, tmp_path / "b", SMALL).learner)
    other = train(NAME, tmp_path / "c", SMALL, seed=1).learner
    assert not np.array_equal(one.params["log_std"], other.params["log_std"])


def test_the_agent_is_the_policy(tmp_path):
    learner = train(NAME, tmp_path, SMALL, robust()).learner
    agent = Agent.from_ppo(tmp_path)
    seen = np.random.default_rng(0).normal(size=(64, 2)) * [3, 1] + [0, 7]
    x = learner.observations.standard(np.float32(seen))
    inside = agent.sight(seen)
    np.testing.assert_allclose(inside, x, rtol=1e-5, atol=1e-5)
    outputs = policy(learner.params, np.asarray(inside))
    np.testing.assert_allclose(agent(inside).detach(), outputs, rtol=1e-5, atol=1e-6)
    known = value(learner.params, np.asarray(inside))
    np.testing.assert_allclose(agent.value(inside).flatten(), known, rtol=1e-5, atol=1e-6)
    assert float(agent.head.act(torch.tensor([[9.0, 0.0]]))) == 1.5
    assert agent.features == 2


@pytest.mark.parametrize("ended", [True, False], ids=["ended", "cut"])
def test_a_rollout_knows_ends_cuts_and_beginnings(ended):
    games = Games(NAME, 8, seed=3)
    before, over = games.observation, np.zeros(8, bool)
    lengths, length = [], np.zeros(8, int)
    for _ in range(60):
        reward, end, cut = games.step(np.zeros((8, 1), np.float32))
        np.testing.assert_allclose(reward[~over], -(before[~over, 0] ** 2), rtol=1e-5)
        np.testing.assert_array_equal(reward[over], 0.0)
        assert not (end & over).any()
        np.testing.assert_array_equal(end[~over], np.abs(games.observation[~over, 0]) > 2)
        length = np.where(over, 0, length + 1)
        chosen = end if ended else cut
        lengths += length[chosen & (end != cut)].tolist()
        before, over = games.observation, end | cut
    assert lengths
    assert set(lengths) <= (set(range(1, 9)) if ended else {8})


def test_envpool_begins_anew_at_the_step_after_an_end():
    pytest.importorskip("envpool")
    games, over, ends = Games("envpool:Hopper-v5", 4, seed=0), np.zeros(4, bool), 0
    draws = np.random.default_rng(0)
    for _ in range(100):
        action = draws.uniform(-1, 1, (4, 3)).astype(np.float32)
        reward, ended, cut = games.step(action)
        np.testing.assert_array_equal(reward[over], 0.0)
        assert not (ended & over).any()
        assert (np.abs(games.observation[over, 5:]) < 0.01).all()  # it hardly moves at first
        assert (np.abs(games.observation[ended, 5:]).max(1, initial=0) > 0.1).all()
        over, ends = ended | cut, ends + int(ended.sum())
    assert ends > 4


def test_nan_stops_and_the_checkpoint_before_it_stays(tmp_path):
    with pytest.raises(FloatingPointError, match=r"update 1: .* became NaN .*checkpoint"):
        train(NAME, tmp_path, SMALL, weight_that_explodes())
    kept = np.load(tmp_path / "checkpoint.npz", allow_pickle=False)
    assert all(np.isfinite(kept[n]).all() for n in kept.files if n.startswith("agent/params"))
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 1


def weight_that_explodes() -> Minimax:
    attack = ProjectedGradientAscent(Ball("linf", 0.1), Divergence(METRIC), steps=1)
    penalty = AAJR(metric=METRIC, interval=1)
    return Minimax(attack, penalty, lambda update: jax.numpy.where(update < 4, 0.1, jax.numpy.nan))


def test_a_run_of_other_settings_is_refused(tmp_path):
    train(NAME, tmp_path, SMALL)
    for changed in ({"seed": 1}, {"robust": robust()}):
        with pytest.raises(ValueError, match="holds a run of other settings"):
            train(NAME, tmp_path, SMALL, **changed)


def test_a_damaged_checkpoint_is_named(tmp_path):
    train(NAME, tmp_path, SMALL)
    path = tmp_path / "checkpoint.npz"
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(ValueError, match="is damaged"):
        train(NAME, tmp_path, SMALL)
    with pytest.raises(ValueError, match="is damaged"):
        Agent.from_ppo(tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        Agent.from_ppo(tmp_path / "nowhere")


def test_a_checkpoint_that_holds_code_is_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "pwned"), "w"))

    np.savez(tmp_path / "checkpoint.npz", facts=np.array([Bomb()], dtype=object))
    with pytest.raises(ValueError, match="damaged"):
        Agent.from_ppo(tmp_path)
    with pytest.raises(ValueError, match="damaged"):
        train(NAME, tmp_path, SMALL)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Nothing-v0", "environment='Nothing-v0' cannot be made"),
        ("CartPole-v1", "its actions are Discrete"),
    ],
)
def test_unfit_environments_are_named(name, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        train(name, tmp_path, SMALL)


def test_bad_arguments_are_named(tmp_path):
    with pytest.raises(ValueError, match="seed=-1"):
        train(NAME, tmp_path, SMALL, seed=-1)
    with pytest.raises(ValueError, match="threads=0"):
        train(NAME, tmp_path, SMALL, threads=0)
    with pytest.raises(ValueError, match="robust"):
        train(NAME, tmp_path, SMALL, AAJR())
