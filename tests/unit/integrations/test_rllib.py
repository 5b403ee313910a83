"""RLlib: weight and ε of zero give RLlib's own training; the penalty and the attack do act."""

import os
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.connectors.env_to_module import FlattenObservations
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.env.multi_agent_env import make_multi_agent
from ray.rllib.examples.rl_modules.classes.action_masking_rlm import ActionMaskingTorchRLModule

import aajr
import aajr.integrations.rllib._settings
from aajr.adversaries import SubsetSearch
from aajr.geometry import Dropped
from aajr.integrations._adversaries import protect_mask
from aajr.integrations.rllib import Robustness, RobustPPOTorchLearner
from aajr.integrations.rllib._settings import ActionMap, attacked

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
EXAMPLE = Path(__file__).parents[3] / "examples" / "rllib_multi_agent.py"
BALL, NONE = aajr.Ball("linf", 0.1), aajr.Ball("linf", 0.0)


class Bits(gymnasium.Env):
    """A choice of two heads and a vector to see: spaces that Gymnasium's own tasks lack."""

    def __init__(self, config):
        self.observation_space = spaces.Box(-1.0, 1.0, (3,), np.float32)
        self.action_space = spaces.MultiDiscrete([2, 3])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 10
        return self._seen(), {}

    def step(self, action):
        self.left -= 1
        return self._seen(), float(np.sum(action)), self.left == 0, False, {}

    def _seen(self):
        return self.np_random.uniform(-1, 1, 3).astype(np.float32)


class Parts(Bits):
    """The vector in two parts."""

    def __init__(self, config):
        super().__init__(config)
        part = spaces.Box(-1.0, 1.0, (3,), np.float32)
        self.observation_space = spaces.Dict({"a": part, "b": part})

    def _seen(self):
        return {"a": super()._seen(), "b": super()._seen()}


class Choice(Bits):
    """Two of five actions are forbidden, others in every step."""

    def __init__(self, config):
        super().__init__(config)
        mask = spaces.Box(0.0, 1.0, (5,), np.float32)
        self.observation_space = spaces.Dict(
            {"observations": self.observation_space, "action_mask": mask}
        )
        self.action_space = spaces.Discrete(5)

    def _seen(self):
        self.mask = self.np_random.permutation([1, 1, 1, 0, 0]).astype(np.float32)
        return {"observations": super()._seen(), "action_mask": self.mask}

    def step(self, action):
        assert self.mask[action] == 1
        return super().step(action)


def config_of(environment, learner=RobustPPOTorchLearner, settings=None, **environment_config):
    return (
        PPOConfig()
        .environment(environment, env_config=environment_config)
        .env_runners(num_env_runners=0)
        .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[16]))
        .training(train_batch_size_per_learner=96, minibatch_size=32, num_epochs=2)
        .learners(learner_class=learner, learner_config_dict={"aajr": settings})
        .debugging(seed=0, log_level="ERROR")
    )


def trained(config, iterations=2):
    algorithm = config.build_algo()
    for _ in range(iterations):
        result = algorithm.train()
    weights = algorithm.learner_group._learner.module.get_state()
    algorithm.stop()
    return weights, result["learners"]


def equal(first, second):
    return first.keys() == second.keys() and all(
        equal(first[k], second[k])
        if isinstance(first[k], dict)
        else np.array_equal(first[k], second[k])
        for k in first
    )


@pytest.mark.parametrize("environment", ["CartPole-v1", "Pendulum-v1", Bits])
def test_weight_zero_and_no_radius_are_rllibs_own_training_bit_for_bit(environment):
    host, _ = trained(config_of(environment, PPOTorchLearner))
    clean = Robustness(BALL, aajr.AAJR, weight=0.0, placement="clean")
    no_radius = Robustness(NONE, aajr.AAJR, weight=0.0)
    for settings in (None, clean, no_radius):
        assert equal(host, trained(config_of(environment, settings=settings))[0])
    weighted = Robustness(BALL, aajr.AAJR, weight=0.1, placement="clean")
    attacked = Robustness(BALL)
    for settings in (weighted, attacked):
        assert not equal(host, trained(config_of(environment, settings=settings))[0])


