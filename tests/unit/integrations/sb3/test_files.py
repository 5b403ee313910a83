"""Agents saved without pickle, and read as maps to attack."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces
from safetensors.torch import load_file, save_file
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import VecNormalize

import aajr
from aajr.integrations.sb3 import RobustPPO, RobustSAC, RobustTD3, load_agent, save_agent
from aajr.integrations.sb3._description import _KEYS
from tests.unit.integrations.sb3.test_training import ACTIONS, BALL, VECTOR, Game

SHORT = {"n_steps": 32, "n_epochs": 1, "batch_size": 32, "device": "cpu", "seed": 0}
REPLAY = {"learning_starts": 20, "batch_size": 8, "buffer_size": 100, "device": "cpu", "seed": 0}
AGENTS = {
    "PPO": (PPO, SHORT | {"policy_kwargs": {"net_arch": [8], "activation_fn": torch.nn.ReLU}}, 32),
    "RobustPPO": (RobustPPO, SHORT | {"adversary": BALL}, 32),
    "PPO separate": (PPO, SHORT | {"policy_kwargs": {"share_features_extractor": False}}, 32),
    "SAC": (SAC, REPLAY, 24),
    "RobustSAC": (RobustSAC, REPLAY | {"adversary": BALL}, 24),
    "TD3": (TD3, REPLAY | {"policy_kwargs": {"n_critics": 3, "net_arch": [8, 8]}}, 24),
    "RobustTD3": (RobustTD3, REPLAY | {"adversary": BALL}, 24),
}


@pytest.mark.parametrize("case", AGENTS.values(), ids=AGENTS)
def test_the_loaded_policy_acts_and_values_as_sb3s_does(tmp_path, case):
    algorithm, arguments, steps = case
    env = VecNormalize(make_vec_env("Pendulum-v1", 2, seed=0), clip_obs=1.5)
    agent = algorithm("MlpPolicy", env, **arguments).learn(steps)
    loaded = load_agent(save_agent(tmp_path / "agent", agent))
    raw = np.random.default_rng(0).normal(size=(16, 3), scale=3).astype(np.float32)
    seen = loaded.normalise(raw)
    np.testing.assert_array_equal(seen.numpy(), env.normalize_obs(raw))
    assert float(seen.abs().max()) == 1.5
    expected, _ = agent.predict(seen.numpy(), deterministic=True)
    np.testing.assert_allclose(loaded.act(seen).numpy(), expected, rtol=1e-6, atol=1e-6)
    with torch.no_grad():
        if loaded.critic is None:
            values = agent.policy.predict_values(seen).flatten()
        else:
            scaled = torch.as_tensor(agent.policy.scale_action(expected))
            values = torch.cat(agent.critic(seen, scaled), 1).amin(1)
            torch.testing.assert_close(loaded.critic(seen, scaled), values)
        torch.testing.assert_close(loaded.value(seen), values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("space", ACTIONS.values(), ids=ACTIONS)
def test_every_action_space_survives(tmp_path, space):
    agent = PPO("MlpPolicy", Game(VECTOR, space), **SHORT)
    torch.nn.init.normal_(agent.policy.action_net.weight, std=5.0)
    loaded = load_agent(save_agent(tmp_path, agent))
    seen = loaded.normalise(np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32))
    expected, _ = agent.predict(seen.numpy(), deterministic=True)
    np.testing.assert_allclose(loaded.act(seen).numpy(), expected, rtol=1e-6)
    assert loaded.action_space == space
    assert len(np.unique(expected)) > 1


def test_a_loaded_agent_is_ready_to_attack(tmp_path):
    agent = RobustSAC("MlpPolicy", "Pendulum-v1", adversary=BALL, **REPLAY)
    loaded = load_agent(save_agent(tmp_path, agent))
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    attacks = (
        aajr.ProjectedGradientAscent(BALL, aajr.Divergence(loaded.metric)),
        aajr.ProjectedGradientAscent(BALL, aajr.Critic(loaded.critic, action=loaded.squashed)),
    )
    for attack in attacks:
        worst = attack(loaded.policy, x, torch.Generator().manual_seed(0)).worst
        assert not torch.equal(worst, x)
    value = aajr.ProjectedGradientAscent(BALL, aajr.LeastValue())
    attacked = value(
        lambda y: loaded.value(y).unsqueeze(1), x, torch.Generator().manual_seed(0)
    ).worst
    assert bool((loaded.value(attacked) < loaded.value(x)).all())
    assert not any(p.requires_grad for p in loaded.policy.parameters())
    assert loaded.action(loaded.policy(x.requires_grad_())).requires_grad


def test_the_description_records_epsilon_its_unit_and_the_versions(tmp_path):
    env = VecNormalize(make_vec_env("CartPole-v1"))
    agent = RobustPPO(
        "MlpPolicy", env, adversary=BALL, penalty=aajr.AAJR, penalty_weight=0.5, **SHORT
    )
    save_agent(tmp_path, agent)
    meta = json.loads((tmp_path / "agent.json").read_text())
    assert meta["robustness"] == agent.robustness == load_agent(tmp_path).robustness
    assert meta["robustness"]["epsilon"] == 0.1
    assert "standard deviation" in meta["robustness"]["epsilon_unit"]
    assert set(meta["versions"]) == {"aajr", "stable-baselines3", "gymnasium", "torch"}


def test_a_kill_while_saving_leaves_no_description(tmp_path, monkeypatch):
    def half(path, text, **_):
        with path.open("w") as file:
            file.write(text[: len(text) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(KeyboardInterrupt):
        save_agent(tmp_path, PPO("MlpPolicy", "CartPole-v1", **SHORT))
    assert not (tmp_path / "agent.json").exists()


def test_loading_leaves_the_global_random_source_alone(tmp_path):
    save_agent(tmp_path, PPO("MlpPolicy", "CartPole-v1", **SHORT))
    before = torch.random.get_rng_state()
    load_agent(tmp_path)
    assert torch.equal(torch.random.get_rng_state(), before)


class OwnExtractor(FlattenExtractor):
    """Code of the user's."""

    def __init__(self, observation_space, gain=1.0):
        super().__init__(observation_space)
        self.gain = gain

    def forward(self, observations):
        return self.gain * super().forward(observations)


