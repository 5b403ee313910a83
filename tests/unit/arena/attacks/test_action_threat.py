"""The threat on actions, beside a game whose optimal adversary is known in closed form."""

from __future__ import annotations

import dataclasses
import warnings
from typing import ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from torch import nn

from aajr import Ball, UniformNoise
from aajr.arena import Agent, GymnasiumEnvironment, adversary_env, examine
from aajr.arena.attacks.action_threat import UNIT, action_features, on_actions
from aajr.arena.attacks.agent_suites import AGENT_SUITES
from aajr.arena.attacks.learned import AttackerConfig, LearnedAdversary, train_attacker
from aajr.arena.attacks.suites import Suite
from aajr.arena.environments.episodes import AttackedTeam, play
from aajr.arena.environments.sources import WithSources
from aajr.arena.examination.trials import attacked_match
from aajr.arena.reports.report import Report
from aajr.arena.settings import Effort
from aajr.arena.spaces.heads import CategoricalHead, DeterministicHead, SquashedGaussianHead
from aajr.arena.training.ppo import PPOConfig
from tests.unit.arena.environments.test_environments import Signs
from tests.unit.arena.environments.test_gymnasium import balancer, cartpole
from tests.unit.arena.environments.test_recurrent import Summing

STEPS, GAIN, EPSILON = 8, 0.5, 0.2
EFFORT = Effort(
    steps=5, restarts=1, queries=20, generations=2, critic_episodes=200, critic_updates=200,
    attacker_iterations=20, attacker_environments=16, director_draws=2, director_episodes=2,
)  # fmt: skip


