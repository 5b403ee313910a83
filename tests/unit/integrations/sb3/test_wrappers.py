"""The policy sees what the wrapped environment gives; losing the unit of ε is an error."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecEnvWrapper,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
)

import aajr
from aajr.integrations.sb3 import RobustPPO, RobustSAC, load_agent, save_agent
from aajr.integrations.sb3._preprocessing import preprocessing_of
from tests.unit.integrations.sb3.test_training import BALL

SHORT = {"n_steps": 16, "n_epochs": 1, "batch_size": 16, "device": "cpu", "seed": 0}
REPLAY = {"learning_starts": 4, "batch_size": 4, "buffer_size": 64, "device": "cpu", "seed": 0}
VECTOR = spaces.Box(-5, 5, (3,), np.float32)
IMAGE = spaces.Box(0, 255, (36, 36, 2), np.uint8)


class Short(gym.Env):
    """Random observations; a game has ``length`` steps."""

    action_space = spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, space, length):
        self.observation_space, self.length = space, length

    def _look(self):
        low, high = self.observation_space.low, self.observation_space.high
        drawn = self.np_random.uniform(low, high) * 0.5 + 1
        return drawn.astype(self.observation_space.dtype)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = self.length
        return self._look(), {}

    def step(self, action):
        self.left -= 1
        return self._look(), 1.0, self.left == 0, False, {}


def games(space=VECTOR):
    venv = DummyVecEnv([lambda n=n: Short(space, n) for n in (3, 5)])
    venv.seed(7)
    return venv


class Unknown(VecEnvWrapper):
    """A wrapper of the user's that doubles what is seen."""

    def reset(self):
        return 2 * self.venv.reset()

    def step_wait(self):
        observation, *rest = self.venv.step_wait()
        return 2 * observation, *rest


ORDERS = {
    "none": lambda e: e,
    "normalise": VecNormalize,
    "rewards only": lambda e: VecNormalize(e, norm_obs=False),
    "stack": lambda e: VecFrameStack(e, 3),
    "stack of normalised": lambda e: VecFrameStack(VecNormalize(e, clip_obs=1.5), 3),
    "normalised stack": lambda e: VecNormalize(VecFrameStack(e, 3), clip_obs=1.5),
    "monitored": lambda e: VecMonitor(VecFrameStack(VecMonitor(VecNormalize(e)), 2)),
    "twice": lambda e: VecNormalize(VecFrameStack(VecNormalize(e), 2)),
    "unknown inside": lambda e: VecFrameStack(VecNormalize(Unknown(e)), 2),
}
IMAGES = {
    "image": VecTransposeImage,
    "stacked, transposed": lambda e: VecTransposeImage(VecFrameStack(e, 2)),
    "transposed, stacked": lambda e: VecFrameStack(VecTransposeImage(e), 2),
}


def raw_of(wrap):
    return Unknown(games()) if wrap is ORDERS["unknown inside"] else games()


@pytest.mark.parametrize("wrap", ORDERS.values(), ids=ORDERS)
def test_the_loaded_agent_sees_what_the_environment_gives(tmp_path, wrap):
    wrapped, plain = wrap(games()), raw_of(wrap)
    agent = PPO("MlpPolicy", wrapped, **SHORT).learn(32)
    loaded = load_agent(save_agent(tmp_path, agent))
    agree(agent, loaded, wrap(games()), plain)


def agree(agent, loaded, wrapped, plain):
    for source, target in zip(normalisers(agent.get_env()), normalisers(wrapped), strict=True):
        target.obs_rms, target.training = source.obs_rms, False
    expected, observer = wrapped.reset(), loaded.observer()
    seen = observer.reset(plain.reset())
    for step in range(9):
        np.testing.assert_array_equal(seen.numpy(), expected.astype(np.float32), err_msg=str(step))
        action, _ = agent.predict(expected, deterministic=True)
        np.testing.assert_allclose(loaded.act(seen).numpy(), action, rtol=1e-5, atol=1e-6)
        expected, *_ = wrapped.step(action)
        observation, _, done, _ = plain.step(action)
        seen = observer.step(observation, done)


def normalisers(env):
    found = []
    while isinstance(env, VecEnvWrapper):
        found += [env] if isinstance(env, VecNormalize) and env.norm_obs else []
        env = env.venv
    return found


@pytest.mark.filterwarnings("ignore:.*mini-batch size.*")
@pytest.mark.parametrize("wrap", IMAGES.values(), ids=IMAGES)
def test_images_are_saved_and_seen_as_the_environment_gives_them(tmp_path, wrap):
    agent = PPO("CnnPolicy", wrap(games(IMAGE)), policy_kwargs=SMALL, **SHORT)
    loaded = load_agent(save_agent(tmp_path, agent))
    agree(agent, loaded, wrap(games(IMAGE)), games(IMAGE))


SMALL = {"features_extractor_kwargs": {"features_dim": 8}}


def test_stacks_of_raw_frames_are_normalised_frame_by_frame(tmp_path):
    agent = PPO("MlpPolicy", VecFrameStack(VecNormalize(games()), 2), **SHORT).learn(16)
    loaded = load_agent(save_agent(tmp_path, agent))
    frames = np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float32)
    (normaliser,) = normalisers(agent.get_env())
    expected = np.concatenate([normaliser.normalize_obs(frames[:, i]) for i in (0, 1)], -1)
    np.testing.assert_array_equal(loaded.normalise(frames).numpy(), expected)
    with pytest.raises(
        ValueError, match=r"give \[batch, 2, 3\], the newest frame last, or use obs"
    ):
        loaded.normalise(frames[:, 0])
    with pytest.raises(ValueError, match=r"give \[games, 3\]"):
        loaded.observer().reset(frames)


