"""What the adapter adds to SB3's update, and how SB3's own facilities see it."""

from __future__ import annotations

import math
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import VecNormalize

import aajr
from aajr.integrations.sb3 import RobustPPO, RobustSAC, RobustTD3
from aajr.integrations.sb3._maps import policy_map
from aajr.integrations.sb3._robust import Attack

BALL = aajr.Ball("linf", 0.1)
PPO = {"n_steps": 32, "n_epochs": 2, "batch_size": 16, "seed": 0, "device": "cpu"}
REPLAY = {"learning_starts": 20, "batch_size": 8, "buffer_size": 200, "seed": 0, "device": "cpu"}


class Game(gym.Env):
    """Random observations and rewards in any spaces."""

    def __init__(self, observation_space, action_space):
        self.observation_space = observation_space
        self.action_space = action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        return self.observation_space.sample(), float(self.np_random.normal()), False, False, {}


VECTOR = spaces.Box(-1, 1, (3,), np.float32)
ACTIONS = {
    "box": spaces.Box(-2, 1, (2,), np.float32),
    "discrete": spaces.Discrete(3),
    "multidiscrete": spaces.MultiDiscrete([2, 3]),
    "multibinary": spaces.MultiBinary(3),
}


def gradients(module: torch.nn.Module) -> list[torch.Tensor]:
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in module.parameters()]


def recorded(monkeypatch, optimizer, module) -> list[list[torch.Tensor]]:
    """The gradients of every step of ``optimizer``, which then does nothing."""
    taken: list[list[torch.Tensor]] = []
    monkeypatch.setattr(optimizer, "step", lambda *_: taken.append(gradients(module)))
    return taken


def filled_ppo(**arguments) -> RobustPPO:
    settings = PPO | {"n_epochs": 1, "batch_size": 32, "max_grad_norm": math.inf}
    return RobustPPO("MlpPolicy", "Pendulum-v1", **settings, **arguments).learn(32)


@pytest.mark.parametrize("penalty", [aajr.AAJR(fraction=1.0, interval=1), aajr.StateAdversarial()])
def test_the_penalty_adds_its_own_gradient_to_ppo(monkeypatch, penalty):
    agent = filled_ppo(adversary=BALL, penalty=penalty, penalty_weight=0.0, placement="clean")
    before = agent._minimax.state_dict()
    observations = []
    evaluate = agent.policy.evaluate_actions
    found = {}
    for weight in (0.0, 3.0):
        with monkeypatch.context() as patch:
            taken = recorded(patch, agent.policy.optimizer, agent.policy)
            patch.setattr(
                type(agent.policy),
                "evaluate_actions",
                lambda policy, x, a: observations.append(x) or evaluate(x, a),
            )
            agent._minimax.load_state_dict(before)
            agent.penalty_weight = weight
            np.random.seed(0)
            agent.train()
        (found[weight],) = taken
    agent._minimax.load_state_dict(before)
    agent.policy.zero_grad()
    mapped = policy_map(agent.policy)
    agent._minimax.regularise(mapped, observations[-1]).total.backward()
    for plain, robust, ours in zip(found[0.0], found[3.0], gradients(agent.policy), strict=True):
        torch.testing.assert_close(robust - plain, ours, rtol=1e-4, atol=1e-6)
    assert any(bool(ours.abs().max() > 1e-6) for ours in gradients(agent.policy))


@pytest.mark.parametrize(
    ("algorithm", "own"), [(RobustSAC, {"ent_coef": 0.1}), (RobustTD3, {"policy_delay": 1})]
)
def test_the_penalty_adds_its_own_gradient_to_the_actor(monkeypatch, algorithm, own):
    arguments = REPLAY | own
    penalty = aajr.Frobenius()
    agent = algorithm(
        "MlpPolicy", "Pendulum-v1", adversary=BALL, penalty=penalty, placement="clean", **arguments
    ).learn(22)
    state = {name: value.clone() for name, value in agent.policy.state_dict().items()}
    minimax = agent._minimax.state_dict()
    found = {}
    for weight in (0.0, 3.0):
        agent.policy.load_state_dict(state)
        agent._minimax.load_state_dict(minimax)
        agent.penalty_weight = weight
        torch.manual_seed(0)
        np.random.seed(0)
        with monkeypatch.context() as patch:
            patch.setattr(agent.critic.optimizer, "step", lambda *_: None)
            taken = recorded(patch, agent.actor.optimizer, agent.actor)
            agent.train(1, 8)
        (found[weight],) = taken
    np.random.seed(0)
    x = agent.replay_buffer.sample(8).observations
    agent.policy.load_state_dict(state)
    agent._minimax.load_state_dict(minimax)
    agent.actor.zero_grad()
    agent._minimax.regularise(policy_map(agent.policy), x).total.backward()
    ours = gradients(agent.actor)
    for plain, robust, expected in zip(found[0.0], found[3.0], ours, strict=True):
        torch.testing.assert_close(robust - plain, expected, rtol=1e-3, atol=1e-6)
    assert any(bool(expected.abs().max() > 1e-4) for expected in ours)