class Drift(gymnasium.Env):
    """Two places that move by the action; the reward is minus the square of the first place."""

    metadata: ClassVar = {"render_modes": []}
    observation_space = spaces.Box(-10, 10, (2,), np.float32)
    action_space = spaces.Box(-0.6, 0.6, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.uniform(-1, 1, 2)
        return self.place.astype(np.float32), {}

    def step(self, action):
        self.place = self.place + action
        reward = -(float(self.place[0]) ** 2)
        return self.place.astype(np.float32), reward, False, False, {}


def steering(head=None, **settings) -> Agent:
    """An agent that halves both places at every step."""
    network = nn.Linear(2, 2, bias=False).requires_grad_(False)
    network.weight.copy_(-GAIN * torch.eye(2))
    limit = torch.full((2,), 0.6)
    return Agent(network, head or DeterministicHead(-limit, limit), 2, "raw", **settings)


def drift(episodes=40, seed=3) -> GymnasiumEnvironment:
    return GymnasiumEnvironment(Drift, episodes, seed, limit=STEPS)


def optimum(match, epsilon) -> torch.Tensor:
    """Return of every episode under the optimal adversary, which always pushes outwards.

    The next place is x/2 + δ; its square and that of all later ones rise with |x/2 + δ|.
    """
    place = match.reset().observation[:, 0, 0].double()
    total = torch.zeros_like(place)
    for _ in range(STEPS):
        place = (1 - GAIN) * place.abs() + epsilon
        total -= place.square()
    return total


def damage(agent, match, ball, build) -> float:
    """Damage of an attack on actions, as a share of the optimum."""
    acting, shown, inside = on_actions(agent, match, ball)
    team = AttackedTeam(acting, build(acting, shown, inside), torch.Generator().manual_seed(0))
    clean = play(match, AttackedTeam(agent, None, torch.Generator())).reward.sum()
    attacked = play(shown, team).reward.sum()
    return float((clean - attacked) / (clean - optimum(match, ball.epsilon).sum()))


def pushing(sign=1.0):
    """Build the adversary that moves every attackable number by ε."""

    def build(agent, match, ball):
        count = int(ball.mask.sum())
        return LearnedAdversary(ball, lambda x: torch.full((len(x), count), sign), squash=False)

    return build


def test_without_attack_the_game_is_the_same_and_the_choice_is_shown():
    agent, match = steering(), drift()
    acting, shown, _ = on_actions(agent, match, Ball("linf", EPSILON))
    plain = play(match, AttackedTeam(agent, None, torch.Generator()))
    found = play(shown, AttackedTeam(acting, None, torch.Generator()))
    assert torch.equal(found.reward, plain.reward)
    assert torch.equal(found.action, plain.action)
    assert torch.equal(found.observation, torch.cat([plain.observation, plain.action], -1))
    assert shown.feature_names[-2:] == ("action[0]", "action[1]")


@pytest.mark.parametrize("head", [None, SquashedGaussianHead(-torch.ones(2), torch.ones(2))])
def test_the_adversary_changes_what_is_done_within_the_bounds(head):
    if head is None:
        agent = steering()
    else:
        agent = Agent(nn.Linear(2, 4).requires_grad_(False), head, 2, "raw")
    acting, shown, ball = on_actions(agent, drift(), Ball("linf", 0.7))
    team = AttackedTeam(acting, pushing()(acting, shown, ball), torch.Generator())
    record = play(shown, team)
    seen, chosen = record.observation.split(2, -1)
    torch.testing.assert_close(chosen, agent.head.act(agent(seen)))
    assert bool((chosen > 0.3).any())
    torch.testing.assert_close(record.action, (chosen + 0.7).minimum(agent.head.high))


def test_norm_mask_scale_and_box_are_those_of_actions():
    mask, scale = torch.tensor([True, False]), torch.tensor([2.0, 1.0])
    ball = Ball("l2", 0.1, mask=mask, scale=scale, low=-0.1, high=torch.tensor([0.1, 9.0]))
    _, _, inside = on_actions(steering(), drift(), ball)
    assert inside.mask.tolist() == [False, False, True, False]
    assert inside.scale.tolist() == [1.0, 1.0, 2.0, 1.0]
    far = torch.inf
    torch.testing.assert_close(inside.low, torch.tensor([-far, -far, -0.1, -0.1]))
    torch.testing.assert_close(inside.high, torch.tensor([far, far, 0.1, 0.6]))
    x, delta = torch.zeros(1, 4), torch.ones(1, 4)
    torch.testing.assert_close(inside.project(delta, x), torch.tensor([[0, 0, 0.1, 0]]))


def test_the_optimum_is_the_outward_push():
    ball = Ball("linf", EPSILON)

    def outward(agent, match, ball):
        return LearnedAdversary(ball, lambda x: x[:, :2].sign(), squash=False)

    assert damage(steering(), drift(), ball, outward) == pytest.approx(1, abs=1e-4)
    noise = damage(steering(), drift(), ball, lambda agent, match, ball: UniformNoise(ball))
    assert noise < 0.3


@pytest.mark.parametrize(("kind", "least"), [("sa_rl", 0.9), ("pa_ad", 0.99)])
def test_a_learned_attacker_nearly_reaches_it(kind, least):
    """SA-RL commands numbers in the ball and comes to its faces slowly; PA-AD goes to corners."""
    ppo = PPOConfig(environments=64, epochs=4, learning_rate=1e-2, entropy=0.0, discount=1.0)

    def build(agent, match, ball):
        return train_attacker(agent, match, ball, kind, AttackerConfig(20, ppo))

    assert least <= damage(steering(), drift(), Ball("linf", EPSILON), build) <= 1 + 1e-6


def examined(agent, suite="quick", **settings) -> Report:
    suite = dataclasses.replace(AGENT_SUITES[suite], effort=EFFORT)
    return examine(
        agent, drift(), Ball("linf", EPSILON), suite, threat="actions", episodes=20, epsilons=(),
        **settings,
    )  # fmt: skip


def test_the_critic_knows_the_way_and_needs_no_gradient_of_the_agent(tmp_path):
    report = examined(steering(differentiable=False), directory=tmp_path, film=True)
    assert report.attacks == ("noise", "critic_0", "square")
    assert report.unit == f"L∞, {UNIT}"
    assert report.environment["threat"] == "actions"
    assert report.ball["features"] is None
    clean, worst = report.clean.estimate, float(optimum(drift(20, 0), EPSILON).mean())
    for name in ("critic_0", "square"):
        assert (clean - report.estimate(name, EPSILON)) / (clean - worst) > 0.85, name
    assert report.worst.mean_return.estimate >= worst - 1e-6
    held = {check.name: check.held for check in report.agents[0].checks}
    assert held["the ball"]
    assert held["noise"]
    assert held["the seed"]
    assert report.film.startswith("data:image/png")
    assert "what the agent chose" in report.save(tmp_path / "page.html").read_text()
    other = examine(steering(), drift(), Ball("linf", EPSILON), suite_of_noise(), episodes=20)
    assert other.agents[0].assessment.clean.returns == report.agents[0].assessment.clean.returns


def suite_of_noise() -> Suite:
    return Suite("noise", 1, EFFORT, AGENT_SUITES["quick"].attacks[:1])


@pytest.mark.filterwarnings("ignore::aajr.adversaries.MaskedGradientWarning")
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_every_attack_on_actions_stays_in_the_ball(norm):
    effort = dataclasses.replace(
        EFFORT, steps=2, queries=8, attacker_iterations=1, attacker_environments=4,
        critic_episodes=10, critic_updates=20, generations=1,
    )  # fmt: skip
    suite = dataclasses.replace(AGENT_SUITES["thorough"], effort=effort)
    ball = Ball(norm, EPSILON, mask=torch.tensor([True, False]))
    report = examine(steering(), drift(), ball, suite, threat="actions", episodes=4, epsilons=())
    assert not report.agents[0].failures
    assert {"noise", "critic_2", "robust_sarsa_1", "sa_rl_far", "steered"} <= set(report.attacks)
    assert not {"pgd_mad", "value", "transfer", "dropped", "sparse"} & set(report.attacks)
    for trial in report.agents[0].assessment.trials:
        assert trial.score.largest_perturbation <= trial.score.epsilon * (1 + 1e-4)


def test_a_recurrent_agent_remembers_what_it_saw():
    class Two(Signs):
        features = 2

        def resized(self, episodes, seed):
            return Two(episodes, seed)

    acting, shown, ball = on_actions(Summing(), Two(3, 0), Ball("linf", 0.5))
    record = play(shown, AttackedTeam(acting, pushing()(acting, shown, ball), torch.Generator()))
    seen, chosen = record.observation.split(2, -1)
    torch.testing.assert_close(chosen, seen.cumsum(1))
    torch.testing.assert_close(record.action, chosen + 0.5)


def test_the_attacker_is_an_environment_of_gymnasium():
    env = adversary_env(steering(), drift(1), Ball("linf", EPSILON), threat="actions")
    assert env.observation_space.shape == (4,)
    assert env.action_space.shape == (2,)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*(infinity|spec).*")
        check_env(env, skip_render_check=True)
    seen, _ = env.reset(seed=0)
    after, reward, *ends, _ = env.step(np.array([1.0, -1.0], np.float32))
    np.testing.assert_allclose(after[:2], seen[:2] / 2 + [EPSILON, -EPSILON], atol=1e-6)
    np.testing.assert_allclose(after[2:], -after[:2] / 2, atol=1e-6)
    assert reward == pytest.approx(float(after[0]) ** 2, abs=1e-6)
    assert ends == [False, False]


def test_sources_do_not_lie_where_actions_are_attacked():
    radio = WithSources(drift(2), torch.tensor([0, 1]), 1)
    _, shown, _ = on_actions(steering(), radio, Ball("linf", EPSILON))
    assert isinstance(shown.environment, GymnasiumEnvironment)
    assert shown.attackable("actions").tolist() == [False, False, True, True]
    assert shown.attackable("full").tolist() == [True, True, False, False]


def test_an_action_has_names():
    head = DeterministicHead(-torch.ones(3), torch.ones(3))
    assert action_features(head).selected(["0", "action[2]"]).tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: on_actions(balancer(), cartpole(), Ball("l2", 0.1)), "norm='l2'"),
        (lambda: on_actions(balancer(), cartpole(), Ball("linf", 1.1)), r"epsilon=1\.1"),
        (lambda: on_actions(balancer(), cartpole(), Ball("linf", 0.1, low=0.0)), "or a mask"),
        (lambda: action_features(CategoricalHead((2,))), "actions are no numbers"),
        (
            lambda: on_actions(steering(), drift(), Ball("linf", 0.1, mask=torch.ones(3).bool())),
            "mask of shape",
        ),
        (
            lambda: examine(steering(), drift(), Ball("linf", 0.1), threat="thoughts"),
            "threat='thoughts'",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_match_of_shown_actions_is_scored():
    from aajr.arena.attacks.victim import Victim

    acting, shown, ball = on_actions(steering(), drift(4), Ball("linf", EPSILON))
    victim = Victim(acting, shown, "actions", EFFORT, template=ball)
    assert not victim.on_logits
    spec = suite_of_noise().attacks[0]
    found = attacked_match(victim, spec, spec.build(victim.ball(EPSILON), victim)).score
    assert 0.5 * EPSILON < found.largest_perturbation <= EPSILON + 1e-6