def test_the_loss_is_rllibs_at_the_worst_point_plus_the_penalty_there(monkeypatch):
    seen = []
    host = PPOTorchLearner.compute_loss_for_module

    def spy(self, *, module_id, config, batch, fwd_out):
        task = host(self, module_id=module_id, config=config, batch=batch, fwd_out=fwd_out)
        seen.append((self.module[module_id], dict(batch), fwd_out, task))
        return task

    monkeypatch.setattr(PPOTorchLearner, "compute_loss_for_module", spy)
    totals = []
    ours = RobustPPOTorchLearner.compute_loss_for_module

    def total(self, **arguments):
        value = ours(self, **arguments)
        module, batch, fwd_out, task = seen[-1]
        rows, policy = batch[Columns.LOSS_MASK], ActionMap(module.unwrapped())
        x, metric = batch[Columns.OBS][rows], aajr.Categorical()
        attack = aajr.ProjectedGradientAscent(BALL, aajr.Divergence(metric))
        if not totals:  # the first update: the minimax's generator is fresh
            generator = torch.Generator().manual_seed(3)
            trajectory = attack(policy, x, generator)
            penalty = aajr.AAJR(metric=metric, fraction=1.0)(policy, trajectory, generator, 0)
            shown = batch[Columns.OBS].clone()
            shown[rows] = trajectory.worst
            torch.testing.assert_close(fwd_out[Columns.ACTION_DIST_INPUTS], policy(shown))
            torch.testing.assert_close(value, task + 0.5 * penalty)
            assert not torch.equal(trajectory.worst, x)
            assert not rows.all()  # RLlib's own padding is left out
        totals.append(float(value.detach()))
        return value

    monkeypatch.setattr(RobustPPOTorchLearner, "compute_loss_for_module", total)
    penalty = aajr.AAJR(metric=aajr.Categorical(), fraction=1.0)
    _, metrics = trained(
        config_of("CartPole-v1", settings=Robustness(BALL, penalty, weight=0.5, seed=3)), 1
    )
    assert totals
    assert metrics["default_policy"]["aajr_weight"] == 0.5
    assert metrics["default_policy"]["aajr_penalty"] > 0


def masked(settings, learner=RobustPPOTorchLearner):
    spec = RLModuleSpec(
        module_class=ActionMaskingTorchRLModule,
        model_config=DefaultModelConfig(fcnet_hiddens=[8]),
    )
    return config_of(Choice, learner, settings).rl_module(rl_module_spec=spec)


def test_masks_of_actions_are_kept_and_weight_zero_is_rllibs_own_training():
    host, _ = trained(masked(None, PPOTorchLearner), 1)
    still = Robustness(BALL, aajr.AAJR, weight=0.0, placement="clean")
    assert equal(host, trained(masked(still), 1)[0])
    changed, metrics = trained(masked(Robustness(BALL, aajr.RandomDirection)), 1)
    assert not equal(host, changed)
    assert 0 < metrics["default_policy"]["aajr_penalty"] < np.inf


@pytest.mark.parametrize("nested", [False, True])
def test_the_map_with_a_mask_is_the_policy_without_the_forbidden_actions(nested):
    class Masking(torch.nn.Linear):
        """Masks as RLlib does: log 0 is replaced by the lowest float."""

        def forward_train(self, batch):
            seen, mask = batch[Columns.OBS], batch.get("action_mask")
            if nested:
                seen, mask = seen["observations"], seen["action_mask"]
            logits = self(seen) + mask.log().clamp_min(torch.finfo(torch.float32).min)
            return {Columns.ACTION_DIST_INPUTS: logits}

    full, part = Masking(3, 5), torch.nn.Linear(3, 3)
    allowed = torch.tensor([True, False, True, True, False])
    with torch.no_grad():
        part.weight.copy_(full.weight[allowed])
        part.bias.copy_(full.bias[allowed])
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    columns = {Columns.OBS: x, "action_mask": allowed.expand(6, 5)}
    if nested:
        columns = {Columns.OBS: {"observations": x, "action_mask": allowed.expand(6, 5)}}
    policy = ActionMap(full, 5, nested)
    minimax = Robustness(BALL, aajr.AAJR(metric=aajr.Categorical(), fraction=1.0)).minimax(
        aajr.Categorical()
    )
    plain = Robustness(BALL, minimax.penalty).minimax(aajr.Categorical())
    steady = aajr.ProjectedGradientAscent(BALL, lambda u, _: u[:, 0], steps=3)
    plain.adversary = minimax.adversary = steady
    protect_mask(minimax, 3, 5)
    seen = attacked(columns, 5)
    found, expected = minimax.regularise(policy, seen), plain.regularise(part, x)
    torch.testing.assert_close(policy(seen)[:, allowed], part(x))
    assert torch.equal(policy(seen).isneginf(), ~allowed.expand(6, 5))
    torch.testing.assert_close(found.trajectory.worst[:, :3], expected.trajectory.worst)
    assert torch.equal(found.trajectory.worst[:, 3:], allowed.expand(6, 5).float())
    torch.testing.assert_close(found.penalty, expected.penalty, rtol=2e-3, atol=0)