class OwnPolicy(ActorCriticPolicy):
    """Code of the user's."""


OWN = {
    "features_extractor_class": OwnExtractor,
    "features_extractor_kwargs": {"gain": 3.0},
    "activation_fn": torch.nn.PReLU,
}


def test_classes_of_the_users_are_given_when_loading(tmp_path):
    agent = PPO(OwnPolicy, "Pendulum-v1", policy_kwargs=OWN, **SHORT)
    save_agent(tmp_path, agent)
    classes = (OwnPolicy, OwnExtractor, torch.nn.PReLU)
    for absent in classes:
        given = [one for one in classes if one is not absent]
        with pytest.raises(ValueError, match=rf"custom=\[{absent.__name__}\]"):
            load_agent(tmp_path, custom=given)
    loaded = load_agent(tmp_path, custom=classes)
    seen = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    expected, _ = agent.predict(seen.numpy(), deterministic=True)
    np.testing.assert_allclose(loaded.act(seen).numpy(), expected, rtol=1e-6)


def test_arguments_that_json_cannot_hold_are_not_saved(tmp_path):
    own = OWN | {"features_extractor_kwargs": {"gain": torch.ones(3)}}
    with pytest.raises(ValueError, match="give plain numbers, strings and lists"):
        save_agent(tmp_path / "agent", PPO("MlpPolicy", "Pendulum-v1", policy_kwargs=own, **SHORT))
    assert not (tmp_path / "agent").exists()


DISCRETE = {
    "A2C": (A2C, {"n_steps": 8, "device": "cpu", "seed": 0}),
    "DQN": (DQN, REPLAY | {"policy_kwargs": {"net_arch": [8]}}),
}


