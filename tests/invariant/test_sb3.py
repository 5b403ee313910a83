"""Where attack and penalty do nothing, training is SB3's own, bit for bit."""

from __future__ import annotations

import pytest
import torch
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

import aajr
from aajr.integrations.sb3 import RobustPPO, RobustSAC, RobustTD3

BALL = aajr.Ball("linf", 0.1)
INERT = {
    "no adversary": {},
    "weight 0": {"adversary": BALL, "penalty": aajr.AAJR, "placement": "clean"},
    "weight 0, Frobenius": {"adversary": BALL, "penalty": aajr.Frobenius, "placement": "clean"},
    "epsilon 0": {"adversary": aajr.Ball("linf", 0.0)},
    "epsilon 0, weight 0": {"adversary": aajr.Ball("l2", 0.0), "penalty": aajr.StateAdversarial},
}
SHORT = {"n_steps": 64, "n_epochs": 3, "batch_size": 32}
REPLAY = {"learning_starts": 40, "batch_size": 16, "buffer_size": 500}
HOSTS = {
    "PPO": (PPO, RobustPPO, "Pendulum-v1", SHORT, 256),
    "PPO discrete": (PPO, RobustPPO, "CartPole-v1", SHORT | {"ent_coef": 0.01}, 256),
    "PPO target_kl": (PPO, RobustPPO, "CartPole-v1", SHORT | {"target_kl": 1e-4}, 256),
    "PPO clip_range_vf": (PPO, RobustPPO, "Pendulum-v1", SHORT | {"clip_range_vf": 0.2}, 256),
    "SAC": (SAC, RobustSAC, "Pendulum-v1", REPLAY, 60),
    "TD3": (TD3, RobustTD3, "Pendulum-v1", REPLAY, 60),
}


def trained(algorithm, game, timesteps, *, normalised=True, **arguments) -> dict:
    env = make_vec_env(game, seed=0)
    env = VecNormalize(env) if normalised else env
    agent = algorithm("MlpPolicy", env, seed=0, device="cpu", **arguments).learn(timesteps)
    parameters = {
        f"{name}.{key}": value
        for name, state in agent.get_parameters().items()
        if "optimizer" not in name
        for key, value in state.items()
    }
    parameters["statistics"] = torch.as_tensor(env.obs_rms.mean) if normalised else torch.zeros(1)
    parameters["rng"] = torch.random.get_rng_state()
    return parameters


@pytest.fixture(scope="module")
def plain():
    cache = {}

    def run(name: str, normalised: bool = True) -> dict:
        if (name, normalised) not in cache:
            host, _, game, arguments, timesteps = HOSTS[name]
            cache[name, normalised] = trained(
                host, game, timesteps, normalised=normalised, **arguments
            )
        return cache[name, normalised]

    return run


@pytest.mark.parametrize("inert", INERT.values(), ids=INERT)
@pytest.mark.parametrize("name", HOSTS)
def test_the_parameters_are_those_of_plain_training(name, inert, plain):
    _, robust, game, arguments, timesteps = HOSTS[name]
    found = trained(robust, game, timesteps, **arguments, **inert)
    expected = plain(name)
    assert found.keys() == expected.keys()
    assert [key for key in expected if not torch.equal(found[key], expected[key])] == []


def test_also_without_vecnormalize(plain):
    _, robust, game, arguments, timesteps = HOSTS["PPO"]
    found = trained(robust, game, timesteps, normalised=False, **arguments, **INERT["weight 0"])
    expected = plain("PPO", False)
    assert [key for key in expected if not torch.equal(found[key], expected[key])] == []


@pytest.mark.parametrize("name", ["PPO", "PPO discrete", "SAC", "TD3"])
@pytest.mark.parametrize(
    "acting",
    [
        {"adversary": BALL},
        {
            "adversary": BALL,
            "penalty": aajr.StateAdversarial,
            "penalty_weight": 10.0,
            "placement": "clean",
        },
    ],
    ids=["attack", "penalty"],
)
def test_an_attack_and_a_penalty_change_the_training(name, acting, plain):
    _, robust, game, arguments, timesteps = HOSTS[name]
    found = trained(robust, game, timesteps, **arguments, **acting)
    expected = plain(name)
    assert any(not torch.equal(found[key], expected[key]) for key in expected)
    assert torch.equal(found["rng"], expected["rng"])  # the global random state is left alone
