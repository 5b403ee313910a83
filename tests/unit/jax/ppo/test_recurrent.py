"""Policies with an LSTM: their memory in play, in training, under attack and in torch."""

from __future__ import annotations

from dataclasses import replace

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from gymnasium import spaces

from aajr.arena import Agent
from aajr.jax import (
    AAJR,
    AttackOn,
    Ball,
    DiagonalGaussian,
    Divergence,
    Frobenius,
    LeastValue,
    Minimax,
    ProjectedGradientAscent,
)
from aajr.jax.ppo import (
    Opponent,
    PPOConfig,
    _attackers,
    _training,
    load_player,
    policy,
    train,
    train_attacker,
)
from aajr.jax.ppo._games import Games
from aajr.jax.ppo._learner import init_learner
from aajr.jax.ppo._networks import init_params, remember
from aajr.jax.ppo._opponents import AttackedGames, perturbed
from aajr.jax.ppo._play import Match
from aajr.jax.ppo._recurrent import sparing_memory, unrolled

NAME = "Recall-v0"
METRIC = DiagonalGaussian()
SMALL = PPOConfig(
    steps=256, environments=4, rollout=16, epochs=2, minibatches=2, hidden=(8,), memory=5,
    window=4, segment=1,
)  # fmt: skip
PARAMS = init_params(jax.random.key(0), 2, 1, (6,), -0.5, 1.0, memory=3)


