"""SB3's agents in the arena: what they do, their gradients, and their unit, from every source."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.vec_env import VecNormalize

import aajr
from aajr.arena import Agent
from aajr.arena.environments.episodes import AttackedTeam
from aajr.arena.environments.gymnasium import GymnasiumEnvironment
from aajr.arena.spaces.gymnasium import native_action
from aajr.integrations.sb3 import RobustPPO, save_agent
from tests.unit.integrations.sb3.test_training import ACTIONS, BALL, VECTOR, Game
from tests.unit.integrations.sb3.test_wrappers import (
    IMAGE,
    IMAGES,
    ORDERS,
    SMALL,
    Short,
    games,
    normalisers,
    raw_of,
)

SMOOTH = {"use_sde": True}
SQUASHED = SMOOTH | {"policy_kwargs": {"squash_output": True}}
NARROW = {"policy_kwargs": {"net_arch": [8], "activation_fn": torch.nn.ELU}}
REPLAY = {"buffer_size": 10}
BOX = spaces.Box(np.float32([-2, -1]), np.float32([1, 3]))
TABLE = spaces.Box(-5, 5, (2, 3), np.float32)
AGENTS = {
    "PPO": (PPO, VECTOR, BOX, NARROW),
    "PPO, gSDE": (PPO, VECTOR, BOX, SMOOTH),
    "PPO, squashed gSDE": (PPO, VECTOR, BOX, SQUASHED),
    "PPO, table": (PPO, TABLE, BOX, {}),
    "RobustPPO": (RobustPPO, VECTOR, BOX, {"adversary": BALL}),
    "A2C": (A2C, VECTOR, ACTIONS["discrete"], {}),
    "multidiscrete": (PPO, VECTOR, ACTIONS["multidiscrete"], {}),
    "multibinary": (PPO, VECTOR, ACTIONS["multibinary"], {}),
    "image": (PPO, IMAGE, BOX, {"policy_kwargs": SMALL}),
    "SAC": (SAC, VECTOR, BOX, REPLAY),
    "SAC, gSDE": (SAC, VECTOR, BOX, REPLAY | SMOOTH),
    "TD3": (TD3, VECTOR, BOX, REPLAY),
    "DDPG": (DDPG, TABLE, BOX, REPLAY),
    "DQN": (DQN, VECTOR, ACTIONS["discrete"], REPLAY),
}
SILENT = pytest.mark.filterwarnings("ignore:.*does not say whether.*", "ignore:.*mini-batch size.*")


def model_of(algorithm, shown, action, settings, policy=None):
    policy = policy or ("CnnPolicy" if shown is IMAGE else "MlpPolicy")
    model = algorithm(policy, Game(shown, action), seed=0, device="cpu", **settings)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.policy.parameters():
            weight += 0.3 * torch.randn(weight.shape, generator=generator)
    return model


def observations(space, rows=8):
    space.seed(0)
    return np.stack([space.sample() for _ in range(rows)])


def acted(agent, space, raw):
    with torch.no_grad():
        numbers = agent.head.act(agent(agent.sight(raw))).numpy()
    return np.stack([native_action(space, row) for row in numbers])


@SILENT
@pytest.mark.parametrize("case", AGENTS.values(), ids=AGENTS)
def test_actions_are_those_of_sb3s_predict(tmp_path, case):
    model, raw = model_of(*case), observations(case[1])
    expected, _ = model.predict(raw, deterministic=True)
    model.save(tmp_path / "agent.zip")
    file = f"{tmp_path / 'agent.zip'}"
    sources = [(model, f"a live {type(model).__name__}"), (file, file), (tmp_path / "agent", file)]
    if not getattr(model, "use_sde", False):
        saved = save_agent(tmp_path / "directory", model)
        sources.append((saved, str(saved)))
    for source, name in sources:
        agent = Agent.from_sb3(source)
        np.testing.assert_array_equal(acted(agent, case[2], raw), expected)
        assert agent.value(agent.sight(raw)).shape == (8,)
        assert (agent.features, agent.differentiable, agent.source) == (raw[0].size, True, name)


def host_parameters(model, x):
    """The parameters of the action distribution, by SB3's own code."""
    policy = model.policy
    if isinstance(model, PPO | A2C):
        found = policy.get_distribution(x).distribution
        if isinstance(found, list):
            return torch.cat([part.logits for part in found], 1)
        if isinstance(found, torch.distributions.Normal):
            return torch.cat([found.loc, found.scale.log()], 1)
        return found.logits
    return policy.q_net(x)


