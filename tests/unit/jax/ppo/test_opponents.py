"""Learned adversaries: what a command does, what they play, and that they learn to hurt."""

from __future__ import annotations

from dataclasses import replace

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from gymnasium import spaces

from aajr import Ball
from aajr.arena import Agent
from aajr.integrations.jax_ppo import adversary_from
from aajr.jax.ppo import (
    Moments,
    Opponent,
    Player,
    PPOConfig,
    Ramp,
    init_learner,
    load_player,
    perturbed,
    train,
    train_attacker,
)
from aajr.jax.ppo._games import Games
from aajr.jax.ppo._networks import init_params
from aajr.jax.ppo._opponents import AttackedGames, DisturbedGames
from aajr.jax.ppo._play import Match

NAME = "Repeat-v0"
SMALL = PPOConfig(
    steps=256, environments=4, rollout=16, epochs=2, minibatches=2, hidden=(8,), segment=1
)
LEARNS = replace(
    SMALL, steps=40_960, environments=16, rollout=64, minibatches=8, epochs=10, hidden=(16,),
    segment=20, learning_rate=3e-3,
)  # fmt: skip


class Repeat(gymnasium.Env):
    """Repeat the number that is shown, 1 step in 8; the reward is -(a - o)², σ of o is 1."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = spaces.Box(-3.0, 3.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._show(), {}

    def _show(self):
        self.shown = self.np_random.normal()
        return np.array([self.shown, self.np_random.normal()])

    def step(self, action):
        reward = -float((action[0] - self.shown) ** 2)
        return self._show(), reward, False, False, {}


@pytest.fixture(autouse=True)
def _registered():
    gymnasium.register(NAME, Repeat, max_episode_steps=8)
    yield
    del gymnasium.registry[NAME]


def player(features: int = 2, actions: int = 1, seed: int = 0) -> Player:
    params = init_params(jax.random.key(seed), features, actions, (8,), 0.0)
    *inner, last = params["actor"]
    sharp = [*inner, {**last, "weight": 100 * last["weight"]}]
    g = np.random.default_rng(seed)
    moments = Moments(
        jnp.asarray(9.0), jnp.asarray(g.normal(size=features)), jnp.asarray(g.random(features) + 1)
    )
    return Player({**params, "actor": sharp}, moments)


def test_a_perturbation_is_a_clipped_share_of_the_radius():
    x = jnp.array([[1.0, 2.0]])
    found = perturbed(Opponent("sa_rl", 0.5), player(), x, jnp.array([[0.5, -7.0]]), 0.5)
    np.testing.assert_allclose(found, [[1.25, 1.5]])


@pytest.mark.parametrize("steps", [1, 7])
def test_a_direction_moves_the_mean_as_far_as_any_vertex(steps):
    agent, epsilon = player(3, 2), 1e-3
    g = np.random.default_rng(0)
    x, command = (jnp.asarray(g.normal(size=(5, n)).astype(np.float32)) for n in (3, 2))
    found = perturbed(Opponent("pa_ad", epsilon, steps=steps), agent, x, command, epsilon)
    assert float(jnp.abs(found - x).max()) <= epsilon * (1 + 1e-3)
    vertices = np.array(np.meshgrid(*[[-epsilon, epsilon]] * 3)).reshape(3, -1).T

    def gain(points):
        return ((agent.mean(points) - agent.mean(x)) * command).sum(-1)

    best = np.max([gain(x + vertex) for vertex in vertices.astype(np.float32)], 0)
    np.testing.assert_allclose(gain(found), best, rtol=0.02, atol=1e-6)


def test_the_adversary_plays_the_agents_loss():
    agent, opponent = player(), Opponent("sa_rl", 0.4)
    one, two = (Games(NAME, 4, seed=5) for _ in range(2))
    board = AttackedGames(one, agent, opponent, 0.4)
    assert board.high.tolist() == [1.0, 1.0]
    for _ in range(12):
        x = agent.moments.standard(two.observation)
        np.testing.assert_allclose(board.observation, x, rtol=1e-6)
        command = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)
        reward, ended, cut = board.step(command)
        moved = np.asarray(x) + 0.4 * np.clip(command, -1, 1)
        own, own_ended, own_cut = two.step(np.asarray(agent.mean(moved)))
        np.testing.assert_allclose(reward, -own, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(cut, own_cut)
        np.testing.assert_array_equal(ended, own_ended)


def test_the_agent_is_shown_what_the_adversary_chose():
    agent, adversary, opponent = player(), player(2, 2, seed=1), Opponent("sa_rl", 0.3)
    plain, shown = Games(NAME, 4, seed=2), Games(NAME, 4, seed=2)
    noise = np.random.default_rng(0).normal(size=(10, 4, 2)).astype(np.float32)
    board = DisturbedGames(shown, agent, adversary, opponent, 0.3, noise)
    for draw in noise[:9]:
        x = agent.moments.standard(plain.observation)
        command = adversary.mean(adversary.rows(x)) + np.exp(adversary.params["log_std"]) * draw
        expected = np.asarray(x) + 0.3 * np.clip(command, -1, 1)
        np.testing.assert_allclose(
            agent.moments.standard(board.observation), expected, rtol=1e-4, atol=1e-5
        )
        assert np.abs(expected - x).max() > 0.1
        action = np.ones((4, 1), np.float32)
        np.testing.assert_array_equal(board.step(action)[0], plain.step(action)[0])


@pytest.mark.parametrize("kind", ["sa_rl", "pa_ad"])
def test_an_attacker_learns_to_hurt(kind, tmp_path):
    def copies(epsilon: float) -> float:
        """The mean return against a trained attacker of an agent that copies what it sees."""
        place = tmp_path / f"{kind}_{epsilon}"
        attack = Opponent(kind, epsilon)
        return -train_attacker(NAME, copier(), place, attack, LEARNS, seed=1).log[-1]["return"]

    best = 8 * 0.5**2  # it is off by ε in each of 8 steps
    assert copies(0.01) > -0.1
    assert copies(0.5) == pytest.approx(-best, rel=0.15)


def copier() -> Player:
    """Shows its first feature as its action: tanh is nearly straight near 0."""
    layers = [
        {"weight": jnp.array([[1e-2], [0.0]]), "bias": jnp.zeros(1)},
        {"weight": jnp.array([[1e2]]), "bias": jnp.zeros(1)},
    ]
    params = {"actor": layers, "critic": layers, "log_std": jnp.zeros(1)}
    return Player(params, Moments(jnp.asarray(1.0), jnp.zeros(2), jnp.ones(2)))


@pytest.mark.parametrize("kind", ["sa_rl", "pa_ad"])
def test_agent_and_adversary_take_turns(kind, tmp_path):
    opponent = Opponent(kind, 0.5, ramp=0.5)
    train(NAME, tmp_path / "whole", SMALL, opponent=opponent)

    def kill(line):
        if line["steps"] == 3 * SMALL.rows:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(NAME, tmp_path / "two", SMALL, opponent=opponent, progress=kill)
    train(NAME, tmp_path / "two", SMALL, opponent=opponent)
    for name in ("agent", "adversary"):
        one, two = (load_player(tmp_path / place, name) for place in ("whole", "two"))
        assert one.digest() == two.digest()
    with pytest.raises(ValueError, match="other settings"):
        train(NAME, tmp_path / "two", SMALL, opponent=replace(opponent, epsilon=0.4))


def test_an_agent_learns_to_stand_against_its_opponent(tmp_path):
    opponent = Opponent("sa_rl", 1.0)
    plain = train(NAME, tmp_path / "plain", LEARNS).learner.player
    trained = train(NAME, tmp_path / "atla", LEARNS, opponent=opponent).learner.player
    adversary = load_player(tmp_path / "atla", "adversary")
    g = np.random.default_rng(0)
    seen, noise = (g.normal(size=(4096, 2)).astype(np.float32) for _ in range(2))

    def error(agent: Player) -> float:
        x = agent.moments.standard(seen)
        shown = perturbed(opponent, agent, x, adversary.drawn(adversary.rows(x), noise), 1.0)
        return float(jnp.square(agent.mean(shown)[:, 0] - seen[:, 0]).mean())

    assert error(trained) < 0.7 * error(plain)


@pytest.mark.parametrize(("kind", "steps"), [("sa_rl", 1), ("pa_ad", 1), ("pa_ad", 4)])
def test_the_torch_adversary_is_the_same(kind, steps, tmp_path):
    train(NAME, tmp_path / "agent", SMALL)
    victim, opponent = load_player(tmp_path / "agent"), Opponent(kind, 0.3, steps=steps)
    adversary = train_attacker(NAME, victim, tmp_path / "attack", opponent, SMALL).learner.player
    agent = Agent.from_ppo(tmp_path / "agent")
    x = np.random.default_rng(0).normal(size=(32, 2)).astype(np.float32)
    expected = perturbed(
        opponent, victim, jnp.asarray(x), adversary.mean(adversary.rows(jnp.asarray(x))), 0.3
    )
    attack = adversary_from(tmp_path / "attack", Ball("linf", 0.3))
    found = attack(agent, torch.from_numpy(x), torch.Generator()).worst
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-6)
    assert np.abs(found.numpy() - x).max() > 1e-3
    if kind == "pa_ad":
        with pytest.raises(ValueError, match="corner=True"):
            adversary_from(tmp_path / "attack", Ball("linf", 0.3), corner=True)
        return
    edge = adversary_from(tmp_path / "attack", Ball("linf", 0.3), corner=True)
    moved = edge(agent, torch.from_numpy(x), torch.Generator()).worst.numpy() - x
    command = adversary.mean(adversary.rows(jnp.asarray(x)))
    np.testing.assert_allclose(moved, 0.3 * np.sign(command), atol=2e-6)


def test_a_run_without_an_adversary_is_named(tmp_path):
    train(NAME, tmp_path, SMALL)
    with pytest.raises(ValueError, match="holds no actor of an adversary"):
        adversary_from(tmp_path, Ball("linf", 0.1))
    with pytest.raises(ValueError, match="name='adversary'"):
        load_player(tmp_path, "adversary")
    with pytest.raises(FileNotFoundError):
        load_player(tmp_path / "nowhere")


def test_an_agent_of_another_environment_is_named(tmp_path):
    with pytest.raises(
        ValueError, match="agent sees 3 features and has 1 actions, Repeat-v0 has 2"
    ):
        train_attacker(NAME, player(3), tmp_path, Opponent("sa_rl", 0.1), SMALL)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "other"}, "kind='other'"),
        ({"epsilon": 0.0}, "epsilon=0.0"),
        ({"ramp": 2.0}, "ramp=2.0"),
        ({"steps": 0}, "steps=0"),
    ],
)
def test_bad_opponents_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Opponent(**{"kind": "sa_rl", "epsilon": 0.1, **settings})


def test_a_ramp_grows_and_stays():
    ramp = Ramp(0.2, 10)
    assert [float(ramp(jnp.asarray(u))) for u in (0, 5, 10, 50)] == pytest.approx(
        [0, 0.1, 0.2, 0.2]
    )
    opponent = Opponent("sa_rl", 0.2, ramp=0.5)
    assert [opponent.radius(share) for share in (0.0, 0.25, 0.5, 1.0)] == [0.0, 0.1, 0.2, 0.2]
    assert Opponent("sa_rl", 0.2).radius(0.0) == 0.2


def test_the_match_counts_the_learners_own_return():
    agent, games = player(), Games(NAME, SMALL.environments, seed=0)
    match = Match(games, SMALL)
    board = AttackedGames(games, agent, Opponent("sa_rl", 0.1), 0.1)
    rollout, _ = match.play(init_learner(SMALL, 2, 2, None, 0), board)
    assert match.mean_return > 0  # the agent's rewards are negative
    assert float(rollout.reward.sum()) > 0
