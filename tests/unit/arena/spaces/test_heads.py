"""Heads of every kind against torch's distributions and by hand, and agents that have them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from aajr.arena.agents.agent import Agent
from aajr.arena.attacks.suites import STANDARD, THOROUGH
from aajr.arena.attacks.victim import Victim
from aajr.arena.examination.trials import attacked_match
from aajr.arena.spaces.heads import (
    CategoricalHead,
    DeterministicHead,
    GaussianHead,
    SquashedGaussianHead,
)
from tests.unit.arena.environments.test_environments import EFFORT, Signs

LOW, HIGH = torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 4.0])
CONTINUOUS = [kind(LOW, HIGH) for kind in (GaussianHead, SquashedGaussianHead, DeterministicHead)]
HEADS = [CategoricalHead((2, 3)), *CONTINUOUS]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def name(head):
    return type(head).__name__


@pytest.mark.parametrize("head", HEADS, ids=name)
def test_actions_are_within_their_limits_and_a_q_can_read_them(head):
    outputs = 3 * torch.randn(200, head.outputs, generator=generator())
    for action in (head.act(outputs), head.explore(outputs, 0.5, generator())):
        encoded = head.encode(action)
        assert encoded.shape == head.relaxed(outputs).shape
        assert head.limits[0] <= float(encoded.min())
        assert float(encoded.max()) <= head.limits[1]
    assert head.metric.divergence(outputs, outputs).abs().max() == 0
    assert torch.equal(
        head.explore(outputs, 0.5, generator()), head.explore(outputs, 0.5, generator())
    )


@pytest.mark.parametrize("head", CONTINUOUS[:2], ids=name)
def test_draws_have_the_distributions_moments(head):
    outputs = torch.tensor([[0.1, 0.2, math.log(0.3), math.log(0.1)]]).expand(20_000, -1)
    drawn = head.explore(outputs, 0.0, generator())
    normal = 0.3 * torch.randn(200_000, generator=generator(1)) + 0.1
    first = normal.clamp(-1, 1) if name(head) == "GaussianHead" else normal.tanh()
    assert float(drawn[:, 0].mean()) == pytest.approx(float(first.mean()), abs=0.01)
    assert float(drawn[:, 0].std()) == pytest.approx(float(first.std()), abs=0.01)


@pytest.mark.parametrize("head", CONTINUOUS, ids=name)
def test_a_share_of_the_draws_is_uniform(head):
    outputs = torch.full((20_000, head.outputs), -5.0)
    drawn = head.explore(outputs, 0.5, generator())
    share = (drawn - LOW) / (HIGH - LOW)
    assert float((share[:, 0] > 0.1).float().mean()) == pytest.approx(0.45, abs=0.02)


def test_a_squashed_mean_is_stretched_to_the_bounds():
    head = SquashedGaussianHead(LOW, HIGH)
    found = head.act(torch.tensor([[0.0, 0.0, 9.0, 9.0], [20.0, -20.0, 9.0, 9.0]]))
    torch.testing.assert_close(found, torch.tensor([[0.0, 2.0], [1.0, 0.0]]))


@pytest.mark.parametrize("head", CONTINUOUS, ids=name)
def test_the_least_action_is_the_bound_that_the_value_says(head):
    outputs = torch.full((3, head.outputs), 0.1)
    found = head.least(outputs, lambda action: action[:, 0] - action[:, 1])
    moved = head.act(found)
    span = 0.02 if name(head) == "SquashedGaussianHead" else 0.0
    assert ((moved[:, 0] - LOW[0]) <= span).all()
    assert ((HIGH[1] - moved[:, 1]) <= 4 * span).all()
    if head.outputs == 4:
        assert torch.equal(found[:, 2:], outputs[:, 2:])


@pytest.mark.parametrize("head", HEADS, ids=name)
def test_the_suite_attacks_an_agent_of_any_head(head):
    network = nn.Linear(6, head.outputs).requires_grad_(False)
    agent = Agent(network, head, 6, "raw").requires_grad_(False)
    victim = Victim(agent, Signs(16, 5), "others", EFFORT)
    specs = {spec.name: spec for spec in (*STANDARD.attacks, *THOROUGH.attacks)}
    names = ("noise", "pgd_mad", "critic_0", "square", "transfer", "rs_mad", "targeted", "value")
    for attack in (*names, "actions"):
        found = attacked_match(victim, specs[attack], specs[attack].build(victim.ball(0.5), victim))
        assert found.score.changed_actions >= 0
        assert 0 < found.score.largest_perturbation <= 1.0 + 1e-5
    assert victim.unit == "L∞, raw"


def test_an_agents_own_value_is_what_the_attack_on_value_reads():
    head = CategoricalHead((2,))
    agent = Agent(nn.Linear(6, 2), head, 6, "raw", value=lambda x: 3 * x[:, 0])
    victim = Victim(agent.requires_grad_(False), Signs(16, 5), "others", EFFORT)
    x = torch.randn(4, 6, generator=generator())
    assert torch.equal(victim.state_value(x), 3 * x[:, :1])
    assert victim.preparation == {}
