"""BenchMARL: weight zero gives its own training, for every algorithm with an actor.

It has an environment of its own: ``make test-benchmarl``.
"""

import pickle
import subprocess
import sys
import types

import pytest
import torch
from benchmarl.algorithms import (
    IddpgConfig,
    IppoConfig,
    IsacConfig,
    MaddpgConfig,
    MappoConfig,
    MasacConfig,
    QmixConfig,
)
from benchmarl.environments import VmasTask, task_config_registry
from benchmarl.experiment import Experiment, ExperimentConfig
from benchmarl.models.gru import GruConfig
from benchmarl.models.mlp import MlpConfig
from tensordict import TensorDict
from tensordict.nn import TensorDictModule
from torchrl.data import Categorical, Composite
from torchrl.modules import MaskedCategorical, ProbabilisticActor

import aajr
from aajr.hide_and_seek.game.benchmarl_task import HideAndSeekTask
from aajr.integrations._adversaries import join_mask
from aajr.integrations.benchmarl import Robustness, robustify
from aajr.integrations.benchmarl._penalised import PenalisedActor, observation_key

ALL = (MappoConfig, IppoConfig, MasacConfig, IsacConfig, MaddpgConfig, IddpgConfig)
BALL = aajr.Ball("linf", 0.1)


def experiment(tmp_path, algorithm, *, task=None, model=None, continuous=True, shared=True):
    config = ExperimentConfig.get_from_yaml()
    config.max_n_iters = 2
    config.max_n_frames = None
    config.prefer_continuous_actions = continuous
    config.share_policy_params = shared
    config.on_policy_collected_frames_per_batch = config.off_policy_collected_frames_per_batch = 60
    config.on_policy_n_envs_per_worker = config.off_policy_n_envs_per_worker = 3
    config.on_policy_n_minibatch_iters = 2
    config.on_policy_minibatch_size = config.off_policy_train_batch_size = 20
    config.off_policy_n_optimizer_steps = 3
    config.evaluation, config.render, config.loggers, config.create_json = False, False, [], False
    config.save_folder = str(tmp_path)
    return Experiment(
        task=task or VmasTask.NAVIGATION.get_task({"max_steps": 20, "n_agents": 2}),
        algorithm_config=algorithm,
        model_config=model or mlp(),
        critic_model_config=mlp(),
        seed=0,
        config=config,
    )


def mlp():
    return MlpConfig(num_cells=[8], layer_class=torch.nn.Linear, activation_class=torch.nn.Tanh)


def trained(tmp_path, algorithm, **settings):
    run = experiment(tmp_path, algorithm, **settings)
    run.run()
    return {
        f"{group}.{name}": value.clone()
        for group, loss in run.losses.items()
        for name, value in loss.state_dict().items()
        if isinstance(value, torch.Tensor)
    }


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def off(ball=BALL, weight=0.0):
    return Robustness(ball, aajr.AAJR, weight=weight)


@pytest.mark.parametrize("config", ALL, ids=lambda config: config.__name__)
def test_weight_zero_is_benchmarls_own_training_bit_for_bit(config, tmp_path):
    host = trained(tmp_path, config.get_from_yaml())
    assert equal(host, trained(tmp_path, robustify(config.get_from_yaml(), off())))
    no_radius = off(aajr.Ball("linf", 0.0))
    assert equal(host, trained(tmp_path, robustify(config.get_from_yaml(), no_radius)))
    weighted = trained(tmp_path, robustify(config.get_from_yaml(), off(weight=1.0)))
    assert not equal(host, weighted)


@pytest.mark.parametrize("config", [MappoConfig, IsacConfig], ids=lambda config: config.__name__)
def test_discrete_actions_and_parameters_of_their_own(config, tmp_path):
    settings = {"continuous": False, "shared": False}
    host = trained(tmp_path, config.get_from_yaml(), **settings)
    same = trained(tmp_path, robustify(config.get_from_yaml(), off()), **settings)
    other = trained(tmp_path, robustify(config.get_from_yaml(), off(weight=1.0)), **settings)
    assert equal(host, same)
    assert not equal(host, other)


