"""Gymnasium's environments against a loop by hand, and what any space of actions becomes."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from aajr import Ball, ProjectedGradientAscent, UniformNoise
from aajr._seeds import derive
from aajr.arena.agents.agent import Agent
from aajr.arena.attacks.suites import QUICK
from aajr.arena.attacks.victim import Victim
from aajr.arena.environments.episodes import AttackedTeam, contest, explore, play
from aajr.arena.environments.gymnasium import GymnasiumEnvironment, head_of, native_action
from aajr.arena.spaces.heads import CategoricalHead, SquashedGaussianHead
from tests.unit.arena.environments.test_environments import EFFORT


def cartpole(episodes: int = 5, seed: int = 3, **settings) -> GymnasiumEnvironment:
    return GymnasiumEnvironment("CartPole-v1", episodes, seed, **settings)


def balancer(unit: str = "raw") -> Agent:
    """Pushes towards where the pole falls: some episodes last long, none for ever."""
    network = nn.Linear(4, 2, bias=False).requires_grad_(False)
    network.weight.copy_(torch.tensor([[0.0, 0.0, -1.0, 0.0], [0.0, 0.0, 1.0, 0.0]]))
    return Agent(network, CategoricalHead((2,)), 4, unit)


def clean(agent: Agent) -> AttackedTeam:
    return AttackedTeam(agent, None, torch.Generator())


def by_hand(agent: Agent, index: int, seed: int) -> list[tuple[np.ndarray, int, float]]:
    single = gymnasium.make("CartPole-v1")
    raw, over, steps = single.reset(seed=derive(seed, "start", index))[0], False, []
    while not over:
        action = int(agent(torch.as_tensor(raw)[None]).argmax())
        following, reward, ended, cut, _ = single.step(action)
        steps.append((raw, action, float(reward)))
        raw, over = following, ended or cut
    return steps


def test_every_episode_is_the_one_that_a_loop_by_hand_plays():
    agent = balancer()
    record = play(cartpole(), clean(agent))
    lengths = set()
    for index in range(5):
        steps = by_hand(agent, index, 3)
        lengths.add(len(steps))
        assert int(record.played[index].sum()) == len(steps)
        assert bool(record.played[index, : len(steps)].all())
        found = record.observation[index, : len(steps), 0].numpy()
        assert np.array_equal(found, np.stack([raw for raw, _, _ in steps]))
        assert record.action[index, : len(steps), 0, 0].tolist() == [a for _, a, _ in steps]
        assert float(record.returns[index]) == sum(r for _, _, r in steps)
        assert float(record.observation[index, len(steps) :].abs().sum()) == 0
    assert len(lengths) > 1


def test_a_limit_cuts_every_episode():
    record = play(cartpole(limit=7), clean(balancer()))
    assert record.played.shape == (5, 7)
    assert record.returns.tolist() == [7.0] * 5
    assert cartpole(limit=7).steps == 7


def test_sight_is_what_agent_attack_and_record_share():
    doubled = cartpole(sight=lambda raw: 2 * torch.as_tensor(raw, dtype=torch.float32))
    first, second = (play(env, clean(balancer())) for env in (doubled, cartpole()))
    assert torch.equal(first.observation, 2 * second.observation)
    team = AttackedTeam(balancer(), UniformNoise(Ball("linf", 0.1)), torch.Generator())
    assert 0.09 < contest(doubled, team, "noise", 0.1).score.largest_perturbation <= 0.1 + 1e-6


def test_won_is_a_return_that_solves_it():
    record = play(cartpole(solved=30.0), clean(balancer()))
    assert torch.equal(record.won, record.returns >= 30)
    assert cartpole().solved_at == 475.0


def test_the_quick_suite_attacks_it():
    epsilon = 0.5
    victim = Victim(balancer(), cartpole(episodes=12, limit=20), "full", EFFORT)
    for spec in QUICK.against("full"):
        team = AttackedTeam(
            victim.actor, spec.build(victim.ball(epsilon), victim), torch.Generator()
        )
        score = contest(victim.match, team, spec.name, epsilon).score
        assert 0 < score.largest_perturbation <= epsilon + 1e-5
        if spec.kind == "gradient":
            assert score.mean_return < 20


def test_exploration_keeps_to_the_steps_that_were_played():
    data = explore(cartpole(episodes=10), balancer())
    assert data.played is not None
    assert float(data.reward[~data.played].abs().sum()) == 0
    assert float(data.reward[data.played].min()) == 1


class Room(gymnasium.Env):
    """Its action is a Dict, which it demands to be a member of its space."""

    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Dict({"go": spaces.Discrete(3, start=1), "say": spaces.MultiBinary(2)})

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action):
        assert self.action_space.contains(action)
        return np.ones(2, np.float32), float(action["go"]), False, False, {}


def test_a_dict_of_discrete_actions_is_one_categorical_head():
    head = head_of(Room.action_space)
    assert head == CategoricalHead((3, 2, 2))
    agent = Agent(nn.Linear(2, 7).requires_grad_(False), head, 2, "raw")
    environment = GymnasiumEnvironment(Room, 10, 0, limit=4)
    record = play(environment, clean(agent))
    assert torch.equal(record.reward[..., 0], record.action[..., 0, 0] + 1.0)
    victim = Victim(agent, environment, "full", EFFORT)
    assert victim.critic(0)(torch.zeros(1, 2), torch.zeros(1, 7)).shape == (1,)


@torch.no_grad()
def test_a_critic_may_be_fitted_in_the_middle_of_an_episode():
    victim = Victim(balancer(), cartpole(episodes=4), "full", EFFORT)
    assert victim.actor.value is None
    assert victim.state_value(torch.zeros(3, 4)).shape == (3, 1)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(4, start=2),
        spaces.MultiDiscrete([3, 2]),
        spaces.MultiBinary(3),
        spaces.Tuple((spaces.Discrete(2), spaces.MultiDiscrete([2, 5]))),
        spaces.Box(-1, 2, (2, 2), np.float32),
    ],
    ids=str,
)
def test_every_action_of_a_head_is_a_member_of_the_space(space):
    head = head_of(space, SquashedGaussianHead)
    outputs = torch.randn(50, head.outputs, generator=torch.Generator().manual_seed(0))
    for action in head.explore(outputs, 0.5, torch.Generator().manual_seed(1)):
        assert space.contains(native_action(space, action.numpy()))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cartpole(episodes=0), "episodes=0"),
        (lambda: cartpole(limit=0), "limit=0"),
        (lambda: cartpole().attackable("others"), "threat='others'"),
        (lambda: cartpole().told([0]), "no teammates"),
        (lambda: GymnasiumEnvironment(Room, 1, 0).steps, "no limit of time"),
        (lambda: head_of(spaces.Dict({"a": spaces.Box(0, 1, (2,))})), "have no head"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_an_environment_whose_simulator_is_missing_says_what_to_install():
    def lacking():
        raise gymnasium.error.DependencyNotInstalled("run pip install simulator")

    gymnasium.register("Lacking-v0", lacking)
    try:
        with pytest.raises(ImportError, match="pip install simulator"):
            GymnasiumEnvironment("Lacking-v0", 1, 0)
    finally:
        del gymnasium.registry["Lacking-v0"]


@torch.no_grad()
def test_an_attacked_row_alone_equals_that_row_in_the_batch():
    agent, ball = balancer(), Ball("linf", 0.05)
    attack = ProjectedGradientAscent(ball, Targets(), steps=3, random_start=False)
    record = play(cartpole(), AttackedTeam(agent, attack, torch.Generator()))
    single, source = gymnasium.make("CartPole-v1"), torch.Generator()
    for index in range(5):
        shown, _ = single.reset(seed=derive(3, "start", index))
        for step in range(int(record.played[index].sum())):
            x = torch.as_tensor(shown)[None]
            assert torch.equal(record.observation[index, step], x)
            action = int(agent(attack(agent, x, source).worst).argmax())
            assert int(record.action[index, step, 0, 0]) == action
            shown, _, ended, cut, _ = single.step(action)
        assert ended or cut


class Targets:
    """The loss of the action that the agent would choose."""

    def __call__(self, output, reference):
        chosen = reference.outputs.argmax(-1, keepdim=True)
        return -output.gather(-1, chosen).squeeze(-1)
