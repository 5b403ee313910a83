"""Evaluation under attack during training: it changes nothing, and keeps the most robust agent."""

from __future__ import annotations

import json

import gymnasium
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from aajr import Ball
from aajr.arena import Agent, examine
from aajr.arena.attacks.agent_suites import agent_suite
from aajr.arena.attacks.builders import noise
from aajr.arena.attacks.suites import QUICK, AttackSpec, Suite
from aajr.arena.attacks.victim import Victim
from aajr.arena.environments.gymnasium import GymnasiumEnvironment
from aajr.arena.environments.seeing import seen_by
from aajr.arena.environments.sources import WithSources
from aajr.arena.examination.trials import attacked_match
from aajr.arena.records.evaluation import CLEAN
from aajr.integrations.sb3 import RobustnessCallback

BALL = Ball("linf", 0.2)
CART = GymnasiumEnvironment("CartPole-v1", 1, 0, limit=40)


def learner(normalised: bool = False) -> PPO:
    games = DummyVecEnv([lambda: gymnasium.make("CartPole-v1")] * 2)
    games = VecNormalize(games) if normalised else games
    settings = {"n_steps": 32, "batch_size": 64, "n_epochs": 2, "policy_kwargs": {"net_arch": [8]}}
    return PPO("MlpPolicy", games, seed=1, device="cpu", **settings)


def watch(**settings) -> RobustnessCallback:
    return RobustnessCallback(CART, BALL, **{"every": 64, "episodes": 3, "seed": 2} | settings)


def test_training_goes_on_as_without_it():
    one = learner().learn(192)
    callback = watch()
    other = learner().learn(192, callback=callback)
    for name, value in one.policy.state_dict().items():
        assert torch.equal(value, other.policy.state_dict()[name]), name
    assert [e["timesteps"] for e in callback.history] == [64, 128, 192]


@pytest.mark.parametrize("normalised", [False, True])
def test_the_returns_are_those_of_an_attack_by_hand(normalised, tmp_path):
    model, callback = learner(normalised), watch(directory=tmp_path)
    model.learn(64, callback=callback)
    # the evaluation came at the last step before the update; its agent was kept
    agent = Agent.from_sb3(
        tmp_path / "most_robust/agent.zip", normalise=None if normalised else False
    )
    victim = Victim(agent, seen_by(agent, CART, 3, 2), "full", callback.suite.effort, template=BALL)
    found = {CLEAN: attacked_match(victim).score.mean_return}
    spec = callback.suite.attacks[0]
    found[spec.name] = attacked_match(victim, spec, spec.build(BALL, victim)).score.mean_return
    assert callback.history[0]["returns"] == found
    assert callback.history[0]["worst"] == min(found.values())
    assert (tmp_path / "most_robust/vecnormalize.pkl").exists() == normalised


class Planned(RobustnessCallback):
    """Returns that a plan gives instead of episodes."""

    plan = ({"none": 9.0, "a": 1.0}, {"none": 7.0, "a": 5.0}, {"none": 9.0, "a": 4.0})

    def evaluate(self, agent):
        return dict(self.plan[len(self.history)])


def planned(path, **settings) -> Planned:
    return Planned(CART, BALL, every=64, episodes=1, directory=path, **settings)


def test_the_most_robust_agent_is_kept_and_not_the_last(tmp_path):
    model, callback = learner(), planned(tmp_path)
    weights = []

    class Noted(Planned):
        def evaluate(self, agent):
            weights.append(agent.state_dict())
            return super().evaluate(agent)

    callback.__class__ = Noted
    model.learn(192, callback=callback)
    assert callback.best["timesteps"] == 128
    kept = Agent.from_sb3(tmp_path / "most_robust/agent.zip", normalise=False)
    second, last = weights[1], weights[2]
    assert all(torch.equal(v, second[k]) for k, v in kept.state_dict().items())
    assert any(not torch.equal(v, last[k]) for k, v in kept.state_dict().items())