def test_adversarial_ppo_takes_the_log_probability_at_the_worst_point_and_the_value_at_x():
    agent = filled_ppo(adversary=BALL)
    minimax, mapped = agent._prepared()
    attack = Attack(minimax, mapped, "adversarial")
    evaluate = agent.policy.evaluate_actions
    (_, _, _), (_, _, ours) = agent._replacements(attack)
    minibatch = next(agent.rollout_buffer.get(8))
    state = minimax.state_dict()
    values, log_prob, entropy = ours(minibatch.observations, minibatch.actions)
    minimax.load_state_dict(state)
    worst = minimax.regularise(mapped, minibatch.observations).trajectory.worst
    assert not torch.equal(worst, minibatch.observations)
    expected = evaluate(worst, minibatch.actions)
    torch.testing.assert_close(log_prob, expected[1], rtol=0, atol=0)
    torch.testing.assert_close(entropy, expected[2], rtol=0, atol=0)
    clean = evaluate(minibatch.observations, minibatch.actions)[0]
    torch.testing.assert_close(values, clean, rtol=0, atol=0)


@pytest.mark.parametrize("space", ACTIONS.values(), ids=ACTIONS)
def test_every_action_space_trains_in_its_own_metric(space):
    agent = RobustPPO(
        "MlpPolicy",
        Game(VECTOR, space),
        adversary=BALL,
        penalty=aajr.StateAdversarial,
        penalty_weight=0.1,
        **PPO,
    ).learn(32)
    assert (
        agent.adversary.objective.metric == agent.penalty.metric == policy_map(agent.policy).metric
    )
    assert agent.logger.name_to_value["aajr/penalty"] > 0


@pytest.mark.parametrize("space", ACTIONS.values(), ids=ACTIONS)
def test_the_metric_is_that_of_the_distribution_sb3_draws_from(space):
    policy = RobustPPO("MlpPolicy", Game(VECTOR, space), **PPO).policy
    torch.nn.init.normal_(policy.action_net.weight)
    mapped = policy_map(policy)
    x, y = torch.linspace(-1, 1, 24).reshape(2, 4, 3)
    first, second = (policy.get_distribution(z).distribution for z in (x, y))
    kl = torch.distributions.kl_divergence
    if isinstance(first, list):
        expected = sum(kl(p, q) for p, q in zip(first, second, strict=True))
    else:
        expected = kl(first, second).reshape(4, -1).sum(1)
    found = mapped.metric.divergence(mapped(x), mapped(y))
    torch.testing.assert_close(found, expected)


def test_the_objective_reads_the_action_and_the_advantage_of_ppo():
    seen = {}

    def objective(output, reference):
        seen.update(reference.data)
        return -reference.data["advantage"] * output[:, 0] * reference.data["action"][:, 0]

    attack = aajr.ProjectedGradientAscent(BALL, objective, steps=1)
    RobustPPO("MlpPolicy", "Pendulum-v1", adversary=attack, **PPO).learn(32)
    assert seen["action"].shape == (16, 1)
    assert float(seen["advantage"].mean()) == pytest.approx(0, abs=1e-5)
    assert float(seen["advantage"].std()) == pytest.approx(1, abs=1e-3)


class Watch(BaseCallback):
    """Ramps ε and notes what the logger holds when a rollout begins."""

    def __init__(self):
        super().__init__()
        self.logged = []

    def _on_step(self):
        return True

    def _on_rollout_start(self):
        self.logged.append(dict(self.logger.name_to_value))
        ball = self.model.adversary.ball.with_epsilon(0.01 * len(self.logged))
        self.model.adversary = replace(self.model.adversary, ball=ball)


