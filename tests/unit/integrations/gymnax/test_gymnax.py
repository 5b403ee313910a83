"""gymnax's environments against gymnax's own loop, one episode at a time."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from aajr import Ball
from aajr.arena.agents.agent import Agent
from aajr.arena.attacks.adversary_envs import adversary_env
from aajr.arena.attacks.suites import QUICK
from aajr.arena.attacks.victim import Victim
from aajr.arena.environments.episodes import AttackedTeam, contest, play
from aajr.arena.settings import Effort
from aajr.arena.spaces.gymnasium import head_of
from aajr.arena.spaces.heads import CategoricalHead

gymnax = pytest.importorskip("gymnax")
jax = pytest.importorskip("jax")

import numpy as np  # noqa: E402

from aajr.integrations.foreign_spaces import gymnasium_space  # noqa: E402
from aajr.integrations.gymnax import GymnaxEnvironment, episode_keys  # noqa: E402


def cart(episodes: int = 4, seed: int = 3, **settings) -> GymnaxEnvironment:
    return GymnaxEnvironment("CartPole-v1", episodes, seed, **settings)


def balancer() -> Agent:
    network = nn.Linear(4, 2, bias=False).requires_grad_(False)
    network.weight.copy_(torch.tensor([[0.0, 0.0, -1.0, 0.0], [0.0, 0.0, 1.0, 0.0]]))
    return Agent(network, CategoricalHead((2,)), 4, "raw")


def clean(agent: Agent) -> AttackedTeam:
    return AttackedTeam(agent, None, torch.Generator())


def by_hand(environment: GymnaxEnvironment, index: int, agent: Agent) -> list[tuple]:
    """gymnax's own reset and step, with the episode's own key."""
    game, settings = environment.game, environment.settings
    key, now = jax.random.split(episode_keys(environment.seed, index + 1)[index])
    shown, state = game.reset(now, settings)
    steps, over = [], False
    while not over and len(steps) != environment.limit:
        x = torch.as_tensor(np.array(shown)).flatten()[None].float()
        action = agent.head.act(agent(x))[0].numpy()
        native = action[0] if isinstance(agent.head, CategoricalHead) else action
        key, now = jax.random.split(key)
        following, state, reward, ended, cut, _ = game.step(now, state, native, settings)
        steps.append((x[0], action, float(reward), bool(ended), bool(cut)))
        shown, over = following, bool(ended) or bool(cut)
    return steps


def matches_by_hand(environment: GymnaxEnvironment, agent: Agent, index: int, record) -> int:
    steps = by_hand(environment, index, agent)
    assert int(record.played[index].sum()) == len(steps)
    # later the rounding of compiled code grows, since the games are chaotic
    for step, (shown, action, reward, _, _) in enumerate(steps[:40]):
        assert torch.allclose(record.observation[index, step, 0], shown, atol=1e-6)
        assert np.allclose(record.action[index, step, 0].numpy(), action, atol=1e-6)
        assert float(record.reward[index, step, 0]) == pytest.approx(reward, abs=1e-5)
    assert bool(record.terminated[index]) == steps[-1][3]
    assert bool(record.truncated[index]) == (not steps[-1][3])
    return len(steps)


def test_every_episode_is_the_one_that_gymnax_plays():
    environment, agent = cart(), balancer()
    record = play(environment, clean(agent))
    lengths = {matches_by_hand(environment, agent, index, record) for index in range(4)}
    assert len(lengths) > 1
    assert torch.equal(record.returns, record.played.sum(1).double())


def test_continuous_actions_and_gymnaxs_own_limit():
    settings = gymnax.make("Pendulum-v1")[1].replace(max_steps_in_episode=30)
    environment = GymnaxEnvironment("Pendulum-v1", 2, 1, settings)
    head = head_of(environment.action_space)
    network = nn.Linear(3, head.outputs, bias=False).requires_grad_(False)
    network.weight.copy_(torch.tensor([[0.0, -0.5, -0.1], [0.0, 0.0, 0.0]]))
    agent = Agent(network, head, 3, "raw")
    record = play(environment, clean(agent))
    assert record.played.shape[1] == environment.steps == 30
    assert record.truncated.tolist() == [True, True]
    matches_by_hand(environment, agent, 1, record)


def test_an_episode_does_not_depend_on_how_many_are_played():
    few, many = (play(cart(n), clean(balancer())) for n in (1, 4))
    length = few.played.shape[1]
    assert torch.allclose(few.observation[0], many.observation[0, :length], atol=1e-6)
    assert int(many.played[0].sum()) == length


def test_a_limit_truncates():
    record = play(cart(limit=3), clean(balancer()))
    assert record.played.shape == (4, 3)
    assert bool(record.truncated.all())
    assert cart(limit=3).steps == 3


def test_the_quick_suite_attacks_it():
    agent = balancer()
    victim = Victim(agent, cart(10, limit=20), "full", Effort(2, 1, 8, critic_episodes=10))
    for spec in QUICK.against("full"):
        team = AttackedTeam(agent, spec.build(victim.ball(0.5), victim), torch.Generator())
        score = contest(victim.match, team, spec.name, 0.5).score
        assert 0 < score.largest_perturbation <= 0.5 + 1e-5


def test_an_attacker_can_be_trained_in_it():
    env = adversary_env(balancer(), cart(limit=4), Ball("linf", 0.1))
    shown, _ = env.reset(seed=5)
    assert np.allclose(shown, cart(1, 5).reset().observation[0, 0].numpy())
    flags = [env.step(np.zeros(4, np.float32))[1:4] for _ in range(4)]
    assert flags == [(-1.0, False, False)] * 3 + [(-1.0, False, True)]


def test_names_masks_and_facts():
    environment = cart(attack_choices=True, solved=2.0)
    assert environment.feature_names[2] == "observation[2]"
    assert environment.features_named("[1:]").tolist() == [False, True, True, True]
    assert bool(environment.attackable("full").all())
    facts = environment.facts
    assert facts["environment"] == "gymnax:CartPole-v1"
    assert "max_steps_in_episode=500" in facts["params"]
    again = environment.resized(7, 1)
    assert (again.episodes, again.seed, again.solved_at) == (7, 1, 2.0)


@pytest.mark.parametrize("name", ["Catch-bsuite", "Pong-misc", "MountainCarContinuous-v0"])
def test_spaces_hold_what_gymnax_shows(name):
    game, settings = gymnax.make(name)
    shown, _ = game.reset(jax.random.key(0), settings)
    space = gymnasium_space(game.observation_space(settings))
    assert space.contains(np.array(shown, space.dtype))
    action = game.action_space(settings).sample(jax.random.key(1))
    own = gymnasium_space(game.action_space(settings))
    assert own.contains(np.array(action, own.dtype))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: GymnaxEnvironment("Chess-v0", 1, 0), "source='Chess-v0' is not in gymnax"),
        (lambda: cart(episodes=0), "episodes=0"),
        (lambda: cart(limit=0), "limit=0"),
        (lambda: cart().attackable("reports"), "threat='reports'"),
        (lambda: cart().told([0]), "no teammates"),
        (lambda: gymnasium_space(3), "no space"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
