"""The user's own ball: its norm, mask, scale and box reach every attack of the suites."""

import json
import math

import pytest
import torch
from torch import nn

from aajr import Ball
from aajr.arena.agents.agent import Agent
from aajr.arena.attacks.agent_suites import AGENT_STANDARD, AGENT_SUITES, agent_suite, fitting
from aajr.arena.attacks.balls import ball_facts
from aajr.arena.attacks.suites import AttackSpec
from aajr.arena.attacks.victim import Victim
from aajr.arena.environments.gymnasium import GymnasiumEnvironment
from aajr.arena.examination.trials import attacked_match
from aajr.arena.settings import Effort
from aajr.arena.spaces.heads import CategoricalHead

TINY = Effort(
    steps=2,
    restarts=1,
    queries=8,
    generations=1,
    critic_episodes=10,
    attacker_iterations=1,
    attacker_environments=4,
    director_draws=2,
    director_episodes=2,
)
MASK = torch.tensor([True, True, False, True])


def balancer(**settings) -> Agent:
    network = nn.Linear(4, 2, bias=False).requires_grad_(False)
    network.weight.copy_(torch.tensor([[0.0, 0.0, -1.0, -0.5], [0.0, 0.0, 1.0, 0.5]]))
    return Agent(network, CategoricalHead((2,)), 4, "raw", **settings)


def cartpole() -> GymnasiumEnvironment:
    return GymnasiumEnvironment("CartPole-v1", 4, 0, limit=20)


def victim(ball: Ball | None, **settings) -> Victim:
    return Victim(balancer(), cartpole(), "full", TINY, template=ball, **settings)


@pytest.mark.filterwarnings("ignore::aajr.adversaries.MaskedGradientWarning")
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_every_attack_stays_in_the_users_ball(norm):
    scale = torch.tensor([1.0, 2.0, 1.0, 0.5])
    ball = Ball(norm, 0.2, mask=MASK, scale=scale, low=-2.0, high=2.0)
    suite, _ = fitting(AGENT_SUITES["thorough"], [balancer()], cartpole(), ball)
    attacked = victim(ball)
    for spec in suite.attacks:
        adversary = spec.build(attacked.ball(0.1), attacked)
        outcome = attacked_match(attacked, spec, adversary, may_find_none=True)
        if not spec.fixed:
            assert outcome.score.largest_perturbation <= 0.1 * (1 + 1e-5), spec.name


def test_an_attack_changes_only_the_features_of_the_mask():
    attacked = victim(Ball("l2", 0.5, mask=MASK))
    spec = next(one for one in AGENT_STANDARD.attacks if one.name == "pgd_mad")
    x = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    found = spec.build(attacked.ball(0.5), attacked)(attacked.actor, x, torch.Generator())
    delta = found.worst - x
    assert torch.equal(delta[:, 2], torch.zeros(20))
    # the outputs depend on features 2 and 3 alone, so the steepest direction is the last feature
    assert torch.allclose(delta[:, 3].abs(), torch.full((20,), 0.5), atol=0.05)


def test_the_unit_names_the_norm():
    assert victim(Ball("l2", 0.5)).unit == "L2, raw"
    assert victim(Ball("linf", 0.5)).unit == victim(None).unit == "L∞, raw"


def test_attacks_that_do_not_fit_are_left_out_by_name():
    suite = AGENT_SUITES["thorough"]
    seen, plain = fitting(suite, [balancer()], cartpole(), Ball("linf", 0.1))
    assert set(plain) == {"lying_teammates"}
    _, round_ball = fitting(suite, [balancer()], cartpole(), Ball("l2", 0.1))
    assert set(round_ball) - set(plain) == {"sparse", "quantised"}
    assert "linf" in round_ball["sparse"]
    box = balancer(differentiable=False)
    black, reasons = fitting(suite, [balancer(), box], cartpole(), Ball("linf", 0.1))
    assert "gives none" in reasons["pgd_mad"]
    assert {spec.name for spec in seen.attacks} == {spec.name for spec in black.attacks} | (
        set(reasons) - set(plain)
    )
    assert {"noise", "square", "transfer", "sa_rl"} <= {spec.name for spec in black.attacks}
    assert not any(spec.kind == "gradient" for spec in black.attacks)


def test_a_black_box_is_attacked_without_gradients():
    class Box(nn.Module):
        def forward(self, x):
            return balancer().network(x.detach()).detach()

    agent = Agent(Box(), CategoricalHead((2,)), 4, "raw", differentiable=False)
    suite, _ = fitting(AGENT_SUITES["thorough"], [agent], cartpole(), Ball("linf", 0.1))
    attacked = Victim(agent, cartpole(), "full", TINY)
    for spec in suite.attacks:
        adversary = spec.build(attacked.ball(0.1), attacked)
        outcome = attacked_match(attacked, spec, adversary, may_find_none=True)
        assert outcome.score.mean_return > 0


def test_a_missing_package_is_named():
    spec = AttackSpec("cma_es", "black_box", lambda ball, victim: None, package="no_such_package")
    suite = AGENT_STANDARD.__class__("one", 1, TINY, (spec, AGENT_STANDARD.attacks[0]))
    _, left_out = fitting(suite, [balancer()], cartpole(), Ball("linf", 0.1))
    assert "pip install 'aajr[attacks]'" in left_out["cma_es"]


def test_suites_are_nested():
    quick, standard, thorough = (agent_suite(name).attacks for name in AGENT_SUITES)
    assert quick == standard[: len(quick)]
    assert standard == thorough[: len(standard)]


def test_the_facts_of_a_ball_are_json():
    ball = Ball("l2", 0.3, mask=MASK, scale=torch.tensor(2.0), low=torch.tensor([0.0, -math.inf]))
    facts = json.loads(json.dumps(ball_facts(ball), allow_nan=False))
    assert facts == {
        "norm": "l2",
        "epsilon": 0.3,
        "features": [0, 1, 3],
        "scale": 2.0,
        "low": [0.0, None],
        "high": None,
    }


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: victim(Ball("linf", 0.1, mask=MASK[:3])), "mask"),
        (lambda: victim(Ball("linf", 0.1, mask=MASK & ~MASK)), "no attackable feature"),
        (lambda: victim(Ball("linf", 0.1, scale=torch.ones(3))), "scale of shape"),
        (
            lambda: Victim(balancer(), cartpole(), "actions", TINY, template=Ball("l2", 1)),
            "threat=",
        ),
        (lambda: agent_suite("huge"), "suite='huge'"),
        (lambda: Effort(critic_updates=-1), "critic_updates=-1"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