@pytest.mark.parametrize("config", ALL, ids=lambda config: config.__name__)
def test_what_is_added_is_our_penalty_on_the_same_minibatch(config, tmp_path):
    settings = Robustness(BALL, aajr.AAJR, weight=0.5, seed=7)
    run = experiment(tmp_path, robustify(config.get_from_yaml(), settings))
    loss = run.losses["agents"]
    (hook,) = loss._forward_hooks.values()
    rows = run.train_group_map["agents"]
    assert len(rows) == 2
    batch = run.test_env.rollout(5, policy=run.policy).unsqueeze(0)
    x = batch["agents", "observation"].flatten(0, -3)
    generator = torch.Generator().manual_seed(7)
    attack = aajr.ProjectedGradientAscent(BALL, aajr.Divergence(hook.metric))
    trajectory = attack(hook.map, x, generator)
    penalty = aajr.AAJR(metric=hook.metric)(hook.map, trajectory, generator, 0)
    values = hook(loss, (batch,), losses := _Losses(hook.key))
    assert values is losses
    torch.testing.assert_close(losses[hook.key], 1.0 + 0.5 * penalty)
    gradients = torch.autograd.grad(penalty, list(hook.map.parameters()), allow_unused=True)
    assert any(g is not None and g.abs().sum() > 0 for g in gradients)


class _Losses(dict):
    """The part of a TensorDict that the hook uses."""

    def __init__(self, key):
        super().__init__({key: torch.tensor(1.0)})

    def set(self, key, value):
        self[key] = value


def test_the_map_is_the_actors_distribution(tmp_path):
    run = experiment(tmp_path, robustify(MappoConfig.get_from_yaml(), off()))
    (hook,) = run.losses["agents"]._forward_hooks.values()
    batch = run.test_env.rollout(5, policy=run.policy)
    mean, log_scale = hook.map(batch["agents", "observation"]).chunk(2, -1)
    torch.testing.assert_close(mean, batch["agents", "loc"])
    torch.testing.assert_close(log_scale.exp(), batch["agents", "scale"])


def masked_actor(linear, actions):
    module = TensorDictModule(linear, [("agents", "observation")], [("agents", "logits")])
    return ProbabilisticActor(
        module=module,
        spec=Composite({("agents", "action"): Categorical(actions, shape=(4, 2))}),
        in_keys={"logits": ("agents", "logits"), "mask": ("agents", "action_mask")},
        out_keys=[("agents", "action")],
        distribution_class=MaskedCategorical,
    )


@pytest.mark.parametrize("penalty", [aajr.AAJR, aajr.Frobenius, aajr.RandomDirection])
def test_a_mask_of_actions_is_the_policy_without_the_forbidden_ones(penalty):
    generator = torch.Generator().manual_seed(0)
    full, part = torch.nn.Linear(3, 5), torch.nn.Linear(3, 3)
    allowed = torch.tensor([True, False, True, True, False])
    with torch.no_grad():
        part.weight.copy_(full.weight[allowed])
        part.bias.copy_(full.bias[allowed])
    x = torch.randn(1, 4, 2, 3, generator=generator)
    batch = TensorDict({("agents", "observation"): x}, [1, 4])
    batch["agents", "action_mask"] = allowed.expand(1, 4, 2, 5)
    settings = Robustness(BALL, penalty, weight=0.5, seed=7)
    hook = PenalisedActor(masked_actor(full, 5), "agents", "loss_objective", settings)
    hook(None, (batch,), losses := _Losses("loss_objective"))
    shown = hook.map(join_mask(x, batch["agents", "action_mask"]).flatten(0, 1))
    assert torch.equal(shown.isneginf(), ~allowed.expand(4, 2, 5))
    torch.testing.assert_close(shown[..., allowed], part(x[0]))
    assert float(losses["loss_objective"]) > 1
    assert losses["loss_objective"].isfinite()
    losses["loss_objective"].backward()
    assert bool(full.weight.grad.isfinite().all())
    assert not full.weight.grad[~allowed].any()
    assert full.weight.grad[allowed].any()


