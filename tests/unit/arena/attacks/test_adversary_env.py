"""The attacker's environment: Gymnasium's checks, and equality with the arena's own rollouts."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from torch import nn

from aajr import Ball
from aajr.arena.agents.agent import Agent
from aajr.arena.attacks.adversary_envs import adversary_env, trained_attack
from aajr.arena.attacks.learned import Attacker, AttackerConfig, build_attack
from aajr.arena.attacks.learned._collection import Commanded, play_commanded
from aajr.arena.attacks.victim import Victim
from aajr.arena.environments.episodes import AttackedTeam, play
from aajr.arena.environments.gymnasium import GymnasiumEnvironment
from aajr.arena.environments.sources import WithSources
from aajr.arena.examination.trials import attacked_match
from aajr.arena.settings import Effort
from aajr.arena.spaces.heads import CategoricalHead
from aajr.geometry import Sparse
from tests.unit.arena.environments.test_environments import Signs
from tests.unit.arena.environments.test_gymnasium import balancer, cartpole
from tests.unit.arena.environments.test_pettingzoo import VICTIM, fading
from tests.unit.arena.reports.test_film import Clock

BALL = Ball("linf", 0.3, mask=torch.tensor([True, False, True, True]))


def radio(episodes: int = 1, seed: int = 0) -> WithSources:
    return WithSources(cartpole(episodes, seed), torch.tensor([0, 1, 2, 2]), 1)


def attackers() -> list:
    """Kind, environment and threat of every kind of attacker."""
    return [
        ("sa_rl", cartpole(), "full"),
        ("pa_ad", cartpole(), "full"),
        ("sa_rl", radio(), "reports"),
        ("pa_ad", radio(), "reports"),
    ]


pytestmark = pytest.mark.filterwarnings("ignore::aajr.MaskedGradientWarning")

IDS = ["sa_rl", "pa_ad", "sa_rl reports", "pa_ad reports"]


@pytest.mark.parametrize(("kind", "environment", "threat"), attackers(), ids=IDS)
def test_gymnasiums_checker_accepts_it(kind, environment, threat):
    env = adversary_env(balancer(), environment, BALL, kind, threat=threat)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*(infinity|spec).*")
        check_env(env, skip_render_check=True)


@pytest.mark.parametrize(("kind", "environment", "threat"), attackers(), ids=IDS)
def test_rewards_are_those_of_the_arenas_rollout_for_the_same_commands(kind, environment, threat):
    """The commands that an untrained attacker samples in the arena's own collection."""
    seed, agent = 5, balancer()
    env = adversary_env(agent, environment, BALL, kind, threat=threat)
    sources = 3 if threat == "reports" else 0
    attacker = Attacker(
        4, env.action_space.shape[0] - sources, (8,), 1.0, torch.Generator().manual_seed(1),
        sources, min(sources, 1),
    )  # fmt: skip
    own = build_attack(kind, env.ball, attacker, AttackerConfig())
    generator = torch.Generator().manual_seed(2)
    match = environment.resized(1, seed)
    data, record = play_commanded(match, agent, Commanded(attacker, own), generator)
    commands = data["team", "action"][0, :, 0].clone()
    if kind == "sa_rl":
        size = commands.shape[1] - sources
        commands[:, :size] = commands[:, :size].tanh()
    seen, _ = env.reset(seed=seed)
    for step, command in enumerate(commands):
        assert np.array_equal(seen, record.observation[0, step, 0].numpy())
        seen, reward, terminated, truncated, info = env.step(command.numpy())
        assert reward == -float(record.reward[0, step, 0]) == -info["victim_reward"]
        last = step == len(commands) - 1
        assert terminated == (last and bool(record.terminated[0]))
        assert truncated == (last and bool(record.truncated[0]))
    assert np.isfinite(seen).all()
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(commands[0].numpy())


