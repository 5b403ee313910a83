"""VMAS's scenarios in the arena against VMAS's own loop."""

from __future__ import annotations

import pytest
import torch
import vmas
from torch import nn

from aajr import Ball, UniformNoise
from aajr._seeds import derive
from aajr.arena.agents.agent import Agent
from aajr.arena.attacks.suites import QUICK
from aajr.arena.attacks.victim import Victim
from aajr.arena.environments.episodes import AttackedTeam, contest, play
from aajr.arena.environments.seeing import seen_by
from aajr.arena.environments.sources import WithSources
from aajr.arena.settings import Effort
from aajr.arena.spaces.gymnasium import head_of
from aajr.integrations.foreign_spaces import gymnasium_space
from aajr.integrations.vmas import VMASEnvironment

CATCHERS = ["adversary_0", "adversary_1", "adversary_2"]


def agent_of(features: int, space) -> Agent:
    head = head_of(gymnasium_space(space))
    network = nn.Linear(features, head.outputs, bias=False).requires_grad_(False)
    source = torch.Generator().manual_seed(features)
    network.weight.copy_(torch.randn(network.weight.shape, generator=source))
    return Agent(network, head, features, "raw")


def own(name: str, episodes: int, seed: int, steps: int, continuous: bool):
    return vmas.make_env(
        name,
        num_envs=episodes,
        device="cpu",
        continuous_actions=continuous,
        seed=derive(seed, "start"),
        dict_spaces=True,
        terminated_truncated=True,
        max_steps=steps,
    )


@pytest.mark.parametrize("continuous", [True, False])
def test_every_step_is_the_one_that_vmas_plays(continuous):
    space = own("simple_tag", 1, 0, 1, continuous).action_space["agent_0"]
    chaser, runner = agent_of(16, space), agent_of(14, space)
    environment = VMASEnvironment(
        "simple_tag", 3, 2, 6, CATCHERS, {"agent_0": runner}, continuous=continuous
    )
    record = play(environment, AttackedTeam(chaser, None, torch.Generator()))
    game = own("simple_tag", 3, 2, 6, continuous)
    shown = game.reset()
    for step in range(6):
        orders = {}
        for name, seen in shown.items():
            agent = runner if name == "agent_0" else chaser
            orders[name] = agent.head.act(agent(seen))
        for place, name in enumerate(CATCHERS):
            assert torch.equal(record.observation[:, step, place], shown[name])
            assert torch.allclose(record.action[:, step, place], orders[name])
        shown, gained, *_ = game.step(orders)
        for place, name in enumerate(CATCHERS):
            assert torch.equal(record.reward[:, step, place], gained[name])
    assert record.truncated.tolist() == [True] * 3
    assert record.played.shape == (3, 6)


def test_episodes_end_by_their_own_rules():
    """Agents of navigation that steer to their goals end an episode; the others go on."""
    environment = VMASEnvironment("navigation", 8, 1, 120, settings={"n_agents": 1})
    head = head_of(environment.action_space)
    features = environment.features
    network = nn.Linear(features, head.outputs, bias=False).requires_grad_(False)
    network.weight.zero_()
    network.weight[0, 4] = network.weight[1, 5] = -9.0  # features 4 and 5: the way to the goal
    network.weight[0, 2] = network.weight[1, 3] = -3.0
    record = play(
        environment, AttackedTeam(Agent(network, head, features, "raw"), None, torch.Generator())
    )
    lengths = record.played.sum(1)
    assert bool(record.terminated.any())
    assert len(set(lengths.tolist())) > 1
    assert bool((lengths[record.terminated] < 120).all())
    assert bool((lengths[record.truncated] == 120).all())


def test_the_quick_suite_and_sources():
    environment = VMASEnvironment("navigation", 10, 0, 4)
    agent = agent_of(18, environment.action_space)
    assert seen_by(agent, environment, 2, 5).episodes == 2
    victim = Victim(agent, environment, "full", Effort(2, 1, 8, critic_episodes=10))
    for spec in QUICK.against("full"):
        team = AttackedTeam(agent, spec.build(victim.ball(0.3), victim), torch.Generator())
        assert 0 < contest(environment, team, spec.name, 0.3).score.largest_perturbation <= 0.3001
    radio = WithSources(environment, ["[0:2]", "[4:6]"], liars=1)
    assert int((radio.sources >= 0).sum()) == 4


def test_a_coalition_is_attacked_and_the_rest_see_the_truth():
    space = own("simple_tag", 1, 0, 1, True).action_space["agent_0"]
    chaser, runner = agent_of(16, space), agent_of(14, space)
    rest = {"agent_0": runner, "adversary_1": chaser, "adversary_2": chaser}
    environment = VMASEnvironment("simple_tag", 3, 2, 6, ["adversary_0"], rest)
    whole = VMASEnvironment("simple_tag", 3, 2, 6, CATCHERS, {"agent_0": runner})
    clean, all_of_them = (
        play(one, AttackedTeam(chaser, None, torch.Generator())) for one in (environment, whole)
    )
    assert torch.allclose(clean.observation[:, :, 0], all_of_them.observation[:, :, 0], atol=1e-5)
    team = AttackedTeam(chaser, UniformNoise(Ball("linf", 5.0)), torch.Generator())
    assert not torch.equal(play(environment, team).action, clean.action)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: VMASEnvironment("simple_tag", 1, 0, 5), "different spaces"),
        (lambda: VMASEnvironment("navigation", 1, 0, 5, ["agent_9"]), "agent_9"),
        (lambda: VMASEnvironment("navigation", 1, 0, 5, ["agent_0"]), "have no policy"),
        (lambda: VMASEnvironment("navigation", 1, 0, 0), "steps=0"),
        (lambda: VMASEnvironment("navigation", 1, 0, 5).attackable("others"), "threat='others'"),
        (lambda: VMASEnvironment("navigation", 1, 0, 5).told([1]), "WithSources"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