@pytest.mark.parametrize("case", DISCRETE.values(), ids=DISCRETE)
def test_a2c_and_dqn_act_and_value_as_sb3s_do(tmp_path, case):
    algorithm, arguments = case
    agent = algorithm("MlpPolicy", Game(VECTOR, ACTIONS["discrete"]), **arguments).learn(32)
    loaded = load_agent(save_agent(tmp_path, agent))
    seen = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    expected, _ = agent.predict(seen.numpy(), deterministic=True)
    np.testing.assert_array_equal(loaded.act(seen).numpy(), expected)
    with torch.no_grad():
        policy = agent.policy
        values = policy.q_net(seen).amax(1) if algorithm is DQN else policy.predict_values(seen)
    torch.testing.assert_close(loaded.value(seen), values.flatten())
    assert loaded.critic is None


def test_ddpg_is_saved_as_a_td3_of_one_critic(tmp_path):
    agent = DDPG("MlpPolicy", "Pendulum-v1", **REPLAY)
    loaded = load_agent(save_agent(tmp_path, agent))
    seen = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    expected, _ = agent.predict(seen.numpy(), deterministic=True)
    np.testing.assert_allclose(loaded.act(seen).numpy(), expected, rtol=1e-6)


def changed(path, **entries):
    file = path / "agent.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))


def whole(path, content):
    (path / "agent.json").write_text(json.dumps(content))


def poisoned(path, name):
    tensors = load_file(path / "agent.safetensors")
    tensors[name][0] = torch.nan
    save_file(tensors, path / "agent.safetensors")


DAMAGE = {
    "missing": (lambda path: (path / "agent.json").unlink(), "cannot be read"),
    "not json": (lambda path: (path / "agent.json").write_text("{"), "cannot be read"),
    "version": (lambda path: changed(path, format_version=1), "version 1, this aajr reads 2"),
    "algorithm": (lambda path: changed(path, algorithm="TRPO"), "algorithm='TRPO'"),
    "empty": (lambda path: whole(path, {}), "format version None"),
    "no entries": (lambda path: whole(path, {"format_version": 2}), "lacks the key 'algorithm'"),
    "no object": (lambda path: whole(path, [1]), "format version None"),
    "part": (
        lambda path: changed(path, action_space={"type": "Box"}),
        "is damaged: KeyError 'size'; save the agent again",
    ),
    "nan": (lambda path: poisoned(path, "policy.action_net.weight"), "NaN or infinite values in"),
    "weights": (lambda path: (path / "agent.safetensors").write_bytes(b"\x80"), "cannot be read"),
    "shape": (lambda path: changed(path, action_space={"type": "Discrete", "size": 5}), "not fit"),
    "space": (lambda path: changed(path, action_space={"type": "Text", "size": 3}), "'Text'"),
    "entries": (lambda path: changed(path, architecture=None), "architecture=None, a NoneType"),
    "steps": (
        lambda path: changed(path, preprocessing={"shape": [4], "steps": [{"type": "Normal"}]}),
        "damaged",
    ),
}


@pytest.mark.parametrize(("damage", "match"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_files_are_refused(tmp_path, damage, match):
    save_agent(tmp_path, PPO("MlpPolicy", "CartPole-v1", **SHORT))
    damage(tmp_path)
    with pytest.raises(ValueError, match=match):
        load_agent(tmp_path)


def test_every_missing_key_is_named_with_its_file_and_the_remedy(tmp_path):
    save_agent(tmp_path, PPO("MlpPolicy", "CartPole-v1", **SHORT))
    meta = json.loads((tmp_path / "agent.json").read_text())
    for key in _KEYS:
        whole(tmp_path, {name: value for name, value in meta.items() if name != key})
        with pytest.raises(ValueError, match=rf"agent.json lacks the key '{key}'; save the agent"):
            load_agent(tmp_path)


def test_the_box_of_actions_is_kept_exactly(tmp_path):
    low, high = np.float32([-0.1, -3]), np.float32([0.7, 11])
    agent = PPO("MlpPolicy", Game(VECTOR, spaces.Box(low, high)), **SHORT)
    loaded = load_agent(save_agent(tmp_path, agent))
    np.testing.assert_array_equal(loaded.action_space.low, low)
    np.testing.assert_array_equal(loaded.action_space.high, high)
