"""SB3's zips are read as data: hostile ones run nothing, damaged ones are named."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import pickle
import zipfile

import cloudpickle
import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import VecNormalize
from torch import nn

from aajr.arena import Agent
from aajr.integrations._inert import array_of, read_inert
from aajr.integrations._spaces import space_of
from aajr.integrations.sb3._zip import read_normalisation
from tests.unit.integrations.sb3.test_training import VECTOR, Game
from tests.unit.integrations.sb3.test_wrappers import games

BOX = spaces.Box(-1, 1, (2,), np.float32)


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def saved(tmp_path):
    model = PPO("MlpPolicy", Game(VECTOR, BOX), device="cpu")
    model.save(tmp_path / "agent.zip")
    return tmp_path / "agent.zip"


def rewritten(path, name=None, value=None, **members):
    """Replace an entry of the data, or whole members of the zip."""
    with zipfile.ZipFile(path) as archive:
        parts = {one: archive.read(one) for one in archive.namelist()}
    if name is not None:
        data = json.loads(parts["data"])
        content = base64.b64encode(cloudpickle.dumps(value)).decode()
        data[name] = {":type:": "<class 'dict'>", ":serialized:": content}
        parts["data"] = json.dumps(data).encode()
    parts |= {f"{key}.pth": content for key, content in members.items()}
    with zipfile.ZipFile(path, "w") as archive:
        for one, content in parts.items():
            archive.writestr(one, content)


@pytest.mark.parametrize("entry", ["lr_schedule", "clip_range", "ep_info_buffer"])
def test_a_hostile_entry_that_is_not_needed_is_never_read(saved, tmp_path, entry):
    rewritten(saved, entry, Payload(tmp_path / "marker"))
    assert Agent.from_sb3(saved).features == 3
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    "entry", ["policy_class", "policy_kwargs", "observation_space", "action_space"]
)
def test_a_hostile_entry_that_is_needed_is_refused(saved, tmp_path, entry):
    rewritten(saved, entry, Payload(tmp_path / "marker"))
    with pytest.raises(ValueError, match=entry):
        Agent.from_sb3(saved)
    assert not (tmp_path / "marker").exists()
    with contextlib.suppress(ValueError):
        Agent.from_sb3(saved, trust=True)
    assert (tmp_path / "marker").exists(), "the payload would have run"


def test_hostile_statistics_and_weights_are_refused(saved, tmp_path):
    (tmp_path / "vecnormalize.pkl").write_bytes(pickle.dumps(Payload(tmp_path / "marker")))
    with pytest.raises(ValueError, match="holds no VecNormalize"):
        Agent.from_sb3(saved)
    rewritten(saved, policy=pickle.dumps(Payload(tmp_path / "marker"), protocol=2))
    with pytest.raises(ValueError, match=r"no zip of SB3's save"):
        Agent.from_sb3(saved, normalise=False)
    assert not (tmp_path / "marker").exists()


class Squared(nn.Module):
    def forward(self, x):
        return x**2


class Own(FlattenExtractor):
    pass


class Policy(ActorCriticPolicy):
    pass


def test_own_classes_are_given_or_trusted(tmp_path):
    settings = {"activation_fn": Squared, "features_extractor_class": Own, "net_arch": [4]}
    model = PPO(Policy, Game(VECTOR, BOX), policy_kwargs=settings, device="cpu")
    model.save(tmp_path / "agent.zip")
    with pytest.raises(ValueError, match=r"Policy' is a class of the agent's author.*custom="):
        Agent.from_sb3(tmp_path / "agent.zip")
    raw = np.ones((1, 3), np.float32)
    expected, _ = model.predict(raw, deterministic=True)
    for given in ({"custom": [Policy, Own, Squared]}, {"trust": True}):
        agent = Agent.from_sb3(tmp_path / "agent.zip", **given)
        found = agent.head.act(agent(agent.sight(raw)))
        np.testing.assert_array_equal(found.numpy(), expected)


SPACES = [
    spaces.Box(np.float32([-1, -np.inf]), np.float32([2, np.inf])),
    spaces.Box(0, 255, (4, 4, 3), np.uint8),
    spaces.Discrete(3, start=2),
    spaces.MultiDiscrete([2, 3]),
    spaces.MultiBinary(3),
    spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Box(0, 1, (2,))}),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_spaces_are_read_from_any_protocol(space):
    space.seed(0)  # a random generator is stored too
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert space_of(read_inert(pickle.dumps(space, protocol))) == space


ARRAYS = [
    np.arange(6.0).reshape(2, 3),
    np.arange(24).reshape(2, 3, 4).transpose(2, 0, 1),
    np.array([True, False]),
    np.array(2.5, dtype=">f4"),
    np.zeros((2, 3), np.float32, order="F"),
    np.zeros((0, 3)),
    np.float64(3.5),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{a.shape}")
def test_arrays_are_read_from_any_protocol(array):
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        found = array_of(read_inert(pickle.dumps(array, protocol)))
        np.testing.assert_array_equal(found, array, strict=True)


@pytest.mark.parametrize("bad", [np.array([{}], object), np.array(["a"]), "a", {}, None])
def test_other_things_are_no_arrays(bad):
    with pytest.raises(ValueError, match="no array of numbers"):
        array_of(read_inert(pickle.dumps(bad)))


def test_functions_in_a_pickle_are_not_made():
    found = read_inert(cloudpickle.dumps({"rate": lambda t: 3 * t}))
    assert found["rate"].name.startswith("cloudpickle.")


@pytest.mark.parametrize("content", [b"", b"\x80\x04nonsense", pickle.dumps(1)[:-1]])
def test_damaged_pickles_are_an_error(content):
    with pytest.raises(ValueError, match="the pickle cannot be read"):
        read_inert(content)


def test_statistics_are_those_of_vec_normalize(tmp_path):
    env = VecNormalize(games(), clip_obs=1.5, epsilon=0.1)
    env.reset()
    env.step(np.zeros((2, 2), np.float32))
    env.save(tmp_path / "v.pkl")
    raw = np.random.default_rng(0).normal(size=(8, 3), scale=3).astype(np.float32)
    found = read_normalisation(tmp_path / "v.pkl")(torch.as_tensor(raw))
    np.testing.assert_array_equal(found.numpy(), env.normalize_obs(raw))


def test_statistics_of_another_agent_are_an_error(saved):
    other = VecNormalize(games(spaces.Box(-1, 1, (5,))))
    with pytest.raises(ValueError, match=r"shape \(5,\), the agent reads.*\(3,\)"):
        Agent.from_sb3(saved, normalise=other)
    with pytest.raises(ValueError, match="normalise=True"):
        Agent.from_sb3(saved, normalise=True)


def test_bad_zips_are_named(saved, tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.zip cannot be read"):
        Agent.from_sb3(tmp_path / "nowhere.zip")
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(ValueError, match=r"text\.zip is no zip of SB3's save"):
        Agent.from_sb3(tmp_path / "text.zip")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("data", "{}")
    with pytest.raises(ValueError, match=r"empty\.zip is no zip of SB3's save"):
        Agent.from_sb3(tmp_path / "empty.zip")
    with pytest.raises(ValueError, match="frames=2 does not divide the 3 entries"):
        Agent.from_sb3(saved, frames=2)
    weights = io.BytesIO()
    torch.save({"log_std": torch.full((2,), torch.nan)}, weights)
    rewritten(saved, policy=weights.getvalue())
    with pytest.raises(ValueError, match="NaN or infinite weights in log_std"):
        Agent.from_sb3(saved)
    weights = io.BytesIO()
    torch.save({"log_std": torch.zeros(2)}, weights)
    rewritten(saved, policy=weights.getvalue())
    with pytest.raises(ValueError, match=r"ActorCriticPolicy does not fit"):
        Agent.from_sb3(saved)


def test_other_observations_are_refused(tmp_path):
    shown = spaces.Box(0, 9, (4,), np.int64)
    PPO("MlpPolicy", Game(shown, BOX), device="cpu").save(tmp_path / "agent.zip")
    with pytest.raises(ValueError, match=r"holds int64, counts that are no image"):
        Agent.from_sb3(tmp_path / "agent.zip")


def test_the_zip_of_an_environment_by_name(tmp_path):
    model = PPO("MlpPolicy", gym.make("CartPole-v1"), device="cpu", seed=0)
    model.save(tmp_path / "agent")
    agent = Agent.from_sb3(tmp_path / "agent")
    raw = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
    found = agent.head.act(agent(agent.sight(raw)))[:, 0]
    np.testing.assert_array_equal(found.numpy(), model.predict(raw, deterministic=True)[0])
