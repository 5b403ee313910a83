"""Bounds read SB3's agents, and hold what attacks on them find."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3

import aajr
from aajr.certification import AuditBudget, UnsupportedLayersError, audit, certified_bounds
from aajr.integrations.sb3 import load_agent, save_agent
from aajr.integrations.sb3._maps import policy_map
from tests.unit.certification.networks import dense_points
from tests.unit.integrations.sb3.test_files import OwnExtractor
from tests.unit.integrations.sb3.test_training import ACTIONS, VECTOR, Game

QUICK = {"device": "cpu", "seed": 0}
ON = QUICK | {"n_steps": 8}
PROXIMAL = ON | {"batch_size": 8}
ARCHITECTURES = {
    "tanh": {"net_arch": [8, 8]},
    "elu": {"net_arch": [8], "activation_fn": torch.nn.ELU},
    "silu": {"net_arch": [8], "activation_fn": torch.nn.SiLU},
}
AGENTS = {
    **{f"PPO {name}": (PPO, space, PROXIMAL) for name, space in ACTIONS.items()},
    "A2C": (A2C, ACTIONS["box"], ON),
    "SAC": (SAC, ACTIONS["box"], QUICK),
    "TD3": (TD3, ACTIONS["box"], QUICK),
    "DQN": (DQN, ACTIONS["discrete"], QUICK),
}
BALL = aajr.Ball("linf", 0.1)


def shuffled(policy: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.copy_(0.7 * torch.randn(parameter.shape, generator=generator))


@pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=ARCHITECTURES)
@pytest.mark.parametrize("case", AGENTS.values(), ids=AGENTS)
def test_the_layers_are_the_map_and_bounds_hold_it(case, architecture):
    algorithm, actions, arguments = case
    agent = algorithm(
        "MlpPolicy", Game(VECTOR, actions), policy_kwargs=dict(architecture), **arguments
    )
    shuffled(agent.policy)
    module = policy_map(agent.policy)
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(module.as_sequential()(x), module(x))
    bounds = certified_bounds(module, x, BALL)
    points = dense_points(BALL, x, 200)
    with torch.no_grad():
        outputs = module(points.flatten(0, 1)).reshape(200, 6, -1).double()
    slip = 1e-5 * (1 + outputs.abs())  # of float32
    assert bool((outputs + slip >= bounds.lower).all())
    assert bool((outputs - slip <= bounds.upper).all())


def test_sacs_limits_on_the_deviation_are_a_part_of_it():
    agent = SAC("MlpPolicy", Game(VECTOR, ACTIONS["box"]), **QUICK)
    with torch.no_grad():
        agent.actor.log_std.bias.copy_(torch.tensor([50.0, -50.0]))
    bounds = certified_bounds(policy_map(agent.policy), torch.zeros(1, 3), BALL)
    limits = torch.tensor([[2.0, -20.0]], dtype=torch.float64)
    torch.testing.assert_close(bounds.lower[:, 2:], limits, atol=1e-6, rtol=0)
    torch.testing.assert_close(bounds.upper[:, 2:], limits, atol=1e-6, rtol=0)


def test_a_loaded_agent_is_audited_and_certified(tmp_path):
    agent = PPO("MlpPolicy", Game(VECTOR, ACTIONS["multidiscrete"]), **PROXIMAL)
    shuffled(agent.policy)
    loaded = load_agent(save_agent(tmp_path, agent))
    states = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    budget = AuditBudget(queries=50)
    found = audit(loaded.policy, states, BALL, heads=(2, 3), budget=budget)
    assert not found.not_certified
    assert all(found.checks.values())
    assert found.to_json()["quantities"]["change_certified"]["kind"] == "certified"


@pytest.mark.filterwarnings("ignore:.*mini-batch size.*")
def test_images_are_bounded_in_pixel_levels():
    image = spaces.Box(0, 255, (1, 36, 36), np.uint8)
    kwargs = {"features_extractor_kwargs": {"features_dim": 8}}
    settings = ON | {"batch_size": 8, "policy_kwargs": kwargs}
    agent = PPO("CnnPolicy", Game(image, ACTIONS["box"]), **settings)
    module = policy_map(agent.policy)
    x = torch.full((2, 1, 36, 36), 100.0)
    torch.testing.assert_close(module.as_sequential()(x), module(x))
    ball = aajr.Ball("l2", 2.0, event_dims=3)
    bounds = certified_bounds(module, x, ball, "ibp")
    with torch.no_grad():
        outputs = module(dense_points(ball, x, 20).flatten(0, 1)).reshape(20, 2, -1).double()
    assert bool((outputs + 1e-5 >= bounds.lower).all())
    assert bool((outputs - 1e-5 <= bounds.upper).all())


def test_an_extractor_without_layers_is_named():
    kwargs = {"features_extractor_class": OwnExtractor}
    agent = PPO("MlpPolicy", Game(VECTOR, ACTIONS["box"]), policy_kwargs=kwargs, **PROXIMAL)
    with pytest.raises(UnsupportedLayersError, match=r"OwnExtractor.*as_sequential\(\)"):
        certified_bounds(policy_map(agent.policy), torch.zeros(1, 3), BALL)