def test_an_action_is_the_share_of_the_radius():
    scaled = Ball("linf", 0.1, scale=torch.tensor([1.0, 2.0, 3.0, 4.0]), mask=BALL.mask)
    seen = []

    class Watching(nn.Linear):
        def forward(self, x):
            seen.append(x.clone())
            return super().forward(x)

    network = Watching(4, 2).requires_grad_(False)
    env = adversary_env(Agent(network, CategoricalHead((2,)), 4, "raw"), "CartPole-v1", scaled)
    true, _ = env.reset(seed=0)
    seen.clear()
    env.step(np.array([1.0, -0.5, 0.0], np.float32))
    shown = {tuple((x[0] - torch.as_tensor(true)).mul(1e4).round().tolist()) for x in seen}
    assert (1000.0, 0.0, -1500.0, 0.0) in shown


def test_a_limit_truncates_and_an_end_terminates():
    def flags(environment):
        env = adversary_env(balancer(), environment, Ball("linf", 0.1))
        env.reset(seed=0)
        while True:
            _, _, terminated, truncated, _ = env.step(np.zeros(4, np.float32))
            if terminated or truncated:
                return terminated, truncated

    assert flags(cartpole(limit=5)) == (False, True)
    assert flags(cartpole()) == (True, False)


def test_unseeded_episodes_differ_and_repeat_after_a_seed():
    env = adversary_env(balancer(), "CartPole-v1", Ball("linf", 0.1))

    def starts():
        return [env.reset(seed=4)[0], *(env.reset()[0] for _ in range(3))]

    first, second = starts(), starts()
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert len({start.tobytes() for start in first}) == 4


@pytest.mark.parametrize(("kind", "environment", "threat"), attackers(), ids=IDS)
def test_a_trained_policy_plays_back_as_it_did_in_training(kind, environment, threat):
    env = adversary_env(balancer(), environment, BALL, kind, threat=threat)
    size = env.action_space.shape[0]
    policy = nn.Linear(4, size).requires_grad_(False)
    policy.weight.copy_(torch.randn(size, 4, generator=torch.Generator().manual_seed(3)) * 20)
    seen, _ = env.reset(seed=9)
    rewards, over = [], False
    while not over:
        action = policy(torch.as_tensor(seen)).clamp(-1, 1).numpy()
        seen, reward, terminated, truncated, _ = env.step(action)
        rewards.append(-reward)
        over = terminated or truncated
    template = None if threat == "reports" else BALL
    match = environment.resized(1, 9)
    victim = Victim(balancer(), match, threat, Effort(), template=template)
    spec = trained_attack(policy, kind)
    adversary = spec.build(victim.ball(0.3), victim)
    assert isinstance(adversary.ball, Sparse) == (threat == "reports")
    found = attacked_match(victim, spec, adversary)
    assert found.record.returns.tolist() == [sum(rewards)]
    assert spec.name == "trained"


