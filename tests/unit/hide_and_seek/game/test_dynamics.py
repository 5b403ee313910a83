"""Invariants of the kinematics under random play."""

import dataclasses
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aajr.hide_and_seek.game import HideAndSeekConfig
from aajr.hide_and_seek.game.dynamics import advance
from aajr.hide_and_seek.game.state import (
    BY_HIDERS,
    BY_SEEKERS,
    FREE,
    UNLOCKED,
    State,
    initial_state,
    overlaps,
    wall_tensors,
)

CONFIG = HideAndSeekConfig(reach=0.15)
ENVS = 64


def walls_of(config: HideAndSeekConfig, envs: int):
    centre, half = wall_tensors(config, torch.device("cpu"))
    return centre.expand(envs, -1, -1), half.expand(envs, -1, -1)


def random_play(seed: int, steps: int = 64, config: HideAndSeekConfig = CONFIG):
    """Pairs of states before and after a step of random actions."""
    g = torch.Generator().manual_seed(seed)
    state = initial_state(config, ENVS, g, torch.device("cpu"))
    drift = 2 * torch.rand(ENVS, config.n_agents, 2, generator=g) - 1
    for _ in range(steps):
        velocity = (drift + torch.randn(drift.shape, generator=g)).clamp(-1, 1)
        grab, lock = torch.rand(2, ENVS, config.n_agents, generator=g) < torch.tensor(
            [0.9, 0.03]
        ).view(2, 1, 1)
        after = advance(state, velocity, grab, lock, *walls_of(config, ENVS), config)
        yield state, after
        state = after


@pytest.fixture(scope="module")
def steps():
    return [pair for seed in range(3) for pair in random_play(seed)]


def test_something_happens(steps):
    carried = sum(int((b.boxes != a.boxes).any(-1).sum()) for a, b in steps)
    locked = sum(int((b.lock != a.lock).sum()) for a, b in steps)
    assert carried > 100
    assert locked > 100


def test_nobody_is_inside_a_wall_or_a_foreign_box(steps):
    size = torch.full((ENVS, CONFIG.n_agents, 2), CONFIG.agent_radius - 1e-5)
    agent = torch.arange(CONFIG.n_agents).view(1, -1, 1)
    for _, state in steps:
        assert not overlaps(state.agents, size, *walls_of(CONFIG, ENVS)).any()
        inside = overlaps(state.agents, size, state.boxes, state.box_half)
        assert not (inside & (state.holder.unsqueeze(1) != agent)).any()
        assert state.agents.abs().max() <= 1 - CONFIG.agent_radius + 1e-6


def test_boxes_overlap_nothing_and_stay_inside(steps):
    itself = torch.eye(CONFIG.n_boxes, dtype=torch.bool)
    for _, state in steps:
        half = (state.box_half - 1e-5).clamp_min(0)
        assert not (overlaps(state.boxes, half, state.boxes, half) & ~itself).any()
        assert not overlaps(state.boxes, half, *walls_of(CONFIG, ENVS)).any()
        assert (state.boxes.abs() + half).max() <= 1 + 1e-6


def test_speeds_are_bounded_and_seekers_wait(steps):
    for before, after in steps:
        speed = (after.agents - before.agents).norm(dim=-1)
        assert speed[:, : CONFIG.n_hiders].max() <= CONFIG.hider_speed + 1e-6
        assert speed[:, CONFIG.n_hiders :].max() <= CONFIG.seeker_speed + 1e-6
        if int(before.step[0]) < CONFIG.preparation_steps:
            assert speed[:, CONFIG.n_hiders :].max() == 0
        assert torch.equal(after.velocity, after.agents - before.agents)


def test_locked_boxes_do_not_move_and_held_ones_follow(steps):
    for before, after in steps:
        move = after.boxes - before.boxes
        assert move[after.lock != UNLOCKED].abs().sum() == 0
        assert move[after.holder == FREE].abs().sum() == 0
        index = after.holder.clamp_min(0).unsqueeze(-1).expand(-1, -1, 2)
        follow = (after.agents - before.agents).gather(1, index)
        held = after.holder != FREE
        assert torch.allclose(move[held], follow[held], atol=1e-6)


def test_an_agent_holds_one_box_at_most(steps):
    agent = torch.arange(CONFIG.n_agents).view(1, -1, 1)
    for _, state in steps:
        assert (state.holder.unsqueeze(1) == agent).sum(-1).max() <= 1