def test_callbacks_and_loggers_see_the_keys_and_may_set_the_radius(tmp_path):
    watch = Watch()
    agent = RobustPPO(
        "MlpPolicy", "CartPole-v1", adversary=BALL, penalty=aajr.AAJR, penalty_weight=0.5, **PPO
    )
    agent.set_logger(configure(str(tmp_path), ["csv"]))
    agent.learn(96, callback=watch)
    agent.logger.close()
    agent.logger.close()
    keys = {"aajr/penalty", "aajr/weight", "aajr/epsilon", "aajr/inner_gradient_norm_max"}
    header = (tmp_path / "progress.csv").read_text().splitlines()[0].split(",")
    assert keys <= set(header)
    assert agent.logger.name_to_value["aajr/epsilon"] == pytest.approx(0.03)
    assert agent.logger.name_to_value["aajr/weight"] == 0.5
    assert agent.robustness["epsilon"] == pytest.approx(0.03)


def test_the_weight_may_be_a_schedule_or_a_constraint():
    weights = []
    schedule = lambda update: weights.append(update) or 0.1  # noqa: E731
    common = {"adversary": BALL, "penalty": aajr.AAJR, **PPO}
    RobustPPO("MlpPolicy", "CartPole-v1", penalty_weight=schedule, **common).learn(32)
    assert weights == [0, 1, 2, 3]
    dual = aajr.DualAscent(gamma=1e-3, rate=0.5)
    agent = RobustPPO("MlpPolicy", "CartPole-v1", penalty_weight=dual, **common).learn(32)
    assert dual.weight > 1e-3
    assert agent.logger.name_to_value["aajr/sensitivity_quantile"] > 0
    assert agent.robustness["penalty_weight"] == "DualAscent"


def test_robustness_says_the_unit_of_epsilon():
    plain = RobustPPO("MlpPolicy", "CartPole-v1", adversary=BALL, **PPO)
    normalised = RobustPPO(
        "MlpPolicy", VecNormalize(make_vec_env("CartPole-v1")), adversary=BALL, **PPO
    )
    still = VecNormalize(make_vec_env("CartPole-v1"), norm_obs=False)
    assert "as the policy sees it" in plain.robustness["epsilon_unit"]
    assert "standard deviation" in normalised.robustness["epsilon_unit"]
    unnormalised = RobustPPO("MlpPolicy", still, adversary=BALL, **PPO)
    assert unnormalised.robustness["epsilon_unit"] == plain.robustness["epsilon_unit"]


def grown(algorithm, arguments, steps):
    return algorithm(
        "MlpPolicy",
        VecNormalize(make_vec_env("Pendulum-v1", seed=0)),
        adversary=BALL,
        penalty=aajr.AAJR(direction="gradient"),
        penalty_weight=aajr.DualAscent(gamma=0.1),
        **arguments,
    ).learn(steps)


@pytest.mark.parametrize(
    ("algorithm", "arguments", "steps"),
    [(RobustPPO, PPO, 64), (RobustSAC, REPLAY, 30), (RobustTD3, REPLAY, 30)],
)
def test_training_goes_on_exactly_after_sb3s_save_and_load(tmp_path, algorithm, arguments, steps):
    agent = grown(algorithm, arguments, steps)
    agent.save(tmp_path / "agent")
    loaded = algorithm.load(tmp_path / "agent", env=agent.env, device="cpu")
    if algorithm is not RobustPPO:
        agent.save_replay_buffer(tmp_path / "buffer")
        loaded.load_replay_buffer(tmp_path / "buffer")
    else:
        loaded.rollout_buffer = agent.rollout_buffer
    assert loaded._minimax.update == agent._minimax.update > 0
    after = {}
    for name, one in (("agent", agent), ("loaded", loaded)):
        one.set_logger(agent.logger)
        torch.manual_seed(1)
        np.random.seed(1)
        one.train() if algorithm is RobustPPO else one.train(4, 8)
        after[name] = [*one.policy.state_dict().values(), torch.tensor(one.penalty_weight.weight)]
    assert all(torch.equal(a, b) for a, b in zip(after["agent"], after["loaded"], strict=True))


def test_load_takes_another_adversary_and_penalty(tmp_path):
    RobustPPO("MlpPolicy", "CartPole-v1", adversary=BALL, **PPO).save(tmp_path / "agent")
    loaded = RobustPPO.load(
        tmp_path / "agent", device="cpu", adversary=aajr.Ball("l2", 0.3), penalty=aajr.Frobenius
    )
    assert loaded.robustness["norm"] == "l2"
    assert loaded.robustness["penalty"] == "Frobenius"
    assert isinstance(loaded.penalty.metric, aajr.Categorical)
