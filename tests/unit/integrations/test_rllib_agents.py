"""RLlib's modules in the arena: their actions and gradients, and checkpoints that run nothing."""

from __future__ import annotations

import os
import pickle
import shutil

import numpy as np
import pytest
import torch
from gymnasium import spaces
from ray.rllib.algorithms.dqn.dqn_catalog import DQNCatalog
from ray.rllib.algorithms.dqn.torch.default_dqn_torch_rl_module import DefaultDQNTorchRLModule
from ray.rllib.algorithms.ppo.ppo_catalog import PPOCatalog
from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule
from ray.rllib.algorithms.sac.sac_catalog import SACCatalog
from ray.rllib.algorithms.sac.torch.default_sac_torch_rl_module import DefaultSACTorchRLModule
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.utils.filter import MeanStdFilter
from ray.rllib.utils.spaces.space_utils import unsquash_action

from aajr.arena import Agent
from aajr.arena.spaces.gymnasium import native_action

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
SEEN = spaces.Box(-5, 5, (3,), np.float32)
BOX = spaces.Box(np.float32([-2, -1]), np.float32([1, 3]))
FREE = spaces.Box(-np.inf, np.inf, (2,), np.float32)
SMALL = DefaultModelConfig(fcnet_hiddens=[8], fcnet_activation="relu")
HIDDEN = {"fcnet_hiddens": [8], "head_fcnet_hiddens": [8]}
TWIN = HIDDEN | {"twin_q": True, "head_fcnet_activation": "relu"}
DUELING = HIDDEN | {
    "double_q": True,
    "dueling": True,
    "num_atoms": 1,
    "std_init": 0.0,
    "epsilon": [(0, 1.0)],
}
MODULES = {
    "PPO": (DefaultPPOTorchRLModule, PPOCatalog, BOX, SMALL),
    "PPO, unbounded": (DefaultPPOTorchRLModule, PPOCatalog, FREE, SMALL),
    "PPO, free deviation": (
        DefaultPPOTorchRLModule,
        PPOCatalog,
        BOX,
        DefaultModelConfig(fcnet_hiddens=[8], free_log_std=True),
    ),
    "PPO, discrete": (DefaultPPOTorchRLModule, PPOCatalog, spaces.Discrete(3), SMALL),
    "PPO, multi": (DefaultPPOTorchRLModule, PPOCatalog, spaces.MultiDiscrete([2, 3]), SMALL),
    "SAC": (DefaultSACTorchRLModule, SACCatalog, BOX, TWIN),
    "DQN": (DefaultDQNTorchRLModule, DQNCatalog, spaces.Discrete(3), DUELING),
}


def built(kind, catalog, space, config):
    return RLModuleSpec(
        module_class=kind,
        observation_space=SEEN,
        action_space=space,
        model_config=config,
        catalog_class=catalog,
    ).build()


def module_of(name):
    module = built(*MODULES[name])
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in module.parameters():
            weight += 0.3 * torch.randn(weight.shape, generator=generator)
    return module


def points(rows=5):
    return torch.randn(rows, 3, generator=torch.Generator().manual_seed(1))


def host_actions(module, space):
    """Greedy actions as RLlib sends them to the environment."""
    out = module.forward_inference({Columns.OBS: points()})
    if Columns.ACTIONS in out:
        return out[Columns.ACTIONS].numpy()
    kind = module.get_inference_action_dist_cls()
    greedy = kind.from_logits(out[Columns.ACTION_DIST_INPUTS]).to_deterministic().sample()
    return np.stack([unsquash_action(action, space) for action in greedy.detach().numpy()])


def acted(agent, space):
    numbers = agent.head.act(agent(points())).numpy()
    return np.stack([native_action(space, row) for row in numbers])


@pytest.mark.parametrize("name", MODULES)
def test_actions_are_those_that_rllib_plays(tmp_path, name):
    module, space = module_of(name), MODULES[name][2]
    expected = host_actions(module, space)
    module.save_to_path(tmp_path)
    for source in (module, tmp_path):
        agent = Agent.from_rllib(source)
        np.testing.assert_allclose(acted(agent, space), expected, rtol=1e-6, atol=1e-6)
        assert agent.unit == "the input of RLlib's module, after all connectors"
        live = f"a live {type(module).__name__}"
        assert agent.source == (live if source is module else str(tmp_path))
    if "PPO" in name:
        values = module.compute_values({Columns.OBS: points()})
        torch.testing.assert_close(agent.value(points()), values)


def test_the_distribution_is_scaled_with_the_action():
    module = module_of("PPO")
    agent = Agent.from_rllib(module)
    mean, log_std = agent(points()).chunk(2, -1)
    logits = module.forward_inference({Columns.OBS: points()})[Columns.ACTION_DIST_INPUTS]
    own_mean, own_log_std = logits.chunk(2, -1)
    half = torch.tensor(BOX.high - BOX.low) / 2
    torch.testing.assert_close(mean, torch.tensor(BOX.low) + (own_mean + 1) * half)
    torch.testing.assert_close(log_std.exp(), own_log_std.exp() * half)
    plain = Agent.from_rllib(module, normalize_actions=False)
    torch.testing.assert_close(plain(points()), logits)


@pytest.mark.parametrize("name", ["PPO", "PPO, discrete", "SAC", "DQN"])
def test_gradients_are_those_of_rllib(name):
    module = module_of(name)
    agent = Agent.from_rllib(module, normalize_actions=False)

    def host(x):
        if name == "DQN":
            return module.compute_q_values({Columns.OBS: x})["qf_preds"]
        return module.forward_inference({Columns.OBS: x})[Columns.ACTION_DIST_INPUTS]

    jacobian = torch.autograd.functional.jacobian
    torch.testing.assert_close(jacobian(agent, points(3)), jacobian(host, points(3)))


