"""Robust Sarsa: the fit against known values, the bound against a search, and what it buys."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from aajr import AutoPGD, Ball, Categorical, Critic, Divergence, Mixture, objective_scale
from aajr.arena.attacks.critics import (
    OnlineValue,
    action_bound,
    fit_critic,
    fit_robust_sarsa,
    returns_to_go,
)
from aajr.arena.environments.episodes import Experience
from aajr.arena.spaces.heads import one_hot

HEADS = (3, 2)


def experience(episodes: int = 60, steps: int = 8, seed: int = 0) -> Experience:
    """The reward is the first feature where the first head says 0; states are drawn afresh."""
    generator = torch.Generator().manual_seed(seed)
    observation = torch.randn(episodes, steps, 2, 4, generator=generator)
    choices = [torch.randint(size, (episodes, steps, 2, 1), generator=generator) for size in HEADS]
    action = one_hot(torch.cat(choices, -1), HEADS)
    return Experience(observation, action, observation[..., 0] * action[..., 0])


def value_net(seed: int = 0) -> OnlineValue:
    critic = OnlineValue(4, 5, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        critic.network[-1].weight.mul_(100)
    return critic


def test_sarsa_without_a_future_learns_the_reward():
    data = experience(200)
    critic, fit = fit_robust_sarsa(
        data, torch.Generator().manual_seed(0), weight=0.0, discount=0.0, epochs=30, batch=256
    )
    assert fit > 0.95
    assert not any(p.requires_grad for p in critic.parameters())


def test_sarsa_learns_the_value_that_bootstrapping_carries_back():
    """The only reward is at the end, so that a Q without bootstrapping would be flat before."""
    steps, episodes, discount = 5, 100, 0.9
    time = torch.eye(steps).expand(episodes, steps, steps).unsqueeze(2)
    sign = torch.randn(episodes, 1, 1, 1, generator=torch.Generator().manual_seed(3)).sign()
    observation = torch.cat([time, sign.expand(-1, steps, -1, -1)], -1)
    reward = torch.zeros(episodes, steps, 1)
    reward[:, -1] = sign[:, 0, :, 0]
    data = Experience(observation, torch.ones(episodes, steps, 1, 2), reward)
    critic, fit = fit_robust_sarsa(
        data,
        torch.Generator().manual_seed(0),
        weight=0.0,
        discount=discount,
        epochs=80,
        batch=100,
    )
    wanted = returns_to_go(reward, discount)
    assert fit > 0.95
    found = critic(observation, data.action) * wanted.std() + wanted.mean()
    torch.testing.assert_close(found, wanted, atol=0.15, rtol=0)


def uneven(filling: float) -> Experience:
    """Episodes of one to six steps, each worth 1, that know how many are left."""
    left = (torch.arange(60) % 6 + 1).unsqueeze(1) - torch.arange(6)
    played = left > 0
    observation = torch.where(played, left / 6, filling)[..., None, None].expand(-1, -1, 1, 2)
    action = torch.where(played, 0.5, filling)[..., None, None]
    return Experience(observation, action, played.float().unsqueeze(-1), played)


@pytest.mark.parametrize("fit", [fit_critic, fit_robust_sarsa])
def test_episodes_of_unequal_length_are_valued_to_their_own_end(fit):
    data = uneven(0.0)
    settings = {"discount": 0.5, "epochs": 60, "batch": 32}
    critic, quality = fit(data, torch.Generator().manual_seed(0), **settings)
    assert quality > 0.95
    value = critic(data.observation, data.action).squeeze(-1)[data.played]
    left = (6 * data.observation[..., 0, 0])[data.played]
    known = 2 * (1 - 0.5**left)
    # values are in standard deviations of the returns, about their mean
    torch.testing.assert_close(value * known.std() + known.mean(), known, atol=0.15, rtol=0)
    other, _ = fit(uneven(7.0), torch.Generator().manual_seed(0), **settings)
    assert torch.equal(critic.network[0].weight, other.network[0].weight)


@pytest.mark.parametrize("radius", [0.05, 0.3, 1.0])
def test_the_bound_on_the_action_is_sound(radius):
    critic, generator = value_net(), torch.Generator().manual_seed(1)
    observation = torch.randn(64, 4, generator=generator)
    action = torch.rand(64, 5, generator=generator)
    bound = action_bound(critic, observation, action, radius)
    largest = torch.zeros(64)
    for _ in range(200):
        moved = action + radius * (2 * torch.rand(64, 5, generator=generator) - 1).sign()
        change = critic(observation, moved.clamp(0, 1)) - critic(observation, action)
        largest = torch.maximum(largest, change.abs())
    assert bool((bound >= largest - 1e-6).all())


def test_the_bound_is_exact_for_a_linear_critic_and_vanishes_without_a_radius():
    critic = value_net()
    critic.network = torch.nn.Sequential(torch.nn.Linear(9, 1))
    observation, action = torch.zeros(3, 4), torch.full((3, 5), 0.5)
    expected = 0.2 * critic.network[0].weight[0, 4:].abs().sum()
    torch.testing.assert_close(action_bound(critic, observation, action, 0.2), expected.expand(3))
    zero = action_bound(critic, observation, action, 0.0)
    torch.testing.assert_close(zero, torch.zeros(3), atol=1e-6, rtol=0)


def test_only_layers_with_interval_bounds_are_bounded():
    critic = value_net()
    critic.network = torch.nn.Sequential(torch.nn.Linear(9, 1), torch.nn.GELU())
    with pytest.raises(ValueError, match=r"critic.network holds GELU"):
        action_bound(critic, torch.zeros(3, 4), torch.zeros(3, 5), 0.2)


def test_a_heavier_bound_makes_q_flatter_in_the_action():
    data = experience()
    slopes = []
    for weight in (0.0, 0.3, 3.0):
        critic, _ = fit_robust_sarsa(data, torch.Generator().manual_seed(0), weight=weight)
        rows = data.observation.flatten(0, 2), data.action.flatten(0, 2)
        slopes.append(float(action_bound(critic, *rows, 0.1).mean()))
    assert slopes[0] > slopes[1] > slopes[2]


def test_only_the_generator_decides():
    weights = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        critic, _ = fit_robust_sarsa(experience(20), torch.Generator().manual_seed(0), epochs=1)
        weights.append(critic.network[0].weight)
    assert torch.equal(*weights)


def test_robust_sarsa_and_its_mixture_lower_the_reward_they_never_saw():
    data = experience(200)
    generator = torch.Generator().manual_seed(0)
    critic, _ = fit_robust_sarsa(data, generator, discount=0.0, epochs=20, batch=256)
    weight = torch.zeros(4, 5)
    weight[0, 0] = 4.0

    def victim(x: Tensor) -> Tensor:
        return x @ weight

    def reward(shown: Tensor) -> float:
        return float((x[:, 0] * metric.probabilities(victim(shown))[:, 0]).mean())

    metric, ball = Categorical(HEADS), Ball("linf", 0.5)
    x = torch.randn(128, 4, generator=generator)
    value, change = Critic(critic, metric.probabilities), Divergence(metric)
    scales = [objective_scale(ell, victim, x, ball, generator) for ell in (value, change)]
    attacks = [AutoPGD(ball, value), AutoPGD(ball, Mixture(value, change, 0.5, *scales))]
    for attack in attacks:
        assert reward(attack(victim, x, generator).worst) < reward(x) - 0.05


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"radius": -1.0}, "radius=-1.0 is not allowed"),
        ({"weight": float("nan")}, "weight=nan is not allowed"),
        ({"discount": 1.5}, "discount=1.5 is not allowed"),
        ({"epochs": 0}, "epochs=0 is not allowed"),
    ],
)
def test_bad_settings_are_refused(settings, message, generator):
    with pytest.raises(ValueError, match=message):
        fit_robust_sarsa(experience(20), generator, **settings)


@pytest.mark.parametrize("fit", [fit_critic, fit_robust_sarsa])
def test_few_episodes_are_refused(fit, generator):
    with pytest.raises(ValueError, match="experience has 9 episodes; collect at least 10"):
        fit(experience(9), generator)
