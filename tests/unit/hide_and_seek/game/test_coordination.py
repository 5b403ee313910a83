"""Coordination measures against closed forms."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aajr.arena.environments.episodes import AttackedTeam, play
from aajr.hide_and_seek.game.coordination import (
    action_symbols,
    box_use,
    coordination,
    coverage,
    mutual_information,
    role_rates,
    role_separation,
    team_information,
)
from aajr.hide_and_seek.game.matches import Match
from tests.unit.arena.teams import FEATURES, GAME, random_actor


@pytest.fixture(scope="module")
def record():
    match = Match(GAME, [random_actor(1, FEATURES["seeker"])], episodes=24, seed=5)
    team = AttackedTeam(random_actor(2, FEATURES["hider"]), None, torch.Generator())
    return play(match, team)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_coverage_counts_cells_of_the_whole_team():
    still = torch.full((1, 7, 2, 2), 0.05)
    assert coverage(still, cells=10).item() == pytest.approx(1 / 100)
    apart = still.clone()
    apart[:, :, 1] = -0.95
    assert coverage(apart, cells=10).item() == pytest.approx(2 / 100)
    centres = (torch.arange(4) + 0.5) / 2 - 1
    everywhere = torch.cartesian_prod(centres, centres).reshape(1, 16, 1, 2)
    assert coverage(everywhere, cells=4).item() == 1
    assert coverage(torch.ones(3, 1, 1, 2), cells=4).tolist() == [1 / 16] * 3


def test_coverage_keeps_episodes_apart():
    positions = torch.zeros(2, 2, 1, 2)
    positions[1, 1] = 0.9
    assert coverage(positions, cells=2).tolist() == [0.25, 0.25]
    positions[1, 1] = -0.9
    assert coverage(positions, cells=2).tolist() == [0.25, 0.5]


def test_role_separation_by_hand():
    # two agents around -1 and 1, two episodes that deviate by 0.5: between 4·1, within 4·0.25
    features = torch.tensor([[[-1.5], [0.5]], [[-0.5], [1.5]]])
    assert role_separation(features).item() == pytest.approx(1 / 1.25)
    assert role_separation(torch.zeros(3, 2, 2)).item() == 0
    swapped = torch.tensor([[[-1.0], [1.0]], [[1.0], [-1.0]]])
    assert role_separation(swapped).item() == 0


def test_role_separation_takes_each_match_alone():
    features = torch.randn(3, 4, 2, 5, generator=generator())
    alone = torch.stack([role_separation(part) for part in features])
    assert torch.equal(role_separation(features), alone)


def test_division_of_space_within_an_episode(record):
    # each agent stays at a place of its own, which changes between episodes
    places = torch.randn(24, 1, 5, 2, generator=generator()).expand(-1, 7, -1, -1)
    found = coordination(dataclasses.replace(record, agents=places), GAME)
    assert found["space_division"] == pytest.approx(1)
    assert found["role_separation"] < 0.2
    still = dataclasses.replace(record, action=torch.zeros_like(record.action))
    assert coordination(still, GAME)["labour_division"] == 0


def test_role_separation_of_equal_agents_has_the_expected_bias():
    episodes, agents = 40, 5
    draws = torch.randn(300, episodes, agents, 1, generator=generator())
    mean = torch.stack([role_separation(draw) for draw in draws]).mean()
    assert mean.item() == pytest.approx((agents - 1) / (episodes * agents - 1), rel=0.1)


@given(st.integers(0, 10**6))
def test_role_separation_is_a_share(seed):
    features = torch.randn(4, 3, 2, generator=generator(seed))
    assert 0 <= role_separation(features).item() <= 1
    moved = role_separation(3 * features + 1).item()
    assert moved == pytest.approx(role_separation(features).item(), abs=1e-5)


def test_information_of_a_copy_is_its_entropy():
    symbols = torch.tensor([0, 1, 2, 3] * 250)
    expected = math.log(4) + (4 + 4 - 4 - 1) / 2000
    assert mutual_information(symbols, symbols) == pytest.approx(expected)
    renamed = torch.tensor([7, 5, 9, 0])[symbols]
    assert mutual_information(symbols, renamed) == pytest.approx(expected)


def test_information_by_hand():
    # p = [[3/8, 1/8], [1/8, 3/8]]
    first = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    second = torch.tensor([0, 0, 0, 1, 0, 1, 1, 1])
    plug_in = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert mutual_information(first, second) == pytest.approx(plug_in + (2 + 2 - 4 - 1) / 16)


def test_the_correction_removes_the_bias_of_independent_symbols():
    values = []
    for seed in range(200):
        draws = torch.randint(4, (2, 200), generator=generator(seed))
        values.append(mutual_information(draws[0], draws[1]))
    # without the correction the mean is about 9/400
    assert sum(values) / 200 == pytest.approx(0, abs=0.003)


def test_team_information_of_independent_and_of_copied_agents():
    apart = torch.randint(6, (60, 20, 3), generator=generator(1))
    assert team_information(apart, generator()) == pytest.approx(0, abs=0.01)
    same = apart[..., :1].expand(-1, -1, 3)
    assert team_information(same, generator()) == pytest.approx(math.log(6), rel=0.01)


def test_team_information_ignores_what_the_clock_explains():
    clock = torch.arange(20).reshape(1, 20, 1).expand(50, 20, 2) % 4
    assert mutual_information(clock[..., 0].flatten(), clock[..., 1].flatten()) > 1.3
    assert team_information(clock, generator()) == pytest.approx(0, abs=1e-9)


def test_team_information_of_a_single_agent_or_episode_is_zero():
    assert team_information(torch.zeros(4, 3, 1, dtype=torch.long), generator()) == 0
    assert team_information(torch.zeros(1, 3, 2, dtype=torch.long), generator()) == 0


def test_action_symbols_follow_the_game(record):
    from aajr.hide_and_seek.game.actions import from_bins

    bins = torch.cartesian_prod(*[torch.arange(n) for n in (11, 11, 2, 2)])
    wanted = from_bins(bins)[:, :2].sign().long() + 1
    expected = ((wanted[:, 0] * 3 + wanted[:, 1]) * 2 + bins[:, 2]) * 2 + bins[:, 3]
    assert torch.equal(action_symbols(bins), expected)
    assert expected.unique().numel() == 36


def test_box_use_by_hand(record):
    holder = torch.tensor([[[-1], [0], [0], [-1], [3]]])
    lock = torch.tensor([[[0], [0], [0], [1], [2]]])
    boxes = torch.zeros(1, 5, 1, 2)
    boxes[0, 1:, 0, 0] = torch.tensor([0.25, 0.75, 0.75, 1.0])
    told = dataclasses.replace(record, holder=holder, lock=lock, boxes=boxes)
    use = box_use(told, hiders=3)
    assert (use["grabs"].item(), use["locks"].item()) == (1, 1)
    # the last move is a seeker's
    assert use["box_distance"].item() == pytest.approx(0.75)


def test_box_use_counts_a_box_that_changes_hands(record):
    holder = torch.tensor([[[0], [1], [1]]])
    still = torch.zeros(1, 3, 1, 2)
    told = dataclasses.replace(record, holder=holder, lock=torch.zeros_like(holder), boxes=still)
    assert box_use(told, hiders=3)["grabs"].item() == 1


def test_role_rates_by_hand(record):
    sighted = torch.zeros(24, 6, 3)
    sighted[:12, -1, 1] = 1
    told = dataclasses.replace(record, sighted=sighted)
    rates = role_rates(told, GAME)
    assert rates["hidden_at_end"] == [1.0, 0.5, 1.0]
    played = GAME.max_steps - GAME.preparation_steps
    assert rates["seen_rate"] == pytest.approx([0, 0.5 / played, 0])


def test_the_record_of_a_match_tells_its_world(record):
    assert record.agents.shape == (24, 7, 5, 2)
    assert record.boxes.shape == (24, 7, 2, 2)
    step = (record.agents[:, 1:] - record.agents[:, :-1]).abs().amax((0, 1, 3))
    assert bool((step[:3] <= GAME.hider_speed + 1e-6).all())
    # an agent's own position stands first in its observation
    assert torch.equal(record.observation[..., :2], record.agents[:, :-1, :3])
    assert torch.equal(record.seen, record.sighted[:, -1])
    frozen = record.agents[:, : GAME.preparation_steps + 1, 3:]
    assert torch.equal(frozen[:, 0], frozen[:, -1])
    # a seeker sees some hider exactly when some hider is seen
    assert torch.equal(record.sighted.any(-1), record.sighting.any(-1))


def test_all_measures_are_finite_and_repeatable(record):
    found = coordination(record, GAME)
    assert found == coordination(record, GAME)
    unseen = record.sighted[:, GAME.preparation_steps :] == 0
    assert found["hidden_share"] == pytest.approx(float(unseen.float().mean()))
    waiting = dataclasses.replace(GAME, preparation_fraction=1.0)
    assert "hidden_share" not in coordination(record, waiting)
    flat = [v for value in found.values() for v in (value if isinstance(value, list) else [value])]
    assert all(math.isfinite(value) for value in flat)
    assert len(found["seen_rate"]) == 3
    assert len(found["sighting_rate"]) == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: coverage(torch.zeros(1, 1, 1, 2), cells=0), "cells=0"),
        (lambda: coverage(torch.full((1, 1, 1, 2), torch.nan)), "positions"),
        (lambda: role_separation(torch.zeros(3, 2)), r"\(3, 2\)"),
        (lambda: mutual_information(torch.zeros(3), torch.zeros(3)), "first"),
        (lambda: mutual_information(torch.tensor([0]), torch.tensor([0, 1])), "pair them"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
