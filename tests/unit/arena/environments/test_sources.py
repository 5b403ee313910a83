"""Any k of n sources may lie, in an environment of the user's own."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from aajr import Ball
from aajr.adversaries import LyingSources
from aajr.arena.agents.agent import Agent
from aajr.arena.attacks.suites import QUICK, STANDARD, THOROUGH
from aajr.arena.attacks.victim import Victim
from aajr.arena.environments.episodes import contest
from aajr.arena.environments.gymnasium import GymnasiumEnvironment
from aajr.arena.environments.protocols import Environment
from aajr.arena.environments.sources import WithSources
from aajr.arena.examination.trials import attacked_match
from aajr.arena.settings import Effort
from aajr.arena.spaces.heads import CategoricalHead
from tests.unit.arena.attacks.test_lies import Watched

EFFORT = Effort(
    steps=2,
    restarts=1,
    queries=8,
    critic_episodes=10,
    attacker_iterations=1,
    attacker_environments=4,
)


def cart(episodes: int = 4, **settings) -> WithSources:
    """CartPole whose state comes from four sensors."""
    inner = GymnasiumEnvironment("CartPole-v1", episodes, 3, limit=6)
    settings = {"reporting": torch.arange(4), "liars": 2, "low": -2.0, "high": 2.0} | settings
    return WithSources(inner, **settings)


@pytest.fixture(scope="module")
def victim():
    network = nn.Linear(4, 2, bias=False).requires_grad_(False)
    network.weight.copy_(torch.tensor([[0.1, -0.2, -1.0, -0.4], [0.0, 0.3, 1.0, 0.5]]))
    return Victim(Agent(network, CategoricalHead((2,)), 4, "raw"), cart(), "reports", EFFORT)


@pytest.mark.parametrize("name", [spec.name for spec in THOROUGH.against("reports")])
def test_every_attack_on_reports_keeps_to_k_sources_and_to_their_claims(name, victim):
    spec = {spec.name: spec for spec in THOROUGH.attacks}[name]
    adversary = spec.build(victim.ball(0.5), victim)
    team = Watched(victim.actor, adversary, torch.Generator().manual_seed(1))
    team.lies = []
    record = contest(victim.match, team, name, adversary.ball.epsilon).record
    for step, lie in enumerate(team.lies):
        assert int((lie.abs() > 1e-6).sum(-1).max()) <= 2
        assert bool((lie.abs() <= (4.0 if name == "any_lie" else 0.5) + 1e-5).all())
        told = record.observation[record.played[:, step], step, 0] + lie
        moved = lie.abs() > 1e-6
        assert float(told[moved].abs().amax()) <= 2 + 1e-5


def test_the_worst_coalition_is_found_among_all(victim):
    """liars_critic_0 does at least as much harm as the critic with any fixed pair of liars."""
    spec = {spec.name: spec for spec in QUICK.attacks}["liars_critic_0"]
    x = victim.match.reset().observation.flatten(0, 1)
    objective = victim.least(victim.critic(0))
    source = torch.Generator().manual_seed(0)

    def gain(adversary):
        found = adversary(victim.actor, x, source)
        return objective(victim.actor(found.worst), found.reference)

    best = gain(spec.build(victim.ball(0.5), victim))
    inner = {spec.name: spec for spec in QUICK.attacks}["critic_0"]
    for pair in itertools.combinations(range(4), 2):
        mask = torch.zeros(4, dtype=torch.bool)
        mask[list(pair)] = True
        fixed = inner.build(Ball("linf", 0.5, mask=mask, low=-2.0, high=2.0), victim)
        assert bool((gain(fixed) <= best + 1e-4).all())


def test_the_wrapped_environment_plays_as_before(victim):
    wrapped = attacked_match(victim)
    plain = Victim(victim.actor, victim.match.environment, "full", EFFORT)
    assert torch.equal(attacked_match(plain).record.observation, wrapped.record.observation)
    assert wrapped.score.largest_perturbation == 0


def test_it_passes_on_all_that_an_environment_has():
    radio = cart()
    names = [name for name in vars(Environment) if not name.startswith("_")]
    own = {"sources", "liars", "claims", "facts", "attackable", "resized", "reset", "told"}
    for name in set(names) - own:
        found, inner = getattr(radio, name), getattr(radio.environment, name)
        assert torch.equal(found, inner) if isinstance(found, torch.Tensor) else found == inner
    assert "sources" in radio.facts
    assert radio.facts["environment"] == "CartPole-v1"
    again = radio.resized(7, 9)
    assert (again.episodes, again.seed, again.liars) == (7, 9, 2)
    assert bool(radio.attackable("full").all())
    assert radio.attackable("reports").tolist() == [True] * 4


def test_sources_are_named_or_numbered():
    named = cart(reporting=["[0]", ["[1]", 2]], liars=1)
    assert named.sources.tolist() == [0, 1, 1, -1]
    assert named.attackable("reports").tolist() == [True, True, True, False]


def test_claims_of_each_feature_of_its_own():
    far = torch.tensor([torch.inf, torch.inf, 0.4, 2.0])
    radio = cart(reporting=torch.tensor([-1, -1, 0, 1]), liars=1, low=-far, high=far)
    network = nn.Linear(4, 2, bias=False).requires_grad_(False)
    victim = Victim(Agent(network, CategoricalHead((2,)), 4, "raw"), radio, "reports", EFFORT)
    specs = {spec.name: spec for spec in STANDARD.attacks}
    assert specs["any_lie"].build(victim.ball(0.1), victim).ball.epsilon == 4.0
    other = specs["other_side"].build(victim.ball(0.1), victim)
    assert isinstance(other.adversary, LyingSources)
    x = torch.tensor([[1.0, 2.0, 0.3, -1.0]])
    expected = network(torch.tensor([[1.0, 2.0, -0.3, 1.0]]))
    assert torch.allclose(other.target(x), expected)


def test_reports_are_mirrored_about_the_middle_of_their_claims(victim):
    radio = cart(low=0.0, high=torch.tensor([1.0, 2.0, 3.0, 4.0]))
    other = {spec.name: spec for spec in QUICK.attacks}["other_side"]
    one = Victim(victim.actor, radio, "reports", EFFORT)
    x = torch.tensor([[0.25, 0.5, 1.0, 4.0]])
    expected = victim.actor(torch.tensor([[0.75, 1.5, 2.0, 0.0]]))
    assert torch.allclose(other.build(one.ball(0.1), one).target(x), expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cart(liars=5), "liars=5 but there are 4"),
        (lambda: cart(liars=0), "liars=0"),
        (lambda: cart(reporting=torch.arange(3)), "not one source for each"),
        (lambda: cart(reporting=torch.tensor([0, 2, 2, -1])), "without a gap"),
        (lambda: cart(reporting=torch.full((4,), -1)), "not one source"),
        (lambda: cart(reporting=["[0:2]", "[1]"], liars=1), "another source"),
        (lambda: cart(reporting=["speed"], liars=1), "names no feature"),
        (lambda: WithSources(cart(), ["a"], 1), "has no names"),
    ],
)
def test_bad_sources_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_lie_without_limits_has_no_greatest(victim):
    endless = Victim(victim.actor, cart(low=None), "reports", EFFORT)
    spec = {spec.name: spec for spec in STANDARD.attacks}["any_lie"]
    with pytest.raises(ValueError, match="without limits"):
        spec.build(endless.ball(0.1), endless)
