"""SB3's agents that read several entries, or choices, from the arena's flat features."""

from __future__ import annotations

import copy

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack, VecNormalize

import aajr
from aajr.arena import Agent
from aajr.arena.environments.episodes import AttackedTeam
from aajr.arena.environments.gymnasium import GymnasiumEnvironment
from aajr.arena.spaces.gymnasium import flattened
from tests.unit.integrations.sb3.test_arena_agents import BOX, acted

NUMBERS = spaces.Dict({"at": spaces.Box(-5, 5, (2, 2)), "speed": spaces.Box(-9, 9, (3,))})
MIXED = spaces.Dict(
    {
        "view": spaces.Box(0, 255, (36, 36, 3), np.uint8),
        "at": spaces.Box(-5, 5, (2,)),
        "door": spaces.Discrete(3),
        "rings": spaces.MultiDiscrete([2, 4]),
        "flags": spaces.MultiBinary(3),
    }
)
SMALL = {"features_extractor_kwargs": {"cnn_output_dim": 8}}
AGENTS = {
    "numbers": (PPO, NUMBERS, BOX, {}),
    "mixed": (PPO, MIXED, BOX, {"policy_kwargs": SMALL}),
    "mixed, SAC": (SAC, MIXED, BOX, {"policy_kwargs": SMALL, "buffer_size": 9}),
    "mixed, DQN": (DQN, MIXED, spaces.Discrete(3), {"policy_kwargs": SMALL, "buffer_size": 9}),
    "a choice": (PPO, spaces.Discrete(5), BOX, {}),
    "choices": (DQN, spaces.MultiDiscrete([3, 2]), spaces.Discrete(4), {"buffer_size": 9}),
    "bits": (PPO, spaces.MultiBinary(4), spaces.Discrete(4), {}),
}
pytestmark = pytest.mark.filterwarnings("ignore:.*does not say whether.*", "ignore:.*mini-batch.*")


class Shown(gym.Env):
    """Observations drawn from the space, for three steps."""

    def __init__(self, shown, actions):
        self.observation_space, self.action_space = shown, actions

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.left = 3
        return self.observation_space.sample(), {}

    def step(self, action):
        self.left -= 1
        return self.observation_space.sample(), 0.0, self.left == 0, False, {}


def stacked(drawn):
    if isinstance(drawn[0], dict):
        return {key: np.stack([one[key] for one in drawn]) for key in drawn[0]}
    return np.stack(drawn)


def drawn_from(space, rows=6):
    space.seed(0)
    return [space.sample() for _ in range(rows)]


def model_of(algorithm, shown, actions, settings, env=None):
    policy = "MultiInputPolicy" if isinstance(shown, spaces.Dict) else "MlpPolicy"
    env = Shown(shown, actions) if env is None else env
    model = algorithm(policy, env, seed=0, device="cpu", **copy.deepcopy(settings))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.policy.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=generator)
    return model


@pytest.mark.parametrize("case", AGENTS.values(), ids=AGENTS)
def test_actions_are_those_of_sb3s_predict(tmp_path, case):
    _, shown, actions, _ = case
    model, drawn = model_of(*case), drawn_from(shown)
    expected, _ = model.predict(stacked(drawn), deterministic=True)
    model.save(tmp_path / "agent.zip")
    flat = flattened(shown, drawn)
    for source in (model, tmp_path / "agent.zip"):
        agent = Agent.from_sb3(source)
        np.testing.assert_allclose(acted(agent, actions, flat), expected, rtol=1e-5, atol=1e-6)
        assert agent.value(agent.sight(flat)).shape == (6,)
        assert (agent.features, agent.unit) == (flat.shape[1], "the environment's own units")


def test_gradients_reach_the_numbers_of_every_entry():
    model = model_of(*AGENTS["mixed"])
    agent, drawn = Agent.from_sb3(model), drawn_from(MIXED, 2)
    x = agent.sight(flattened(MIXED, drawn)).requires_grad_()
    agent(x)[:, 0].sum().backward()
    entries = {k: torch.as_tensor(v).float() for k, v in stacked(drawn).items()}
    entries["view"] = entries["view"].movedim(-1, 1)
    inputs = [entries[name].requires_grad_() for name in ("at", "view")]
    entries["door"], entries["rings"] = (
        entries[name].detach().long() for name in ("door", "rings")
    )
    mean = model.policy.get_distribution(entries).distribution.loc
    at, view = torch.autograd.grad(mean[:, 0].sum(), inputs)
    torch.testing.assert_close(x.grad[:, :2], at)
    torch.testing.assert_close(x.grad[:, -36 * 36 * 3 :], view.movedim(1, -1).flatten(1))


@pytest.mark.parametrize("keys", [None, ["speed"]])
def test_statistics_of_the_entries(tmp_path, keys):
    env = VecNormalize(DummyVecEnv([lambda: Shown(NUMBERS, BOX)]), norm_obs_keys=keys, clip_obs=1.5)
    model = model_of(PPO, NUMBERS, BOX, {"n_steps": 8, "batch_size": 8}, env).learn(16)
    model.save(tmp_path / "agent.zip")
    env.save(tmp_path / "vecnormalize.pkl")
    drawn = drawn_from(NUMBERS)
    expected, _ = model.predict(env.normalize_obs(stacked(drawn)), deterministic=True)
    for source in (model, tmp_path / "agent.zip"):
        agent = Agent.from_sb3(source)
        found = acted(agent, BOX, flattened(NUMBERS, drawn))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        assert "VecNormalize" in agent.unit


def test_an_environment_of_parts_is_attacked_where_it_holds_numbers():
    agent = Agent.from_sb3(model_of(*AGENTS["mixed"]))
    environment = GymnasiumEnvironment(lambda: Shown(MIXED, BOX), 2, 0, agent.sight, limit=2)
    mask = environment.attackable("full")
    ball = aajr.Ball("linf", 0.5, mask=mask)
    attack = aajr.ProjectedGradientAscent(ball, aajr.Divergence(agent.metric), steps=2)
    state, team = environment.reset(), AttackedTeam(agent, attack, torch.Generator())
    state.step(team(state.observation, state.running))
    assert team.largest == pytest.approx(0.5)
    assert int((~mask).sum()) == 3 + 6 + 3


def test_what_does_not_fit_is_named(tmp_path):
    case = AGENTS["numbers"]
    model = model_of(*case)
    with pytest.raises(ValueError, match=r"reads 7 features.*shape \(4,\)"):
        Agent.from_sb3(model).sight(np.zeros((1, 4), np.float32))
    model.save(tmp_path / "agent.zip")
    with pytest.raises(ValueError, match="frames= and statistics of one array do not fit"):
        Agent.from_sb3(tmp_path / "agent.zip", frames=2)
    other = VecNormalize(DummyVecEnv([lambda: Shown(MIXED, BOX)]), norm_obs_keys=["at"])
    with pytest.raises(ValueError, match=r"statistics of shape \(2,\) for 'at'.*shows \(2, 2\)"):
        Agent.from_sb3(tmp_path / "agent.zip", normalise=other)
    stack = VecFrameStack(DummyVecEnv([lambda: Shown(NUMBERS, BOX)]), 2)
    with pytest.raises(ValueError, match="are stacked, which is not supported"):
        Agent.from_sb3(model_of(*case, stack))
    counts = spaces.Dict({"count": spaces.Box(0, 9, (2,), np.int64)})
    with pytest.raises(ValueError, match="counts that are no image"):
        Agent.from_sb3(model_of(PPO, counts, BOX, {}))