@pytest.fixture
def checkpoint(tmp_path):
    """The layout of an algorithm's checkpoint, with one module."""
    module = module_of("PPO")
    module.save_to_path(tmp_path / "learner_group" / "learner" / "rl_module" / "mine")
    settings = {"normalize_actions": False}
    described = {"class": PPOCatalog, "ctor_args_and_kwargs": ([settings], {})}
    (tmp_path / "class_and_ctor_args.pkl").write_bytes(pickle.dumps(described))
    return tmp_path, module


def test_a_checkpoint_of_an_algorithm(checkpoint):
    path, module = checkpoint
    agent = Agent.from_rllib(path, module_id="mine")
    expected = Agent.from_rllib(module, normalize_actions=False)
    assert torch.equal(agent(points()), expected(points())), "normalize_actions is not read"
    scaled = Agent.from_rllib(path, module_id="mine", normalize_actions=True)
    assert torch.equal(scaled(points()), Agent.from_rllib(module)(points()))
    trusted = Agent.from_rllib(path, module_id="mine", trust=True)
    assert torch.equal(trusted(points()), agent(points()))
    with pytest.raises(ValueError, match=r"no module 'default_policy'.*\['mine'\]"):
        Agent.from_rllib(path)


def connector(path, name, state=None):
    piece = path / "env_runner" / "env_to_module_connector" / name
    piece.mkdir(parents=True)
    shutil.copy(path / "class_and_ctor_args.pkl", piece)
    if state is not None:
        (piece / "state.pkl").write_bytes(pickle.dumps(state))


def test_connectors_that_change_observations_are_named(checkpoint):
    path, _ = checkpoint
    connector(path, "FlattenObservations")
    Agent.from_rllib(path, module_id="mine")
    connector(path, "FrameStackingEnvToModule")
    with pytest.raises(ValueError, match=r"\['FrameStackingEnvToModule'\].*give sight="):
        Agent.from_rllib(path, module_id="mine")
    sight = lambda seen: torch.as_tensor(seen) / 2  # noqa: E731
    assert Agent.from_rllib(path, module_id="mine", sight=sight).sight is sight


@pytest.mark.parametrize("settings", [{}, {"clip": None}, {"demean": False}, {"destd": False}])
def test_observations_are_filtered_as_by_rllib(checkpoint, settings):
    path, _ = checkpoint
    host = MeanStdFilter((3,), **{"clip": 1.5} | settings)
    seen = np.random.default_rng(0).normal(1, 3, size=(20, 3)).astype(np.float32)
    for row in seen:
        host(row)
    state = {
        "shape": (3,),
        "de_mean_to_zero": host.demean,
        "de_std_to_one": host.destd,
        "clip_by_value": host.clip,
        "running_stats": [host.running_stats.to_state()],
    }
    connector(path, "MeanStdFilter", {None: state})
    agent = Agent.from_rllib(path, module_id="mine")
    expected = np.stack([host(row, update=False) for row in seen])
    np.testing.assert_allclose(agent.sight(seen).numpy(), expected, rtol=1e-6, atol=1e-6)
    assert agent.unit == "observations normalised by the checkpoint's own MeanStdFilter"
    with pytest.raises(ValueError, match=r"shape \(3,\), the environment shows \(4,\)"):
        agent.sight(np.zeros((1, 4), np.float32))


def test_damaged_statistics_are_named(checkpoint):
    path, _ = checkpoint
    connector(path, "MeanStdFilter", {"a": {}, "b": {}})
    with pytest.raises(ValueError, match="no statistics of one agent's array"):
        Agent.from_rllib(path, module_id="mine")


class Payload:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


class Own(DefaultPPOTorchRLModule):
    pass


def test_hostile_checkpoints_run_nothing(tmp_path):
    module_of("PPO").save_to_path(tmp_path / "agent")
    file = tmp_path / "agent" / "class_and_ctor_args.pkl"
    described = pickle.loads(file.read_bytes())
    for place in ("class", "ctor_args_and_kwargs", "model_config"):
        inner = dict(described)
        if place == "model_config":
            given = described["ctor_args_and_kwargs"][1] | {place: Payload(tmp_path / "marker")}
            inner["ctor_args_and_kwargs"] = ((), given)
        else:
            inner[place] = Payload(tmp_path / "marker")
        file.write_bytes(pickle.dumps(inner))
        with pytest.raises(ValueError, match=r"author|describes no module|model_config is a"):
            Agent.from_rllib(tmp_path / "agent")
    file.write_bytes(pickle.dumps(described))
    state = tmp_path / "agent" / "module_state.pkl"
    state.write_bytes(pickle.dumps({"a": Payload(tmp_path / "marker")}))
    with pytest.raises(ValueError, match="no array of numbers"):
        Agent.from_rllib(tmp_path / "agent")
    assert not (tmp_path / "marker").exists()


def test_own_classes_are_given(tmp_path):
    module = built(Own, *MODULES["PPO"][1:])
    module.save_to_path(tmp_path)
    with pytest.raises(ValueError, match=r"Own' is a class of the agent's author.*custom="):
        Agent.from_rllib(tmp_path)
    agent = Agent.from_rllib(tmp_path, custom=[Own])
    assert torch.equal(agent(points()), Agent.from_rllib(module)(points()))


def test_stateful_modules_are_refused():
    config = DefaultModelConfig(use_lstm=True, lstm_cell_size=4)
    with pytest.raises(ValueError, match="stateful"):
        Agent.from_rllib(built(DefaultPPOTorchRLModule, PPOCatalog, BOX, config))