def test_what_cannot_be_read_in_the_chain_is_named():
    hidden = PPO("MlpPolicy", Unknown(VecNormalize(games())), **SHORT)
    with pytest.raises(ValueError, match="VecNormalize lies inside Unknown"):
        preprocessing_of(hidden)
    twice = PPO("MlpPolicy", VecFrameStack(VecFrameStack(games(), 2), 2), **SHORT)
    with pytest.raises(ValueError, match="stacks frames twice"):
        preprocessing_of(twice)


def test_lost_statistics_are_named_with_a_remedy_that_works(tmp_path):
    env = VecNormalize(games())
    agent = PPO("MlpPolicy", env, **SHORT).learn(32)
    agent.save(tmp_path / "zip")
    env.save(str(tmp_path / "statistics"))
    for arguments in ({}, {"env": games()}):
        alone = PPO.load(tmp_path / "zip", device="cpu", **arguments)
        with pytest.raises(ValueError, match=r"trained with VecNormalize.*VecNormalize.load"):
            save_agent(tmp_path / "agent", alone)
    restored = VecNormalize.load(str(tmp_path / "statistics"), games())
    raw = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    whole = PPO.load(tmp_path / "zip", env=restored, device="cpu")
    for remedied in (
        save_agent(tmp_path / "a", whole),
        save_agent(tmp_path / "b", alone, restored),
    ):
        seen = load_agent(remedied).normalise(raw)
        np.testing.assert_array_equal(seen.numpy(), env.normalize_obs(raw))


@pytest.mark.parametrize(("algorithm", "own"), [(RobustPPO, SHORT), (RobustSAC, REPLAY)])
def test_a_robust_agent_knows_its_unit_without_its_environment(tmp_path, algorithm, own):
    one = DummyVecEnv([lambda: Short(VECTOR, 3)])
    algorithm("MlpPolicy", VecNormalize(one), adversary=BALL, **own).learn(16).save(
        tmp_path / "zip"
    )
    alone = algorithm.load(tmp_path / "zip", device="cpu")
    assert "standard deviation" in alone.robustness["epsilon_unit"]
    with pytest.raises(ValueError, match="trained with VecNormalize"):
        save_agent(tmp_path / "agent", alone)


def test_agents_of_the_plain_unit_load_without_their_environment(tmp_path):
    one = DummyVecEnv([lambda: Short(VECTOR, 3)])
    PPO("MlpPolicy", one, **SHORT).learn(16).save(tmp_path / "on")
    save_agent(tmp_path / "agent", PPO.load(tmp_path / "on", device="cpu"))
    rewards = VecNormalize(one, norm_obs=False)
    PPO("MlpPolicy", rewards, **SHORT).learn(16).save(tmp_path / "rewards")
    alone = PPO.load(tmp_path / "rewards", device="cpu")
    assert load_agent(save_agent(tmp_path / "agent", alone, rewards)).normalisation is None


def test_off_policy_zips_do_not_tell_their_unit_and_are_warned_about(tmp_path):
    one = DummyVecEnv([lambda: Short(VECTOR, 3)])
    SAC("MlpPolicy", VecNormalize(one), **REPLAY).learn(8).save(tmp_path / "zip")
    alone = SAC.load(tmp_path / "zip", device="cpu")
    with pytest.warns(UserWarning, match=r"does not say whether .* VecNormalize.* give env="):
        save_agent(tmp_path / "agent", alone)


@pytest.mark.filterwarnings("ignore:.*mini-batch size.*")
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_an_image_has_one_budget_and_stays_in_its_range(norm):
    agent = RobustPPO(
        "CnnPolicy", games(IMAGE), adversary=aajr.Ball(norm, 3.0), policy_kwargs=SMALL, **SHORT
    ).learn(32)
    assert agent.robustness["epsilon_unit"] == "pixel level of 0 to 255"
    x = torch.rand(4, *agent.observation_space.shape, generator=torch.Generator().manual_seed(0))
    x = (255 * x).round()
    minimax, mapped = agent._prepared()
    moved = minimax.regularise(mapped, x).trajectory.worst - x
    order = 2 if norm == "l2" else torch.inf
    size = torch.linalg.vector_norm(moved.flatten(1), ord=order, dim=1)
    assert bool((size <= 3.0 + 1e-4).all())
    assert bool((size > 2.5).all())
    assert float((x + moved).min()) >= 0
    assert float((x + moved).max()) <= 255


def test_frames_in_two_dimensions_share_one_budget():
    space = spaces.Box(-5, 5, (4, 3), np.float32)
    agent = RobustPPO("MlpPolicy", games(space), adversary=aajr.Ball("l2", 0.5), **SHORT)
    x = torch.randn(4, 4, 3, generator=torch.Generator().manual_seed(0))
    minimax, mapped = agent._prepared()
    moved = minimax.regularise(mapped, x).trajectory.worst - x
    assert float(moved.flatten(1).norm(dim=1).max()) <= 0.5 + 1e-5
    own = aajr.Ball("l2", 0.5, event_dims=1)
    agent.adversary = own
    agent._prepared()
    assert agent.adversary.ball.event_dims == 1
