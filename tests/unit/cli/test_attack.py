"""``aajr attack`` with agents and environments of a user's own module."""

from __future__ import annotations

import importlib
import sys

import pytest
import torch

from aajr.arena import Agent, GymnasiumEnvironment, Report
from aajr.arena.environments.named import resolve
from aajr.cli._targets import agents_of, ball_of, environment_of
from tests.unit.arena.reports.made_reports import made

MODULE = """
import gymnasium
import torch
from torch import nn
from aajr.arena import Agent, GymnasiumEnvironment
from aajr.arena.spaces.heads import CategoricalHead, DeterministicHead

WEIGHT = torch.tensor([[0.0, 0.0, -1.0, -1.0], [0.0, 0.0, 1.0, 1.0]])

def module():
    network = nn.Linear(4, 2, bias=False).requires_grad_(False)
    network.weight.copy_(WEIGHT)
    return network

def agent():
    return Agent(module(), CategoricalHead((2,)), 4, "raw")

def pusher():
    network = nn.Linear(3, 1).requires_grad_(False)
    return Agent(network, DeterministicHead(-2 * torch.ones(1), 2 * torch.ones(1)), 3, "raw")

def policy(seen):
    return (seen[:, 2] + seen[:, 3] > 0).astype(int)

def maker():
    return policy

def make_env():
    return gymnasium.make("CartPole-v1", max_episode_steps=15)

def pendulum():
    return gymnasium.make("Pendulum-v1", max_episode_steps=15)

def arena_env():
    return GymnasiumEnvironment(make_env, 1, 0)

def torchrl_env():
    from torchrl.envs import GymEnv
    return GymEnv("CartPole-v1")

def actor():
    from tensordict.nn import TensorDictModule
    return TensorDictModule(module(), in_keys=["observation"], out_keys=["logits"])

instance = module()
nothing = 3
"""
QUICK = ("--suite", "quick", "--episodes", "3", "--eps", "0.4")


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A module in the current directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "mine.py").write_text(MODULE)
    importlib.invalidate_caches()
    yield tmp_path
    sys.modules.pop("mine", None)


def test_the_command_writes_a_report_and_continues(aajr, mine):
    command = ("attack", "mine:agent", "--env", "mine:make_env", *QUICK, "--output", "out")
    status, output, errors = aajr(*command, "--report", "page.html", "--features", "2", "3")
    assert status == 0, errors
    assert "worst within ε" in output
    assert "Finding: " in output
    report = Report.read(mine / "out/report.json")
    assert report.ball["features"] == (2, 3)
    assert report.agents[0].assessment.checkpoint == "mine:agent"
    assert report.environment["environment"] == "mine:make_env"
    assert (mine / "page.html").exists()
    times = {p: p.stat().st_mtime_ns for p in (mine / "out/trials").rglob("*.json")}
    assert len(times) == 1 + 5 * 3 + 1
    status, _, errors = aajr(*command, "--features", "2:4")
    assert status == 0, errors
    assert all(p.stat().st_mtime_ns == time for p, time in times.items())
    assert (mine / "out/report.html").exists()


def test_a_function_is_a_black_box_whose_gradient_attacks_are_named(aajr, mine):
    command = ("attack", "mine:policy", "--env", "CartPole-v1", "--limit", "15", *QUICK)
    status, output, errors = aajr(*command, "--norm", "l2", "--radii")
    assert status == 0, errors
    assert "Left out: pgd_mad needs gradients" in output
    report = Report.read(mine / "results/attack/report.json")
    assert report.attacks == ("noise", "square")
    assert report.epsilons == (0.4,)
    assert report.unit.startswith("L2")


def test_actions_are_attacked_where_they_are_numbers(aajr, mine):
    command = ("attack", "mine:pusher", "--env", "mine:pendulum", *QUICK, "--radii", "--features")
    status, output, errors = aajr(*command, "action[0]", "--threat", "actions")
    assert status == 0, errors
    report = Report.read(mine / "results/attack/report.json")
    assert report.attacks == ("noise", "critic_0", "square")
    assert report.unit == "L∞, units of the action"
    assert (report.ball["features"], report.environment["threat"]) == ((0,), "actions")
    status, output, _ = aajr("attack", "--help")
    assert "--threat" in output
    assert "the actions that it takes" in " ".join(output.replace("│", " ").split())
    command = ("attack", "mine:agent", "--env", "mine:make_env", *QUICK, "--threat", "actions")
    status, _, errors = aajr(*command, "--features", "0")
    assert status == 2
    assert "actions are no numbers" in " ".join(errors.split())


def test_choices_are_attacked_with_a_probability(aajr, mine):
    command = ("attack", "mine:agent", "--env", "mine:make_env", *QUICK, "--threat", "actions")
    status, _, errors = aajr(*command, "--radii", "--no-film")
    assert status == 0, errors
    report = Report.read(mine / "results/attack/report.json")
    assert report.attacks == ("noise", "critic_0", "square")
    assert report.unit == "L∞, probability of another choice"


