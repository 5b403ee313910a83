"""What cannot be attacked is refused with the remedy."""

import importlib

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

import aajr
from aajr.integrations import sb3
from aajr.integrations.sb3 import RobustPPO, save_agent
from tests.unit.integrations.sb3.test_training import ACTIONS, BALL, PPO, VECTOR, Game, filled_ppo


def test_nan_observations_are_named():
    agent = filled_ppo(adversary=BALL)
    agent.rollout_buffer.observations[3] = np.nan
    with pytest.raises(ValueError, match=r"observations holds 3 NaN"):
        agent.train()
    assert "evaluate_actions" not in vars(agent.policy)  # SB3's method is back in place
    assert "get" not in vars(agent.rollout_buffer)


COUNTS = spaces.Box(0, 255, (8,), np.uint8)
REFUSED = {
    "dict": ("MultiInputPolicy", spaces.Dict({"a": VECTOR}), {}, "FlattenObservation"),
    "discrete": ("MlpPolicy", spaces.Discrete(4), {}, "FlattenObservation"),
    "counts": ("MlpPolicy", spaces.Box(0, 9, (3,), np.int64), {}, "DtypeObservation"),
    "gSDE": ("MlpPolicy", VECTOR, {"use_sde": True}, "use_sde=False"),
    "mixed": ("MlpPolicy", VECTOR, {"placement": "mixed"}, "placement='mixed'"),
    "weight": ("MlpPolicy", VECTOR, {"penalty_weight": -1.0}, "weight=-1.0"),
    "no attack": ("MlpPolicy", VECTOR, {"adversary": None, "penalty": aajr.AAJR()}, "adversary="),
}


@pytest.mark.filterwarnings("ignore:.*mini-batch size.*")
@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_attacked_is_refused_with_a_remedy(case):
    policy, observations, arguments, match = case
    arguments = {"adversary": BALL} | PPO | arguments
    with pytest.raises(ValueError, match=match):
        RobustPPO(policy, Game(observations, ACTIONS["box"]), **arguments)


def test_counts_train_behind_the_wrapper_that_the_error_names():
    with pytest.raises(ValueError, match=r"DtypeObservation\(env, np.float32\)"):
        RobustPPO("MlpPolicy", Game(COUNTS, ACTIONS["box"]), adversary=BALL, **PPO)
    env = gym.wrappers.DtypeObservation(Game(COUNTS, ACTIONS["box"]), np.float32)
    agent = RobustPPO("MlpPolicy", env, adversary=BALL, **PPO).learn(32)
    assert agent.logger.name_to_value["aajr/inner_gradient_norm_mean"] > 0


def test_recurrent_policies_are_refused(tmp_path):
    agent = RobustPPO("MlpPolicy", "CartPole-v1", **PPO)
    agent.policy.lstm_actor = torch.nn.LSTM(4, 4)
    agent.adversary = BALL
    with pytest.raises(ValueError, match=r"recurrent.*VecFrameStack"):
        agent.learn(32)
    with pytest.raises(ValueError, match=r"recurrent.*VecFrameStack"):
        save_agent(tmp_path, agent)


def test_flattened_dict_observations_train():
    game = gym.wrappers.FlattenObservation(
        Game(spaces.Dict({"a": VECTOR, "b": spaces.Discrete(2)}), ACTIONS["discrete"])
    )
    agent = RobustPPO("MlpPolicy", game, adversary=BALL, **PPO).learn(32)
    assert agent.logger.name_to_value["aajr/inner_gradient_norm_mean"] > 0


def test_another_version_of_sb3_is_named(monkeypatch):
    monkeypatch.setattr("aajr.integrations.hosts.version", lambda name: "2.10.1")
    with pytest.warns(UserWarning, match=r"stable-baselines3 2\.10\.1 is outside"):
        importlib.reload(sb3)
