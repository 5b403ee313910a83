"""The fleet's world: motion, arrival, collision, reports and what a lie may change."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import vmas
from torch import Tensor

from aajr.adversaries import UniformNoise
from aajr.arena.attacks.builders import liars
from aajr.arena.attacks.victim import Victim
from aajr.arena.environments.episodes import AttackedTeam, play
from aajr.arena.settings import Effort
from aajr.geometry import Ball
from aajr.studies.fleet._environment import Crossing
from aajr.studies.fleet._training import actor_of
from aajr.studies.fleet._world import TRUSTED, Fleet, FleetConfig, velocity

QUIET = FleetConfig(vehicles=3, noise=0.0, prize=4.0, cost=1.0)


def fleet_at(position: list[list[float]], goal: list[list[float]], config: FleetConfig) -> Fleet:
    """One environment with given positions and goals; every vehicle faces its goal."""
    fleet = Fleet(config)
    fleet.seed(0)
    fleet.env_make_world(1, torch.device("cpu"))
    fleet.reset_world_at()
    fleet.position, fleet.goal = torch.tensor([position]).float(), torch.tensor([goal]).float()
    way = fleet.goal - fleet.position
    fleet.ahead = way / way.norm(dim=-1, keepdim=True)
    return fleet


def apart() -> Fleet:
    """Three vehicles that drive to the right, far from each other."""
    return fleet_at([[0, 0], [0, 1], [0, -1]], [[1, 0], [1, 1], [1, -1]], QUIET)


def act(fleet: Fleet, action: list[float]) -> None:
    fleet.act(torch.tensor(action).expand(1, fleet.config.vehicles, 2))


def test_a_vehicle_moves_in_its_own_frame_and_earns_its_progress():
    fleet = fleet_at([[0, 0], [0, 1], [1, -1]], [[0, 1], [1, 1], [0, -1]], QUIET)
    act(fleet, [1.0, 0.0])
    step = QUIET.speed
    torch.testing.assert_close(
        fleet.position, torch.tensor([[[0, step], [step, 1], [1 - step, -1]]])
    )
    torch.testing.assert_close(fleet.rewards, torch.full((1, 3), step))
    act(fleet, [0.0, 1.0])  # to the left of the way
    torch.testing.assert_close(fleet.position[0, 0], torch.tensor([-step, step]))
    torch.testing.assert_close(fleet.position[0, 2], torch.tensor([1 - step, -1 - step]))


def test_no_action_is_faster_than_the_greatest_speed():
    actions = torch.cartesian_prod(torch.arange(3), torch.arange(5))
    for action in velocity(actions):
        fleet = apart()
        start = fleet.position
        act(fleet, action.tolist())
        assert bool(((fleet.position - start).norm(dim=-1) <= QUIET.speed + 1e-6).all())


def test_vehicles_collide_below_two_radii_and_pay_at_every_step():
    gap = 2 * QUIET.radius
    close = [[0, 0], [0, gap - 0.001], [0, -gap - 0.001]]
    fleet = fleet_at(close, [[1, y] for _, y in close], QUIET)
    for _ in range(2):
        act(fleet, [1.0, 0.0])
        assert fleet.colliding.tolist() == [[True, True, False]]
        paid = torch.tensor([[1.0, 1.0, 0.0]])
        torch.testing.assert_close(fleet.rewards, QUIET.speed - QUIET.cost * paid)


def test_a_vehicle_that_arrives_gets_the_prize_once_and_leaves():
    end = 1 - QUIET.reach - QUIET.speed / 2
    fleet = fleet_at([[end, 0], [0, 0.5], [0, -1]], [[1, 0], [1, 0.5], [1, -1]], QUIET)
    act(fleet, [1.0, 0.0])
    assert fleet.arrived.tolist() == [[True, False, False]]
    prize = QUIET.speed + torch.tensor([[QUIET.prize, 0.0, 0.0]])
    torch.testing.assert_close(fleet.rewards, prize)
    fleet.position[0, 1] = fleet.position[0, 0]  # a ghost: it left, so nobody can hit it
    place = fleet.position[0, 0].clone()
    act(fleet, [0.0, 0.0])
    assert not bool(fleet.colliding.any())
    assert fleet.rewards[0, 0] == 0
    torch.testing.assert_close(fleet.position[0, 0], place)


def test_without_noise_every_report_is_where_the_nearest_driving_vehicle_is():
    fleet = fleet_at([[0, 0], [0, 1], [0.5, 0]], [[0, 1], [1, 1], [1, 0]], QUIET)
    act(fleet, [0.0, 0.0])
    reports = fleet.observations[0, :, TRUSTED:].reshape(3, QUIET.sources, 2)
    # vehicle 0 faces up, and the nearest one stands to its right; 1 sees 0 behind its right side
    expected = torch.tensor([[0.0, -0.5], [0.0, -1.0], [-0.5, 0.0]]).unsqueeze(1)
    torch.testing.assert_close(reports, expected.expand_as(reports))
    torch.testing.assert_close(fleet.observations[0, 0, :2], torch.tensor([1.0, 0.0]))
    fleet.arrived[0] = torch.tensor([True, True, False])
    act(fleet, [0.0, 0.0])
    alone = fleet.observations[0, 2, TRUSTED:].reshape(-1, 2)
    assert alone.tolist() == [[2.0, 0.0]] * QUIET.sources


def test_the_noise_of_reports_is_independent_with_the_given_deviation():
    match = Crossing(FleetConfig(), episodes=400, seed=1)
    state = match.reset()
    reports = state.observation[..., TRUSTED:].reshape(-1, 5, 2)
    error = reports - state.fleet.nearest().reshape(-1, 1, 2)
    errors = error.flatten(1)[reports.abs().amax((1, 2)) < 2]  # reports end at the arena's size
    covariance = torch.cov(errors.T)
    torch.testing.assert_close(
        covariance, match.config.noise**2 * torch.eye(10), atol=0.1 * match.config.noise**2, rtol=0
    )


def test_the_layout_names_a_source_for_both_features_of_a_report():
    config = FleetConfig(sources=3, liars=1)
    assert config.reporters.tolist() == [-1] * TRUSTED + [0, 0, 1, 1, 2, 2]
    match = Crossing(config, 1, 0)
    assert match.features == len(match.sources) == match.reset().observation.shape[-1]
    assert torch.equal(match.attackable("reports"), match.sources >= 0)


def test_a_lie_touches_k_sources_of_every_vehicle_and_nothing_else():
    match = Crossing(FleetConfig(vehicles=4, steps=6), episodes=8, seed=2)
    actor = actor_of(match.config, (8,), None, torch.Generator().manual_seed(0))
    victim = Victim(actor, match, "reports", Effort())
    attack = liars("random", lambda ball, victim: UniformNoise(ball))(victim.ball(0.5), victim)
    x = match.reset().observation.flatten(0, 1)
    delta = attack(actor, x, torch.Generator().manual_seed(3)).worst - x
    assert bool((delta[:, :TRUSTED] == 0).all())
    moved = (delta[:, TRUSTED:].reshape(len(x), 5, 2) != 0).any(-1).sum(1)
    assert moved.tolist() == [2] * len(x)
    assert bool((delta.abs() <= 0.5 + 1e-6).all())
    assert bool(((x + delta).abs()[:, TRUSTED:] <= 2).all())


def test_starts_depend_on_the_seed_alone():
    def start(seed: int, episodes: int = 3) -> Tensor:
        return Crossing(FleetConfig(), episodes, seed).reset().fleet.position

    torch.rand(7)
    assert torch.equal(start(5), start(5))
    assert not torch.equal(start(5), start(6))


def test_who_collided_did_not_arrive_unhurt():
    match = Crossing(FleetConfig(), episodes=4, seed=0)
    straight = play(match, lambda x, _: torch.tensor([2, 2]).expand(*x.shape[:2], 2))
    assert bool(straight.arrived.all())
    assert not bool(straight.unhurt.all())
    assert torch.equal(straight.unhurt, straight.arrived & ~straight.collided)
    assert torch.equal(straight.won, straight.unhurt.float().mean(1) >= 0.8)
    assert straight.observation.shape == (4, 48, 10, match.features)


def test_vmas_plays_the_same_world():
    config = dataclasses.replace(QUIET, steps=4)
    env = vmas.make_env(Fleet(config), num_envs=2, max_steps=4, seed=0)
    env.reset()
    own = fleet_at([[0, 0]] * 3, [[1, 0]] * 3, config)
    for name in ("position", "goal", "ahead"):
        setattr(own, name, getattr(env.scenario, name).clone())
    own.arrived, own.time = torch.zeros(2, 3, dtype=torch.bool), torch.zeros(2, 1)
    action = torch.tensor([0.8, -0.3]).expand(2, 3, 2)
    observations, rewards, done, info = env.step(list(action.unbind(1)))
    own.act(action)
    torch.testing.assert_close(torch.stack(observations, 1), own.observations)
    torch.testing.assert_close(torch.stack(rewards, 1), own.rewards)
    assert set(info[0]) == {"arrived", "colliding"}
    assert not bool(done.any())


def test_one_environment_restarts_alone():
    env = vmas.make_env(Fleet(QUIET), num_envs=3, max_steps=9, seed=0)
    env.reset()
    env.step([torch.ones(3, 2)] * 3)
    before = env.scenario.position.clone()
    env.reset_at(1)
    assert torch.equal(env.scenario.position[::2], before[::2])
    assert not torch.equal(env.scenario.position[1], before[1])
    assert env.scenario.time.flatten().tolist() == [1.0, 0.0, 1.0]


def test_an_attacked_team_plays_to_the_end():
    match = Crossing(FleetConfig(vehicles=4, steps=5), episodes=3, seed=0)
    actor = actor_of(match.config, (8,), "median", torch.Generator().manual_seed(0))
    noise = UniformNoise(Ball("linf", 0.2, mask=match.sources >= 0))
    record = play(match, AttackedTeam(actor, noise, torch.Generator().manual_seed(0)))
    assert bool(record.played.all())
    assert record.action.shape == (3, 5, 4, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"liars": 5}, "leaves no honest one of sources=5"),
        ({"vehicles": 1}, "vehicles=1 is not allowed"),
        ({"speed": 0.0}, "speed=0.0 is not allowed"),
        ({"noise": -0.1}, "noise=-0.1 is not allowed"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        FleetConfig(**change)