def test_an_output_that_is_a_file_is_an_error_that_names_it(aajr, mine):
    status, _, errors = aajr(
        "attack", "mine:agent", "--env", "mine:make_env", *QUICK, "--output", "mine.py"
    )
    assert status == 2
    assert "Not a directory" in errors
    assert "mine.py" in errors


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_onnx_file_plays_and_suffers_as_its_network_without_gradients(aajr, mine):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    network = resolve("mine:module")()
    names = {"input_names": ["x"], "dynamic_axes": {"x": {0: "rows"}}, "dynamo": False}
    torch.onnx.export(network, (torch.zeros(1, 4),), "agent.onnx", **names)
    reports = []
    for name in ("agent.onnx", "mine:module"):
        command = ("attack", name, "--env", "mine:make_env", *QUICK, "--radii", "--no-film")
        output = f"of_{name[-6:]}"
        status, _, errors = aajr(*command, "--output", output)
        assert status == 0, errors
        reports.append(Report.read(mine / output / "report.json"))
    black, white = reports
    assert black.attacks == ("noise", "square")
    assert set(black.left_out) >= {"pgd_mad", "critic_0"}
    trials = [{t.score.attack: t.score for t in r.agents[0].assessment.trials} for r in reports]
    assert all(trials[0][name] == trials[1][name] for name in ("noise", "square"))
    assert black.clean == white.clean


def test_a_run_of_ppo_is_an_agent(tmp_path):
    ppo = pytest.importorskip("aajr.jax.ppo")
    small = ppo.PPOConfig(64, 2, 16, epochs=1, minibatches=2, hidden=(8,))
    ppo.train("Pendulum-v1", tmp_path, small)
    world = environment_of("Pendulum-v1", None)
    (agent,) = agents_of([str(tmp_path)], world, **NO_FILES)
    assert agent.source == str(tmp_path)
    assert torch.equal(agent(torch.ones(1, 3)), Agent.from_ppo(tmp_path)(torch.ones(1, 3)))


@pytest.mark.parametrize("name", ["agent", "module", "instance", "policy", "maker"])
def test_everything_that_decides_is_an_agent(mine, name):
    (agent,) = agents_of([f"mine:{name}"], environment_of("CartPole-v1", None), **NO_FILES)
    x = torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.0, 0.0, -0.5, -0.5]])
    assert agent.head.act(agent(x)).flatten().tolist() == [1, 0]
    assert agent.differentiable is (name not in ("policy", "maker"))
    assert "mine:" in agent.source


NO_FILES = {"normalise": None, "frames": None, "trust": False}


def test_a_zip_of_sb3_and_its_pixels(mine):
    from stable_baselines3 import PPO

    model = PPO("MlpPolicy", "CartPole-v1", device="cpu", n_steps=8, batch_size=8)
    model.save("agent.zip")
    for name in ("agent.zip", "agent"):
        (agent,) = agents_of([name], environment_of("CartPole-v1", 5), **NO_FILES)
        assert agent.features == 4
    ball = ball_of([agent], environment_of("CartPole-v1", 5), "linf", 0.1, (), None, None)
    assert (ball.low, ball.high, ball.mask) == (None, None, None)
    agent.unit = "pixel levels, 0 to 255"
    ball = ball_of([agent], environment_of("CartPole-v1", 5), "linf", 0.1, (), None, 200.0)
    assert (ball.low, ball.high) == (0.0, 200.0)


def test_an_environment_of_the_arena_is_taken_as_it_is(mine):
    assert isinstance(environment_of("mine:arena_env", None), GymnasiumEnvironment)
    assert environment_of("mine:arena_env", None).steps == 15
    assert environment_of("mine:make_env", 7).steps == 7


def test_an_environment_and_an_actor_of_torchrl(aajr, mine):
    """The result is that of the same environment from Gymnasium."""
    assert environment_of("mine:torchrl_env", 7).steps == 7
    found = []
    for agent, env in (("mine:actor", "mine:torchrl_env"), ("mine:module", "CartPole-v1")):
        command = ("attack", agent, "--env", env, "--limit", "15", *QUICK, "--no-film")
        status, _, errors = aajr(*command, "--radii", "--output", env.replace(":", "_"))
        assert status == 0, errors
        found.append(Report.read(mine / env.replace(":", "_") / "report.json"))
    assert found[0].attacks == found[1].attacks
    assert found[0].worst == found[1].worst
    assert found[0].clean == found[1].clean


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.zip"], "agent 'nowhere.zip' does not exist"),
        (["mine:nothing"], "agent 'mine:nothing' is a int"),
        (["mine:absent"], "has no attribute 'absent'"),
        ([], "agents is empty"),
        (["mine:agent", "--features", "angle"], "'angle' names no feature"),
        (["mine:agent", "--eps", "-1"], "epsilon=-1"),
        (["mine:agent", "--env", "mine:arena_env", "--limit", "5"], "limit=5"),
        (["mine:agent", "--env", "Pendulum-v1"], "reads 4 features, the environment shows 3"),
    ],
)
def test_bad_input_ends_with_one_line(aajr, mine, arguments, message):
    command = ["attack", *arguments]
    for name, value in (("--env", "CartPole-v1"), ("--eps", "0.1")):
        command += [] if name in command else [name, value]
    status, _, errors = aajr(*command)
    assert status == 2
    assert errors.startswith("aajr: ")
    assert message in errors


def test_two_reports_are_compared(aajr, tmp_path):
    returns = {("none", 0.0): range(90, 98), ("pgd_mad", 0.1): range(40, 48)}
    better = {cell: [r + 20 for r in values] for cell, values in returns.items()}
    first, second, third = (str(tmp_path / name) for name in ("a.json", "b.json", "c.json"))
    made(returns).save(first)
    made(better, source="robust.zip").save(second)
    status, output, errors = aajr("compare", first, second)
    assert status == 0, errors
    assert output.count("second is better") == 3
    assert "robust.zip" in output
    status, _, errors = aajr("compare", first, third)
    assert status == 2
    assert "c.json does not exist" in errors