def test_the_horizon_of_hide_and_seek_is_truncation():
    task = HideAndSeekTask.HIDE_AND_SEEK.get_task({"max_steps": 3, "n_hiders": 2})
    after = task.get_env_fun(2, False, 0, "cpu")().rollout(3)["next"]
    assert after["truncated"][:, -1].all()
    assert not after["terminated"].any()


def test_hide_and_seek_is_a_task(tmp_path):
    assert task_config_registry["aajr/hide_and_seek"] is HideAndSeekTask.HIDE_AND_SEEK
    task = HideAndSeekTask.HIDE_AND_SEEK.get_task({"max_steps": 20, "n_hiders": 2})
    hiders = Robustness(BALL, aajr.AAJR, weight=1.0, groups=("hider",))
    host = trained(tmp_path, MappoConfig.get_from_yaml(), task=task)
    robust = trained(tmp_path, robustify(MappoConfig.get_from_yaml(), hiders), task=task)
    changed = {name.split(".")[0] for name in host if not torch.equal(host[name], robust[name])}
    assert "hider" in changed


def test_a_robust_config_answers_as_the_host_and_can_be_pickled():
    config = robustify(MappoConfig.get_from_yaml(), off())
    (again,) = pickle.loads(pickle.dumps([config]))
    assert again.host == config.host
    for name in ("on_policy", "has_critic", "supports_discrete_actions", "associated_class"):
        assert getattr(again, name)() == getattr(config.host, name)()
    with pytest.raises(AttributeError):
        again.unknown()


def test_bad_input_names_the_remedy(tmp_path):
    with pytest.raises(ValueError, match="penalty=None leaves BenchMARL's training as it is"):
        Robustness(BALL)
    with pytest.raises(ValueError, match=r"adversary=0\.1 is no adversary"):
        Robustness(0.1, aajr.AAJR)
    with pytest.raises(ValueError, match="Qmix has no actor"):
        robustify(QmixConfig.get_from_yaml(), off())
    recurrent = GruConfig(
        hidden_size=8,
        n_layers=1,
        bias=True,
        dropout=0,
        compile=False,
        mlp_num_cells=[8],
        mlp_layer_class=torch.nn.Linear,
        mlp_activation_class=torch.nn.Tanh,
    )
    with pytest.raises(ValueError, match="recurrent"):
        experiment(tmp_path, robustify(MappoConfig.get_from_yaml(), off()), model=recurrent)
    observation = ("agents", "observation")
    several = types.SimpleNamespace(in_keys=[observation, ("agents", "lidar")])
    with pytest.raises(ValueError, match="CatTensors"):
        observation_key(several, "agents")
    task = HideAndSeekTask.HIDE_AND_SEEK.get_task({"hiders": 2})
    with pytest.raises(ValueError, match=r"unknown fields \['hiders'\]"):
        experiment(tmp_path, MappoConfig.get_from_yaml(), task=task)


def test_the_hydra_command_runs(tmp_path):
    small = [
        "experiment.max_n_iters=1",
        "experiment.max_n_frames=null",
        "experiment.on_policy_collected_frames_per_batch=40",
        "experiment.on_policy_n_envs_per_worker=2",
        "experiment.on_policy_n_minibatch_iters=1",
        "experiment.on_policy_minibatch_size=20",
        "experiment.evaluation=false",
        "experiment.render=false",
        "experiment.loggers=[]",
        "experiment.create_json=false",
    ]
    command = [sys.executable, "-m", "aajr.integrations.benchmarl", "algorithm=mappo"]
    done = subprocess.run(
        [*command, "task=aajr/hide_and_seek", "task.max_steps=20", "robustness.weight=0.1", *small],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    bad = subprocess.run(
        [*command, "task=aajr/hide_and_seek", "robustness.penalty=none", *small],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=200,
    )
    assert bad.returncode != 0
    assert "robustness.penalty" in bad.stderr
