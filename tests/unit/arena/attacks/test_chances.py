"""Choices that an adversary decides with probability ε, beside value iteration."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aajr import Ball
from aajr.arena import adversary_env, examine
from aajr.arena.attacks.action_threat import CHANCE, on_actions
from aajr.arena.attacks.learned import AttackerConfig, LearnedAdversary, train_attacker
from aajr.arena.environments.episodes import AttackedTeam, play
from aajr.arena.spaces.chances import ChanceHead
from aajr.arena.training.ppo import PPOConfig
from tests.unit.arena.attacks.tabular import Grid, walker
from tests.unit.arena.attacks.test_action_threat import suite_of_noise
from tests.unit.arena.environments.test_gymnasium import balancer, cartpole

HEAD = ChanceHead((3, 2))
GRID = Grid(
    ((0, 0, -1, 0), (0, 0, 0, 0), (0, 0, 0, -3), (-6, 0, 0, 8)), ends=((3, 3), (0, 2)), steps=8
)
AGENT = walker((3.1, 3.3))
EPSILON = 0.3
DRAWS = 40


def outputs_of(action, chance, weights):
    return torch.cat([HEAD.encode(action), chance, weights], -1)


def any_outputs(seed, rows=200):
    generator = torch.Generator().manual_seed(seed)
    action = torch.stack([torch.randint(n, (rows,), generator=generator) for n in HEAD.sizes], 1)
    weights = torch.rand(rows, 5, generator=generator)
    return action, torch.rand(rows, 2, generator=generator), weights


@given(st.integers(0, 10**6))
@settings(max_examples=10)
def test_entries_are_played_with_their_probabilities(seed):
    action, _, weights = any_outputs(seed, rows=4)
    places = ((torch.arange(1000) + 0.5) / 1000)[:, None, None].expand(-1, 4, 2)
    many = [part.expand(1000, -1, -1) for part in (action, weights)]
    found = HEAD.encode(HEAD.act(outputs_of(many[0], places, many[1]))).mean(0)
    expected = HEAD.relaxed(outputs_of(action, torch.zeros(4, 2), weights))
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)
    own, start = HEAD.encode(action).bool(), 0
    for size in HEAD.sizes:
        part = slice(start, start + size)
        kept = weights[:, part][own[:, part]]
        torch.testing.assert_close(expected[:, part][own[:, part]], kept)
        others = (weights * ~own)[:, part]
        shares = others / others.sum(1, keepdim=True) * (1 - kept)[:, None]
        torch.testing.assert_close(expected[:, part] * ~own[:, part], shares, atol=1e-4, rtol=0)
        start += size


def test_without_attack_the_chosen_entry_is_played():
    action, chance, _ = any_outputs(0)
    outputs = outputs_of(action, chance, HEAD.encode(action))
    assert torch.equal(HEAD.act(outputs), action)
    assert torch.equal(HEAD.relaxed(outputs), HEAD.encode(action))
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(HEAD.explore(outputs, 0.0, generator), action)
    changed = (HEAD.explore(outputs, 1.0, generator) != action).float().mean(0)
    torch.testing.assert_close(changed, torch.tensor([2 / 3, 1 / 2]), atol=0.12, rtol=0)


@pytest.mark.parametrize("epsilon", [0.1, 0.6, 1.0])
def test_the_ball_holds_the_probability(epsilon):
    _, shown, ball = on_actions(balancer(), cartpole(), Ball("linf", epsilon))
    head, state = ChanceHead((2,)), shown.reset().observation[:, 0]
    for seed in range(20):
        delta = 9 * torch.randn(state.shape, generator=torch.Generator().manual_seed(seed))
        worst = state + ball.project(delta, state)
        assert torch.equal(worst[:, : shown.trusted], state[:, : shown.trusted])
        kept = (head.relaxed(worst[:, 4:]) * state[:, 4:6]).sum(1)
        assert bool((kept >= 1 - epsilon - 1e-6).all())


def test_the_least_entry_gets_all_the_weight():
    outputs = outputs_of(*any_outputs(1))
    worth = torch.tensor([3.0, 1.0, 2.0, 0.0, 5.0])
    found = HEAD.least(outputs, lambda encoded: encoded @ worth)
    assert torch.equal(found[:, :7], outputs[:, :7])
    assert torch.equal(found[:, 7:], HEAD.encode(torch.tensor([[1, 0]])).expand(200, -1))


def optimum(*, ahead: bool = True) -> tuple[float, torch.Tensor]:
    """Least expected return if an action is replaced with probability ε, and the replacements.

    With ``ahead=False`` the replacement is the action of least reward at once.
    """
    moved, gained = GRID.model
    own = AGENT.head.act(AGENT(GRID.shown(0, torch.arange(len(GRID.cells)))))
    value, chosen = torch.zeros(len(GRID.cells)).double(), []
    for _ in range(GRID.steps):
        q = gained + moved @ value
        worst = (q if ahead else gained).argmin(1, keepdim=True)
        value = ((1 - EPSILON) * q.gather(1, own) + EPSILON * q.gather(1, worst))[:, 0]
        chosen.append(worst[:, 0])
    return float(value[0]), torch.stack(chosen[::-1])


def attacked_value(acting, shown, adversary) -> float:
    """Expected return under an adversary, over evenly spaced numbers u in every state."""
    moved, gained = GRID.model
    value = torch.zeros(len(gained)).double()
    for time in reversed(range(GRID.steps)):
        seen = GRID.shown(time, torch.arange(len(gained)))
        action = AGENT.head.encode(AGENT.head.act(AGENT(seen)))
        chances = (torch.arange(DRAWS) + 0.5) / DRAWS
        x = torch.cat([seen, action, torch.zeros(len(seen), 1), action], 1).repeat(DRAWS, 1, 1)
        x[..., 7] = chances[:, None]
        worst = adversary(acting, x.flatten(0, 1), torch.Generator()).worst
        played = acting.head.act(acting(worst)).reshape(DRAWS, -1)
        share = torch.nn.functional.one_hot(played, 4).double().mean(0)
        value = (share * (gained + moved @ value)).sum(1)
    return float(value[0])


def test_the_optimum_is_in_the_ball_and_a_learned_attacker_looks_ahead():
    acting, shown, ball = on_actions(AGENT, GRID, Ball("linf", EPSILON))
    clean, (least, choices) = GRID.attacked_value(AGENT, None), optimum()

    def share(network, **settings):
        return spoilt(LearnedAdversary(ball, network, **settings))

    def spoilt(adversary):
        return (clean - attacked_value(acting, shown, adversary)) / (clean - least)

    def best(x):
        time, state = (x[:, 2] * GRID.steps).round().long(), (4 * x[:, 0] + x[:, 1]).long()
        wanted = torch.nn.functional.one_hot(choices[time, state], 4)
        return 2.0 * wanted - 1

    assert share(best, squash=False) == pytest.approx(1, abs=1e-6)
    assert share(lambda x: torch.zeros(len(x), 4)) == pytest.approx(0, abs=1e-6)
    myopic = (clean - optimum(ahead=False)[0]) / (clean - least)
    ppo = PPOConfig(
        environments=128, epochs=4, minibatches=2, learning_rate=1e-2, entropy=0.0, discount=1.0
    )
    found = train_attacker(acting, shown, ball, "sa_rl", AttackerConfig(30, ppo))
    assert myopic < 0.64 < 0.66 <= spoilt(found) <= 1 + 1 / DRAWS


def test_played_episodes_have_the_probability():
    acting, shown, ball = on_actions(balancer(), cartpole(40), Ball("linf", EPSILON))
    other = torch.tensor([[-1.0, 1.0]])

    def network(x):
        return torch.where(x[:, -2:-1] > 0.5, other, -other)

    team = AttackedTeam(acting, LearnedAdversary(ball, network, squash=False), torch.Generator())
    record = play(shown, team)
    chosen = record.observation[..., -1:][record.played]
    changed = (record.action[record.played] != chosen).float()
    assert abs(float(changed.mean()) - EPSILON) < 4 * float(changed.std()) / len(changed) ** 0.5
    plain = play(shown, AttackedTeam(acting, None, torch.Generator()))
    inside = play(shown.environment, AttackedTeam(balancer(), None, torch.Generator()))
    assert torch.equal(plain.reward, inside.reward)


def test_it_is_examined_and_given_to_other_libraries():
    report = examine(
        balancer(), cartpole(), Ball("linf", EPSILON), suite_of_noise(), threat="actions",
        episodes=20, epsilons=(),
    )  # fmt: skip
    assert report.unit == f"L∞, {CHANCE}"
    (noise,) = report.trials("noise", EPSILON)
    assert 0 < noise.score.changed_actions < EPSILON
    assert report.estimate("noise", EPSILON) < report.clean.estimate
    env = adversary_env(balancer(), cartpole(), Ball("linf", EPSILON), threat="actions")
    assert (env.observation_space.shape, env.action_space.shape) == ((9,), (2,))