def test_a_run_goes_on_where_its_file_ends(tmp_path):
    model = learner()
    model.learn(128, callback=planned(tmp_path))
    again = planned(tmp_path)
    model.learn(64, callback=again, reset_num_timesteps=False)
    assert [e["worst"] for e in again.history] == [1.0, 5.0, 4.0]
    assert again.best["timesteps"] == 128
    kept = json.loads((tmp_path / "robustness.json").read_text())
    assert kept["evaluations"] == again.history
    with pytest.raises(ValueError, match="other settings"):
        model.learn(64, callback=planned(tmp_path, seed=5))


def test_the_logger_gets_clean_worst_and_every_attack(monkeypatch, capsys):
    told = {}
    monkeypatch.setattr(
        Logger, "record", lambda self, key, value, *a, **k: told.update({key: value})
    )
    learner().learn(64, callback=Planned(CART, BALL, every=64, verbose=1))
    found = {k: v for k, v in told.items() if k.startswith("robustness/")}
    assert found == {"robustness/clean": 9.0, "robustness/a": 1.0, "robustness/worst": 1.0}
    assert "64 steps, mean return: clean 9, a 1" in capsys.readouterr().out


def test_an_attack_that_fails_does_not_end_the_training():
    def broken(ball, victim):
        raise RuntimeError("no critic today")

    callback = watch(attacks=AttackSpec("broken", "gradient", broken))
    with pytest.warns(UserWarning, match="no critic today"):
        learner().learn(64, callback=callback)
    assert list(callback.history[0]["returns"]) == ["none"]
    assert callback.history[0]["left_out"] == {"broken": "RuntimeError: no critic today"}


def test_sources_are_attacked_as_liars():
    radio = WithSources(CART, torch.arange(4), liars=1, low=-2.0, high=2.0)
    spec = next(spec for spec in QUICK.attacks if spec.name == "liars_mad")
    agent = Agent.from_sb3(learner())
    callback = RobustnessCallback(radio, BALL, spec, every=64, episodes=3, seed=2)
    victim = Victim(agent, radio.resized(3, 2), "reports", callback.suite.effort)
    expected = attacked_match(victim, spec, spec.build(victim.ball(0.2), victim))
    assert callback.evaluate(agent)["liars_mad"] == expected.score.mean_return
    with pytest.raises(ValueError, match=r"do not attack 'reports', .* liars_mad"):
        RobustnessCallback(radio, BALL, "pgd_mad").evaluate(agent)


def test_actions_are_attacked_by_what_examine_finds_on_them():
    agent, spec = Agent.from_sb3(learner()), agent_suite("quick").against("actions")[0]
    callback = watch(attacks=spec, threat="actions")
    suite = Suite("one", 1, callback.suite.effort, (spec,))
    found = examine(agent, CART, BALL, suite, threat="actions", epsilons=(), episodes=3, seed=2)
    assert callback.evaluate(agent)[spec.name] == pytest.approx(found.estimate(spec.name, 0.2))
    with pytest.raises(ValueError, match=r"do not attack 'actions', .* critic_0"):
        watch(threat="actions").evaluate(agent)


def test_a_suite_an_attack_or_a_name():
    assert [s.name for s in watch(attacks="quick").suite.attacks][:2] == ["noise", "pgd_mad"]
    own = AttackSpec("mine", "noise", noise)
    assert watch(attacks=own).suite.attacks == (own,)
    callback = watch(attacks="noise", every=10_000)
    learner().learn(64, callback=callback)
    assert set(callback.history[0]["returns"]) == {"none", "noise"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attacks": "love"}, "attacks='love' is neither"),
        ({"every": 0}, "every=0"),
        ({"episodes": 0}, "episodes=0"),
        ({"seed": -1}, "seed=-1"),
        ({"threat": "rewards"}, "threat='rewards'"),
    ],
)
def test_bad_input_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        watch(**settings)


def test_attacks_of_another_norm_fit_no_ball():
    callback = RobustnessCallback(CART, Ball("l2", 0.1), "sparse", every=64, episodes=1)
    with pytest.raises(ValueError, match="no attack of the suite"):
        learner().learn(64, callback=callback)