@pytest.mark.parametrize("name", ["PPO", "PPO, gSDE", "A2C", "multidiscrete", "DQN"])
def test_gradients_are_those_of_sb3(name):
    case = AGENTS[name]
    model = model_of(*case)
    if model.policy.__dict__.get("use_sde"):
        model.policy.action_dist.learn_features = True  # else SB3 hides how the noise depends on x
    agent = Agent.from_sb3(model)
    x = torch.as_tensor(observations(case[1], 3))
    spread = torch.randn(agent.head.outputs, 4, generator=torch.Generator().manual_seed(1))

    def jacobian(map_):
        # normalised logits differ from the map's own by a constant in each head
        return torch.autograd.functional.jacobian(lambda x: centred(map_(x)) @ spread, x)

    def centred(output):
        sizes = getattr(agent.head, "sizes", None)
        if sizes is None:
            return output
        return torch.cat([p - p.mean(1, True) for p in torch.split(output, sizes, 1)], 1)

    torch.testing.assert_close(jacobian(agent), jacobian(lambda x: host_parameters(model, x)))


@pytest.mark.parametrize("name", ["SAC", "TD3"])
def test_gradients_of_the_mean_action_are_those_of_sb3(name):
    model = model_of(*AGENTS[name])
    agent = Agent.from_sb3(model)
    x = torch.as_tensor(observations(VECTOR, 3))
    low, size = (torch.tensor(n) for n in ([-2.0, -1.0], [3.0, 4.0]))

    def host(x):
        action = model.actor(x) if name == "TD3" else model.actor(x, deterministic=True)
        return low + 0.5 * (action + 1) * size

    expected = torch.autograd.functional.jacobian(host, x)
    found = torch.autograd.functional.jacobian(lambda x: agent.head.relaxed(agent(x)), x)
    torch.testing.assert_close(found, expected)


def test_a_live_model_is_left_as_it_is():
    model = model_of(*AGENTS["PPO, gSDE"])
    model.policy.set_training_mode(True)
    agent = Agent.from_sb3(model)
    assert model.policy.training
    assert all(weight.requires_grad for weight in model.policy.parameters())
    assert not any(weight.requires_grad for weight in agent.parameters())
    before = agent(torch.zeros(1, 3))
    with torch.no_grad():
        model.policy.action_net.bias += 1
    assert torch.equal(agent(torch.zeros(1, 3)), before)


def played(agent, raw, model, wrapped):
    """Host and agent side by side for some steps, each with its own memory."""
    for own, other in zip(normalisers(model.get_env()), normalisers(wrapped), strict=True):
        other.obs_rms, other.training = own.obs_rms, False
    seen, shown = wrapped.reset(), raw.reset()
    team = AttackedTeam(agent, None, torch.Generator())
    episodes, following = torch.arange(2), itertools.count(2)
    for _ in range(9):
        action, _ = model.predict(seen, deterministic=True)
        found = team(agent.sight(shown).unsqueeze(1), episodes)
        np.testing.assert_allclose(found[:, 0].numpy(), action, rtol=1e-5, atol=1e-6)
        seen, *_ = wrapped.step(action)
        shown, _, done, _ = raw.step(action)
        numbers = [
            next(following) if over else int(e) for e, over in zip(episodes, done, strict=True)
        ]
        episodes = torch.tensor(numbers)


@pytest.mark.parametrize("wrap", ORDERS.values(), ids=ORDERS)
def test_wrappers_act_as_in_the_host(wrap):
    model = PPO("MlpPolicy", wrap(games()), n_steps=16, batch_size=16, device="cpu").learn(32)
    played(Agent.from_sb3(model), raw_of(wrap), model, wrap(games()))


@pytest.mark.filterwarnings("ignore:.*mini-batch size.*")
@pytest.mark.parametrize("wrap", IMAGES.values(), ids=IMAGES)
def test_images_are_stacked_and_turned_as_in_the_host(wrap):
    model = PPO("CnnPolicy", wrap(games(IMAGE)), n_steps=16, policy_kwargs=SMALL, device="cpu")
    agent = Agent.from_sb3(model)
    assert agent.unit == "pixel levels, 0 to 255"
    raw = games(IMAGE).reset()
    # features have the order of the environment's own pixels
    np.testing.assert_array_equal(agent.sight(raw).numpy(), raw.reshape(2, -1))
    played(agent, games(IMAGE), model, wrap(games(IMAGE)))