def test_a_model_of_stable_baselines_trains_and_plays_back():
    sb3 = pytest.importorskip("stable_baselines3")
    # the victim ends its episode at the time 8 that it sees; an attacker can put the clock back
    network = nn.Linear(2, 2).requires_grad_(False)
    network.weight.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
    network.bias.copy_(torch.tensor([0.0, -7.5]))
    agent = Agent(network, CategoricalHead((2,)), 2, "raw")
    clock = GymnasiumEnvironment(Clock, 1, 0, limit=12)
    ball = Ball("linf", 6.0, mask=torch.tensor([True, False]))
    env = adversary_env(agent, clock, ball)
    model = sb3.PPO(
        "MlpPolicy", env, seed=0, n_steps=128, batch_size=64, learning_rate=0.01, device="cpu",
        policy_kwargs={"net_arch": [16]},
    ).learn(1024)  # fmt: skip
    victim = Victim(agent, clock, "full", Effort(), template=ball)
    spec = trained_attack(model)
    attacked = attacked_match(victim, spec, spec.build(victim.ball(6.0), victim))
    # the greatest harm is to make it stop early; at time 2 a shift of 6 is enough
    assert attacked_match(victim).score.mean_return == 9
    assert 3 <= attacked.score.mean_return <= 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: adversary_env(balancer(), "CartPole-v1", BALL, "love"), "kind='love'"),
        (lambda: adversary_env(balancer(), "Acrobot-v1", BALL), "reads 4 features"),
        (lambda: adversary_env(balancer(), Signs(2, 0), BALL), "features"),
        (
            lambda: adversary_env(balancer(), cartpole(), BALL, threat="reports"),
            "is not known here",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


TEAM = Ball("linf", 0.8)


@pytest.mark.parametrize("kind", ["sa_rl", "pa_ad"])
def test_a_coalition_is_attacked_by_one_action(kind):
    """The arena's rollout of the same commands, in which agents leave at different times."""
    match, seed = fading(("b", "a"), episodes=1), 7
    env = adversary_env(VICTIM, match, TEAM, kind)
    assert env.observation_space.shape == (2 * 3,)
    attacker = Attacker(3, env.action_space.shape[0] // 2, (8,), 1.0, source(1))
    own = build_attack(kind, env.ball, attacker, AttackerConfig())
    match = match.resized(1, seed)
    data, record = play_commanded(match, VICTIM, Commanded(attacker, own), source(2))
    assert not bool(record.alive.all())
    commands = data["team", "action"][0].clone()
    commands = commands.tanh() if kind == "sa_rl" else commands
    seen, _ = env.reset(seed=seed)
    for step, command in enumerate(commands):
        assert np.array_equal(seen, record.observation[0, step].flatten().numpy())
        seen, reward, terminated, truncated, _ = env.step(command.flatten().numpy())
        assert reward == -float(record.reward[0, step].mean())
        assert terminated == (step == len(commands) - 1)
        assert not truncated


def test_a_policy_for_a_coalition_plays_back_as_it_did_in_training():
    match = fading(("b", "a"), episodes=1)
    env = adversary_env(VICTIM, match, TEAM)
    policy = nn.Linear(6, 6).requires_grad_(False)
    policy.weight.copy_(torch.randn(6, 6, generator=source(3)) * 20)
    seen, _ = env.reset(seed=9)
    total, over = 0.0, False
    while not over:
        action = policy(torch.as_tensor(seen)).clamp(-1, 1).numpy()
        seen, reward, terminated, truncated, _ = env.step(action)
        total, over = total - reward, terminated or truncated
    victim = Victim(VICTIM, match.resized(1, 9), "full", Effort(), template=TEAM)
    spec = trained_attack(policy)
    found = attacked_match(victim, spec, spec.build(victim.ball(0.8), victim))
    assert found.score.mean_return == total
    many = Victim(VICTIM, match.resized(5, 9), "full", Effort(), template=TEAM)
    rewards = attacked_match(many, spec, spec.build(many.ball(0.8), many)).record.reward
    assert float(rewards[0].sum(0).mean()) == total


def test_a_team_is_an_environment_of_gymnasium():
    env = adversary_env(VICTIM, fading(("b", "a")), TEAM)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*(infinity|spec).*")
        check_env(env, skip_render_check=True)


def test_rewards_must_be_told_at_every_step():
    agent = Agent(nn.Linear(6, 2), CategoricalHead((2,)), 6, "raw")
    with pytest.raises(ValueError, match="does not tell rewards before its end"):
        adversary_env(agent, Signs(2, 0), Ball("linf", 0.1)).reset()


def source(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_clean_team_is_what_no_attack_plays():
    env = adversary_env(balancer(), cartpole(), BALL)
    env.reset(seed=3)
    total, over = 0.0, False
    while not over:
        _, reward, terminated, truncated, _ = env.step(np.zeros(3, np.float32))
        total, over = total - reward, terminated or truncated
    record = play(cartpole(1, 3), AttackedTeam(balancer(), None, torch.Generator()))
    assert record.returns.tolist() == [total]