def test_a_mask_needs_a_ball_and_keeps_all_of_it():
    scale, low = torch.tensor([1.0, 2.0]), torch.tensor([-1.0, 0.0])
    ball = aajr.Ball("l2", 0.1, scale=scale, low=low, high=5.0)
    minimax = aajr.Minimax(aajr.ProjectedGradientAscent(ball), aajr.RandomDirection())
    protect_mask(minimax, 2, 3)
    kept = minimax.adversary.ball
    assert kept.mask.tolist() == minimax.penalty.mask.tolist() == [True, True, False, False, False]
    assert kept.scale.tolist() == [1.0, 2.0, 1.0, 1.0, 1.0]
    assert kept.low.tolist() == [-1.0, 0.0, -np.inf, -np.inf, -np.inf]
    assert kept.high.tolist() == [5.0, 5.0, np.inf, np.inf, np.inf]
    follows = aajr.Minimax(aajr.ProjectedGradientAscent(ball), aajr.Frobenius(mask="moved"))
    protect_mask(follows, 2, 3)
    assert follows.penalty.mask == "moved"
    dropped = SubsetSearch(Dropped(torch.zeros(2, dtype=torch.long), 1))
    with pytest.raises(ValueError, match="SubsetSearch has no ball"):
        protect_mask(aajr.Minimax(dropped), 2, 3)


def test_each_module_has_settings_of_its_own():
    def multi(settings, learner=RobustPPOTorchLearner):
        environment = make_multi_agent("CartPole-v1")
        return config_of(environment, learner, settings, num_agents=2).multi_agent(
            policies={"first", "second"},
            policy_mapping_fn=lambda agent, *_, **__: ("first", "second")[agent],
        )

    host, _ = trained(multi(None, PPOTorchLearner), 1)
    mixed, metrics = trained(multi({"first": Robustness(BALL, aajr.AAJR), "second": None}), 1)
    assert equal(host["second"], mixed["second"])
    assert not equal(host["first"], mixed["first"])
    assert "aajr_penalty" in metrics["first"]
    assert "aajr_penalty" not in metrics["second"]


def test_the_state_of_the_plug_is_kept():
    algorithm = config_of("CartPole-v1", settings=Robustness(BALL, aajr.AAJR)).build_algo()
    algorithm.train()
    learner = algorithm.learner_group._learner
    state = learner.get_state()
    kept = learner._minimaxes()["default_policy"].state_dict()
    learner._minimaxes().clear()
    learner.set_state(state)
    restored = learner._minimaxes()["default_policy"].state_dict()
    algorithm.stop()
    assert int(kept["update"]) > 0
    assert equal(kept, restored)


def test_bad_settings_and_spaces_name_the_remedy():
    observation = spaces.Dict({"a": spaces.Box(-1.0, 1.0, (3,), np.float32)})
    counts = spaces.Box(0, 9, (3,), np.int64)
    with pytest.raises(ValueError, match="no adversary"):
        Robustness(0.1)
    with pytest.raises(ValueError, match="placement"):
        Robustness(BALL, placement="mixed")
    with pytest.raises(ValueError, match="FlattenObservations"):
        aajr.integrations.rllib._settings._check_observations("m", observation)
    with pytest.raises(ValueError, match="DtypeObservation"):
        aajr.integrations.rllib._settings._check_observations("m", counts)
    with pytest.raises(ValueError, match="a float; give a Robustness"):
        trained(config_of("CartPole-v1", settings=0.1), 1)
    stateful = config_of("CartPole-v1", settings=Robustness(BALL)).rl_module(
        model_config=DefaultModelConfig(fcnet_hiddens=[8], use_lstm=True, max_seq_len=4)
    )
    with pytest.raises(ValueError, match="stateful"):
        trained(stateful, 1)


def test_dict_observations_train_behind_the_connector_that_the_error_names():
    config = config_of(Parts, settings=Robustness(BALL, aajr.AAJR)).env_runners(
        env_to_module_connector=lambda *_, **__: FlattenObservations()
    )
    _, learned = trained(config, 1)
    assert learned["default_policy"]["aajr_penalty"] > 0


@pytest.mark.parametrize("share", [("--runners", "2"), ("--runners", "2", "--learners", "2")])
def test_the_example_runs_on_two_cores(share):
    small = ("--iterations", "1", "--batch", "80", "--steps", "10")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"}
    done = subprocess.run(
        [sys.executable, EXAMPLE, *small, *share],
        capture_output=True,
        text=True,
        timeout=250,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "hiders' penalty 0." in done.stdout