def test_a_game_alone_is_that_game_in_a_batch():
    for before, after in itertools.islice(random_play(7), 20, 40):
        g = torch.Generator().manual_seed(0)
        velocity = 2 * torch.rand(ENVS, CONFIG.n_agents, 2, generator=g) - 1
        grab, lock = torch.rand(2, ENVS, CONFIG.n_agents, generator=g) < 0.5
        walls = walls_of(CONFIG, ENVS)
        together = advance(before, velocity, grab, lock, *walls, CONFIG)
        for row in (0, ENVS // 2, ENVS - 1):
            one = slice(row, row + 1)
            alone = State(*(getattr(before, f.name)[one] for f in dataclasses.fields(State)))
            given = velocity[one], grab[one], lock[one], *(wall[one] for wall in walls)
            alone = advance(alone, *given, CONFIG)
            for item in dataclasses.fields(State):
                found, expected = getattr(alone, item.name), getattr(together, item.name)[one]
                assert torch.equal(found, expected), item.name
        assert not torch.equal(before.agents, after.agents)


@given(st.integers(0, 10_000))
def test_overlap_is_that_of_intervals(seed):
    g = torch.Generator().manual_seed(seed)
    a, b = (2 * torch.rand(3, n, 2, generator=g) - 1 for n in (4, 5))
    a_half, b_half = (0.5 * torch.rand(3, n, 2, generator=g) for n in (4, 5))
    found = overlaps(a, a_half, b, b_half).tolist()
    for e, i, j in itertools.product(range(3), range(4), range(5)):
        expected = all(
            max(float(a[e, i, x] - a_half[e, i, x]), float(b[e, j, x] - b_half[e, j, x])) + 1e-6
            < min(float(a[e, i, x] + a_half[e, i, x]), float(b[e, j, x] + b_half[e, j, x]))
            for x in (0, 1)
        )
        touching = any(
            abs(float((a[e, i, x] - b[e, j, x]).abs() - a_half[e, i, x] - b_half[e, j, x])) < 1e-5
            for x in (0, 1)
        )
        assert found[e][i][j] == expected or touching


def test_the_lowest_number_takes_a_contested_box():
    config = dataclasses.replace(SMALL, n_hiders=3)
    agents = torch.tensor([[[0.5, 0.5], [-0.12, 0.0], [-0.1, 0.02], [0.12, 0.0]]])
    state = dataclasses.replace(
        duel(UNLOCKED), agents=agents, velocity=agents * 0, heading=agents * 0
    )
    everyone = torch.ones(1, 4, dtype=torch.bool)
    result = advance(state, agents * 0, everyone, ~everyone, *walls_of(config, 1), config)
    assert int(result.holder) == 1, "hider 0 is out of reach"
    locked = advance(state, agents * 0, ~everyone, everyone, *walls_of(config, 1), config)
    assert (int(locked.lock), int(locked.holder)) == (BY_HIDERS, FREE)


def duel(lock: int) -> State:
    """One hider left, one seeker right of a box, play under way."""
    agents = torch.tensor([[[-0.12, 0.0], [0.12, 0.0]]])
    still = torch.zeros(1, 2, 2)
    box = torch.zeros(1, 1, 2)
    half = torch.full((1, 1, 2), 0.08)
    facts = torch.tensor([[lock]])
    silence = torch.zeros(1, 1, 0, 1, 2)
    step = torch.tensor([50])
    return State(agents, still, still, box, half, facts * 0 + FREE, facts, step, silence)


SMALL = HideAndSeekConfig(n_hiders=1, n_seekers=1, n_boxes=1, walls=())


def test_wishes_are_shares_of_the_speed():
    config = dataclasses.replace(SMALL, n_boxes=0)
    empty = dict.fromkeys(("boxes", "box_half"), torch.zeros(1, 0, 2))
    empty |= dict.fromkeys(("holder", "lock"), torch.zeros(1, 0, dtype=torch.long))
    state = dataclasses.replace(duel(UNLOCKED), **empty)
    none = torch.zeros(1, 2, dtype=torch.bool)
    wanted = torch.tensor([[[0.3, 0.4], [1.0, -1.0]]])
    result = advance(state, wanted, none, none, *walls_of(config, 1), config)
    diagonal = config.seeker_speed / 2**0.5
    share = [0.3 * config.hider_speed, 0.4 * config.hider_speed]
    expected = torch.tensor([[share, [diagonal, -diagonal]]])
    assert torch.allclose(result.velocity, expected, atol=1e-7)


@pytest.mark.parametrize(
    ("lock", "grabber", "holder", "after"),
    [
        (UNLOCKED, 0, 0, UNLOCKED),
        (BY_HIDERS, 0, 0, UNLOCKED),
        (BY_HIDERS, 1, FREE, BY_HIDERS),
        (BY_SEEKERS, 0, FREE, BY_SEEKERS),
        (BY_SEEKERS, 1, 1, UNLOCKED),
    ],
)
def test_only_the_locking_team_unlocks(lock, grabber, holder, after):
    grab = torch.tensor([[grabber == 0, grabber == 1]])
    none = torch.zeros(1, 2, dtype=torch.bool)
    result = advance(duel(lock), torch.zeros(1, 2, 2), grab, none, *walls_of(SMALL, 1), SMALL)
    assert (int(result.holder), int(result.lock)) == (holder, after)


def test_a_carried_box_stops_at_its_obstacle():
    state = duel(UNLOCKED)
    grab = torch.tensor([[True, False]])
    none = torch.zeros(1, 2, dtype=torch.bool)
    push = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    result = advance(state, push, grab, none, *walls_of(SMALL, 1), SMALL)
    assert torch.equal(result.boxes, state.boxes), "the seeker stands in the way"
    assert torch.equal(result.agents, state.agents), "so the holder stops too"
    pull = advance(state, -push, grab, none, *walls_of(SMALL, 1), SMALL)
    assert torch.allclose(pull.boxes[0, 0], torch.tensor([-SMALL.hider_speed, 0.0]))