class Recall(gymnasium.Env):
    """Repeat the sign that was shown at the start; five steps."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = spaces.Box(-1.5, 1.5, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.sign, self.left = self.np_random.choice([-1.0, 1.0]), 5
        return np.array([self.sign, 1.0]), {}

    def step(self, action):
        self.left -= 1
        return np.zeros(2), -float((action[0] - self.sign) ** 2), self.left == 0, False, {}


@pytest.fixture(autouse=True)
def _registered():
    gymnasium.register(NAME, Recall, max_episode_steps=8)
    yield
    del gymnasium.registry[NAME]


def rows(count: int = 7, seed: int = 1):
    return jax.random.normal(jax.random.key(seed), (count, 2 + 12))


def lstm_of(name: str) -> tuple[torch.nn.Linear, torch.nn.LSTM, torch.nn.Linear]:
    first, cell, last = (
        {kind: torch.tensor(np.array(value)) for kind, value in layer.items()}
        for layer in PARAMS[name]
    )
    lstm = torch.nn.LSTM(6, 3)
    lstm.load_state_dict(
        {
            "weight_ih_l0": cell["weight"].T,
            "weight_hh_l0": cell["recurrent"].T,
            "bias_ih_l0": cell["bias"],
            "bias_hh_l0": torch.zeros(12),
        }
    )
    layers = []
    for layer in (first, last):
        linear = torch.nn.Linear(*layer["weight"].shape)
        linear.load_state_dict({"weight": layer["weight"].T, "bias": layer["bias"]})
        layers.append(linear)
    return layers[0], lstm, layers[1]


def test_a_window_is_that_of_torch_with_its_gradient():
    """Means over a window, and their gradient through the time before."""
    x = jax.random.normal(jax.random.key(2), (4, 6, 2))
    start = jnp.zeros((4, 12))

    def last_mean(params):
        read = unrolled(params, x, start, jnp.ones((4, 6)))
        return policy(params, read)[:, -1, 0].sum()

    first, lstm, outer = lstm_of("actor")
    told, _ = lstm(torch.tanh(first(torch.tensor(np.array(x)).swapaxes(0, 1))))
    expected = outer(told[-1]).sum()
    expected.backward()
    found, gradient = jax.value_and_grad(last_mean)(PARAMS)
    assert float(found) == pytest.approx(expected.item(), abs=1e-5)
    for mine, theirs in (
        (gradient["actor"][0]["weight"], first.weight.grad),
        (gradient["actor"][1]["recurrent"], lstm.weight_hh_l0.grad),
        (gradient["actor"][1]["weight"], lstm.weight_ih_l0.grad),
    ):
        np.testing.assert_allclose(mine, theirs.T.numpy(), atol=1e-5)


def test_training_sees_the_memory_of_the_play():
    """Also where episodes end, and in the next rollout."""
    learner = init_learner(SMALL, 2, 1, None, 0)
    match = Match(Games(NAME, 4, 0), SMALL)
    first, learner = match.play(learner)
    second, learner = match.play(learner)
    assert (np.asarray(second.counts) == 0).any()
    np.testing.assert_array_equal(first.memory[-1], second.memory[0])
    for rollout in (first, second):
        x = learner.observations.standard(rollout.observation[:-1]).swapaxes(0, 1)
        read = unrolled(learner.params, x, rollout.memory[0], rollout.counts.T)
        np.testing.assert_allclose(
            read[..., 2:], rollout.memory[:-1].swapaxes(0, 1), rtol=1e-5, atol=1e-6
        )
        begun = np.asarray(rollout.counts[:-1]) == 0
        assert not np.asarray(rollout.memory[1:-1])[begun].any()


def test_attack_and_penalty_leave_the_memory_alone():
    """They are those of the policy with the memory as a constant of every row."""
    x, key = rows(), jax.random.key(3)
    ball = Ball("linf", jnp.asarray(0.3), scale=jnp.array([1.0, 2.0]), low=-1.0)
    search = ProjectedGradientAscent(ball, Divergence(METRIC), steps=3)
    frobenius = Frobenius(metric=METRIC, fraction=1.0, projections=64)
    robust = Minimax(AttackOn(lambda rows: rows[:, :1], search), frobenius)
    spared = sparing_memory(robust, 2, 12)
    assert spared.penalty.mask.tolist() == [True] * 2 + [False] * 12
    inner = spared.adversary.adversary.ball
    assert inner.scale.tolist() == [1.0, 2.0] + [1.0] * 12

    plain = replace(ball, scale=None, low=None)
    aligned = AAJR(metric=METRIC, fraction=1.0, estimator="forward_mode")
    for penalty in (aligned, frobenius):
        attack = sparing_memory(replace(search, ball=plain), 2, 12)
        trajectory = attack(lambda rows: policy(PARAMS, rows), x, key)
        np.testing.assert_array_equal(trajectory.worst[:, 2:], x[:, 2:])
        assert (trajectory.worst[:, :2] != x[:, :2]).any()
        found = sparing_memory(penalty, 2, 12).values(
            lambda rows: policy(PARAMS, rows), trajectory, key
        )
        for row in range(len(x)):
            exact = dense(trajectory, row, penalty is aligned)
            rough = 0.0 if penalty is aligned else 0.5
            assert float(found[row]) == pytest.approx(exact, rel=1e-3 + rough)


def dense(trajectory, row: int, aligned: bool) -> float:
    """‖J‖² in the metric, along the last gradient or whole, by the Jacobian in x alone."""
    point = trajectory.points[-2][row]
    mean = lambda x: policy(PARAMS, jnp.concatenate([x, point[2:]])[None])[0, :1]  # noqa: E731
    jacobian = jax.jacfwd(mean)(point[:2]) * jnp.exp(0.5)
    if not aligned:
        return float(jnp.square(jacobian).sum())
    g = trajectory.gradients[-1][row, :2]
    return float(jnp.square(jacobian @ g).sum() / jnp.square(g).sum())


def test_only_what_has_features_is_lengthened():
    ball = Ball("linf", 0.1, mask=jnp.array([True, False]))
    assert sparing_memory(ball, 2, 1).mask.tolist() == [True, False, False]
    assert sparing_memory(ball, 2, 0) is ball


def test_an_agent_learns_to_remember(tmp_path):
    """Without a memory the best return is -5, that of 0 throughout."""
    config = PPOConfig(
        steps=40_960, environments=16, rollout=64, minibatches=8, hidden=(16,), memory=16,
        window=8, segment=20, learning_rate=3e-3,
    )  # fmt: skip
    log = train(NAME, tmp_path, config).log
    assert log[0]["return"] < -5
    assert log[-1]["return"] > -2


def robust() -> Minimax:
    attack = ProjectedGradientAscent(Ball("linf", 0.1), Divergence(METRIC), steps=1)
    return Minimax(attack, AAJR(metric=METRIC, interval=1), weight=0.1, placement="mixed")


def along_value(value) -> Minimax:
    attack = ProjectedGradientAscent(Ball("linf", 0.1), LeastValue(), steps=1)
    return Minimax(AttackOn(value, attack), AAJR(metric=METRIC, interval=1), placement="clean")


@pytest.mark.parametrize(
    ("how", "opponent"),
    [(robust(), None), (along_value, None), (robust(), Opponent("sa_rl", 0.1))],
    ids=["penalty", "value", "opponent"],
)
def test_a_killed_run_goes_on_exactly(how, opponent, tmp_path):
    whole = train(NAME, tmp_path / "whole", SMALL, how, opponent=opponent)

    def killed(line):
        if line["steps"] == 128:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(NAME, tmp_path / "cut", SMALL, how, opponent=opponent, progress=killed)
    again = train(NAME, tmp_path / "cut", SMALL, how, opponent=opponent)
    for mine, theirs in zip(
        jax.tree.leaves(again.learner.params), jax.tree.leaves(whole.learner.params), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)


def test_the_agent_in_torch_acts_and_remembers_as_it_does(tmp_path):
    learner = train(NAME, tmp_path, SMALL).learner
    player, agent = load_player(tmp_path), Agent.from_ppo(tmp_path)
    assert player.digest() == learner.player.digest()
    memory, mine = agent.begin(3), player.begin(3)
    for step in range(4):
        shown = np.float32(np.random.default_rng(step).normal(size=(3, 2)))
        seen = player.rows(jnp.asarray(shown), mine)
        output, memory = agent.recall(agent.sight(shown), memory)
        np.testing.assert_allclose(output.numpy(), policy(player.params, seen), atol=1e-5)
        if step == 0:
            np.testing.assert_allclose(agent(agent.sight(shown)).numpy(), output.numpy())
        mine = player.remember(seen)
        np.testing.assert_allclose(memory.flatten(1).numpy(), mine[:, :10], atol=1e-5)


@pytest.mark.parametrize("module", [_attackers, _training])
def test_the_victim_remembers_from_one_rollout_to_the_next(module, monkeypatch, tmp_path):
    given, kept = [], []

    class Watched(AttackedGames):
        def __init__(self, games, agent, opponent, epsilon, memory=None):
            super().__init__(games, agent, opponent, epsilon, memory)
            given.append(self.memory)
            kept.append(self)

    monkeypatch.setattr(module, "AttackedGames", Watched)
    config, opponent = replace(SMALL, segment=4), Opponent("sa_rl", 0.1)
    if module is _training:
        train(NAME, tmp_path, config, opponent=opponent)
    else:
        agent = init_learner(SMALL, 2, 1, None, 0).player
        train_attacker(NAME, agent, tmp_path, opponent, replace(config, memory=0))
    assert len(given) == 4
    assert not given[0].any()
    for after, board in zip(given[1:], kept[:-1], strict=True):
        assert after is board.memory


@pytest.mark.parametrize("kind", ["sa_rl", "pa_ad"])
def test_an_adversary_attacks_the_agent_as_it_remembers(kind, tmp_path):
    """Its game is the agent's own, step by step, with the memory that the attacked inputs leave."""
    agent = init_learner(SMALL, 2, 1, None, 0).player
    opponent, games, own = Opponent(kind, 0.2), Games(NAME, 2, 0), Games(NAME, 2, 0)
    board, memory = AttackedGames(games, agent, opponent, 0.2), agent.begin(2)
    command = np.full((2, opponent.commands(2, 1)), 0.7, np.float32)
    over = np.zeros(2, bool)
    for _ in range(9):
        reward, *_ = board.step(command)
        seen = agent.rows(jnp.asarray(own.observation), memory)
        moved = perturbed(opponent, agent, seen, jnp.asarray(command), 0.2)
        np.testing.assert_array_equal(moved[:, 2:], memory)
        expected, ended, cut = own.step(np.asarray(agent.mean(moved)))
        np.testing.assert_allclose(reward, -expected, atol=1e-6)
        memory = remember(agent.params, moved) * ~over[:, None]
        over = ended | cut
        np.testing.assert_allclose(board.memory, memory, atol=1e-6)
    train(NAME, tmp_path / "agent", SMALL)
    plain, player = replace(SMALL, memory=0), load_player(tmp_path / "agent")
    run = train_attacker(NAME, player, tmp_path / "attacker", opponent, plain)
    assert len(run.log) == SMALL.updates


def test_bad_settings_are_refused(tmp_path):
    with pytest.raises(ValueError, match="window=5 does not divide rollout=16"):
        replace(SMALL, window=5)
    with pytest.raises(ValueError, match=r"minibatches=2 does not divide the 1 windows of 64 rows"):
        replace(SMALL, environments=1, rollout=64, window=64, steps=64)
    with pytest.raises(ValueError, match="memory=-1"):
        replace(SMALL, memory=-1)
    with pytest.raises(ValueError, match=r"opponent\.kind='pa_ad'.*use 'sa_rl'"):
        train(NAME, tmp_path, SMALL, opponent=Opponent("pa_ad", 0.1))
    train(NAME, tmp_path / "agent", SMALL)
    agent = load_player(tmp_path / "agent")
    with pytest.raises(ValueError, match=r"config\.memory=5: adversaries have no LSTM; give 0"):
        train_attacker(NAME, agent, tmp_path / "other", Opponent("sa_rl", 0.1), SMALL)