@pytest.mark.parametrize("name", ["normalise", "stack of normalised", "normalised stack"])
def test_statistics_and_frames_of_a_zip(tmp_path, name):
    wrap, frames = ORDERS[name], None if name == "normalise" else 3
    model = PPO("MlpPolicy", wrap(games()), n_steps=16, batch_size=16, device="cpu").learn(32)
    (own,) = normalisers(model.get_env())
    model.save(tmp_path / "agent.zip")
    own.save(tmp_path / "elsewhere.pkl")
    with pytest.raises(ValueError, match=r"was trained with VecNormalize.*normalise="):
        Agent.from_sb3(tmp_path / "agent.zip", frames=frames)
    own.save(tmp_path / "vecnormalize.pkl")
    for statistics in (None, own, tmp_path / "elsewhere.pkl"):
        agent = Agent.from_sb3(tmp_path / "agent.zip", normalise=statistics, frames=frames)
        own_unit = name == "normalised stack"  # ε is that of a frame
        assert ("VecNormalize" in agent.unit) is not own_unit
        played(agent, games(), model, wrap(games()))


def test_frames_of_an_image_in_a_zip(tmp_path):
    wrap = IMAGES["stacked, transposed"]
    with pytest.warns(UserWarning, match="mini-batch"):
        model = PPO("CnnPolicy", wrap(games(IMAGE)), n_steps=7, policy_kwargs=SMALL, device="cpu")
    model.save(tmp_path / "agent.zip")
    agent = Agent.from_sb3(tmp_path / "agent.zip", frames=2)
    played(agent, games(IMAGE), model, wrap(games(IMAGE)))
    with pytest.raises(ValueError, match=r"\(36, 36, 2\).*\(2, 36, 36\).*channels_first"):
        agent.sight(np.zeros((1, 2, 36, 36), np.uint8))
    turned = Agent.from_sb3(tmp_path / "agent.zip", frames=2, channels_first=True)
    last = np.random.default_rng(0).integers(0, 255, (3, 36, 36, 2)).astype(np.uint8)
    first = np.moveaxis(last, -1, 1)
    torch.testing.assert_close(turned(turned.sight(first)), agent(agent.sight(last)))


def test_perturbed_frames_stay_perturbed():
    model = PPO("MlpPolicy", ORDERS["stack"](games()), n_steps=16, batch_size=16, device="cpu")
    agent = Agent.from_sb3(model)
    shown = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(0))
    shift = aajr.ProjectedGradientAscent(
        aajr.Ball("linf", 0.5), lambda output, reference: output.sum(1), steps=1, random_start=False
    )
    met = []
    team = AttackedTeam(agent, shift, torch.Generator(), choose=lambda o: met.append(o) or o[:, :2])
    memory = agent.begin(2)
    for frame in shown:
        team(frame.unsqueeze(1))
        x = frame.clone().requires_grad_()
        agent.recall(x, memory)[0].sum().backward()
        outputs, memory = agent.recall(frame + 0.5 * x.grad.sign(), memory)
        torch.testing.assert_close(met[-2], outputs)  # the last are the clean outputs


def test_the_environment_and_the_agent_must_fit():
    agent = Agent.from_sb3(model_of(*AGENTS["PPO"]))
    with pytest.raises(ValueError, match=r"shape \(3,\).*shows \(4,\)"):
        GymnasiumEnvironment("CartPole-v1", 1, 0, agent.sight).reset()


def test_an_attack_reaches_the_agent():
    agent = Agent.from_sb3(model_of(*AGENTS["SAC"]))
    environment = GymnasiumEnvironment(lambda: Short(VECTOR, 3), 2, 0, agent.sight, limit=3)
    ball = aajr.Ball("linf", 0.1)
    attack = aajr.ProjectedGradientAscent(ball, aajr.Divergence(agent.metric), steps=2)
    team = AttackedTeam(agent, attack, torch.Generator())
    state = environment.reset()
    team(state.observation, state.running)
    assert team.largest == pytest.approx(0.1)


def test_off_policy_zips_do_not_tell_their_unit(tmp_path):
    model = TD3("MlpPolicy", Game(VECTOR, BOX), learning_starts=4, buffer_size=9, device="cpu")
    model.learn(5).save(tmp_path / "agent.zip")
    with pytest.warns(UserWarning, match="does not say whether its TD3 was trained with"):
        Agent.from_sb3(tmp_path / "agent.zip")
    assert Agent.from_sb3(tmp_path / "agent.zip", normalise=False).unit.startswith("the env")


def test_statistics_of_rewards_alone_change_nothing(tmp_path):
    wrapped = VecNormalize(games(), norm_obs=False)
    model = PPO("MlpPolicy", wrapped, n_steps=8, batch_size=16, device="cpu").learn(16)
    model.save(tmp_path / "agent.zip")
    wrapped.save(tmp_path / "vecnormalize.pkl")
    assert Agent.from_sb3(tmp_path / "agent.zip").unit == "the environment's own units"
