"""Observations of every kind of space: their features, their names, and who may be attacked."""

from __future__ import annotations

import functools
import re

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.wrappers import FrameStackObservation, TransformObservation
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from aajr import Ball, UniformNoise
from aajr._seeds import derive
from aajr.arena.agents.agent import Agent
from aajr.arena.environments.episodes import AttackedTeam, contest, play
from aajr.arena.environments.gymnasium import GymnasiumEnvironment, flat, head_of, pixels
from aajr.arena.spaces.features import Entry, Features
from aajr.arena.spaces.gymnasium import features_of, flattened
from aajr.arena.spaces.heads import CategoricalHead

ROBOT = spaces.Dict(
    {
        "camera": spaces.Box(0, 255, (3, 4, 2), np.uint8),
        "goal": spaces.Discrete(3, start=-1),
        "arm": spaces.Tuple((spaces.Box(-1, 1, (2,), np.float64), spaces.MultiBinary(2))),
        "mode": spaces.MultiDiscrete([2, 3]),
        "charge": spaces.Box(0, 1, (), np.float32),
    }
)


class Robot(gymnasium.Env):
    """Shows random observations of its space and pays for the right action."""

    action_space = spaces.Discrete(2)

    def __init__(self, space=ROBOT, ends=None):
        self.observation_space, self.ends, self.time = space, ends, 0

    def _look(self):
        self.observation_space.seed(int(self.np_random.integers(2**31)))
        return self.observation_space.sample()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self._look(), {}

    def step(self, action):
        self.time += 1
        return self._look(), float(action), self.time == self.ends, False, {}


def chooser(features: int) -> Agent:
    weight = torch.randn(2, features, generator=torch.Generator().manual_seed(1))
    network = nn.Linear(features, 2, bias=False).requires_grad_(False)
    network.weight.copy_(weight)
    return Agent(network, CategoricalHead((2,)), features, "raw")


def robots(**settings) -> GymnasiumEnvironment:
    return GymnasiumEnvironment(Robot, 4, 0, limit=5, **settings)


@pytest.mark.parametrize(
    "space",
    [
        ROBOT,
        spaces.Discrete(4, start=2),
        spaces.MultiDiscrete([[2, 3], [4, 2]]),
        spaces.Tuple((spaces.Discrete(2), spaces.Dict({"a": spaces.Box(0, 9, (2, 2))}))),
        spaces.Box(0, 255, (2, 3), np.uint8),
    ],
    ids=str,
)
def test_rows_are_those_of_gymnasiums_flatten(space):
    space.seed(3)
    several = [space.sample() for _ in range(6)]
    expected = np.stack([spaces.flatten(space, one) for one in several]).astype(np.float32)
    found = flattened(space, several)
    assert found.dtype == np.float32
    assert np.array_equal(found, expected)
    features = features_of(space)
    assert features.size == len(features.names) == len(set(features.names)) == found.shape[1]
    chosen = features.one_hot.numpy()
    assert set(np.unique(found[:, chosen])) <= {0.0, 1.0}


def test_every_feature_has_its_own_name():
    names = features_of(ROBOT).names
    assert names[:2] == ("arm.part0[0]", "arm.part0[1]")
    assert names[2:4] == ("arm.part1=0", "arm.part1=1")
    assert "camera[2,3,1]" in names
    assert names[4 + 24 :] == (
        "charge",
        "goal=0",
        "goal=1",
        "goal=2",
        *(f"mode={i}" for i in range(5)),
    )


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("goal", ["goal=0", "goal=1", "goal=2"]),
        ("goal=1", ["goal=1"]),
        ("arm.*", ["arm.part0[0]", "arm.part0[1]", "arm.part1=0", "arm.part1=1"]),
        ("arm.part0[1]", ["arm.part0[1]"]),
        ("camera[1:,0,-1]", ["camera[1,0,1]", "camera[2,0,1]"]),
        ("camera[0]", [f"camera[0,{i},{j}]" for i in range(4) for j in range(2)]),
        ("charge", ["charge"]),
        (0, ["arm.part0[0]"]),
        ("1:3", ["arm.part0[1]", "arm.part1=0"]),
    ],
)
def test_patterns_select_by_name_part_and_number(pattern, expected):
    environment = robots()
    mask = environment.features_named([pattern])
    assert [n for n, m in zip(environment.feature_names, mask, strict=True) if m] == expected


@given(st.lists(st.integers(0, 36), min_size=1))
def test_a_name_selects_its_feature_and_no_other(numbers):
    features = features_of(ROBOT)
    mask = features.selected([features.names[i] for i in numbers])
    assert set(mask.nonzero().flatten().tolist()) == set(numbers)
    assert torch.equal(mask, features.selected(numbers))


@pytest.mark.parametrize("pattern", ["ar", "camera[9]", "camera[0,0,0,0]", 99, "goal=7", "", "5:5"])
def test_a_pattern_that_names_nothing_is_an_error(pattern):
    with pytest.raises(ValueError, match=re.escape(f"pattern {pattern!r} names no")):
        robots().features_named([pattern])
    with pytest.raises(ValueError, match="patterns is empty"):
        robots().features_named([])


def test_choices_are_trusted_unless_asked():
    environment = robots()
    mask = environment.attackable("full")
    assert not bool(mask[environment.features_named(["goal", "mode", "arm.part1"])].any())
    assert int(mask.sum()) == 24 + 2 + 1
    assert bool(robots(attack_choices=True).attackable("full").all())
    assert environment.facts == {
        "environment": f"{Robot.__module__}:Robot",
        "limit": 5,
        "solved": None,
    }
    with pytest.raises(ValueError, match="attack_choices=True"):
        GymnasiumEnvironment("FrozenLake-v1", 1, 0).attackable("full")
    frozen = GymnasiumEnvironment("FrozenLake-v1", 1, 0, attack_choices=True)
    assert int(frozen.attackable("full").sum()) == 16


def test_a_sight_that_mixes_choices_with_numbers_must_say_so():
    def shorter(rows):
        return flat(rows[:, :-1])

    mixed = robots(sight=shorter)
    assert mixed.features == 36
    with pytest.raises(ValueError, match=r"sight makes 36 features of 37.*attack_choices=True"):
        mixed.attackable("full")
    assert bool(robots(sight=shorter, attack_choices=True).attackable("full").all())
    numbers = GymnasiumEnvironment("CartPole-v1", 1, 0, sight=shorter)
    assert numbers.attackable("full").tolist() == [True] * 3


def test_masks_of_actions_are_trusted_as_in_pettingzoo():
    space = spaces.Dict(
        {"action_mask": spaces.Box(0, 1, (3,), np.int8), "observation": spaces.Box(0, 1, (2,))}
    )
    features = features_of(space)
    assert features.one_hot.tolist() == [True] * 3 + [False] * 2
    assert features.names[1] == "action_mask=1"


def test_items_are_the_parts_of_a_dict():
    environment = robots()
    items = environment.items
    for number, name in enumerate(sorted(ROBOT)):
        part = environment.features_named([f"{name}*"])
        assert set(items[part].tolist()) == {number}
    assert torch.equal(GymnasiumEnvironment("CartPole-v1", 1, 0).items, torch.arange(4))


def test_a_dict_is_played_as_its_flat_rows():
    record = play(robots(), AttackedTeam(chooser(37), None, torch.Generator()))
    single = Robot()
    for index in range(4):
        raw, _ = single.reset(seed=derive(0, "start", index))
        for step in range(5):
            row = torch.as_tensor(spaces.flatten(ROBOT, raw), dtype=torch.float32)
            assert torch.equal(record.observation[index, step, 0], row)
            action = int(chooser(37)(row).argmax())
            assert int(record.action[index, step, 0, 0]) == action
            raw, *_ = single.step(action)


def test_only_the_named_part_is_attacked():
    environment = robots()
    mask = environment.features_named(["camera[0:2,0:2]"])
    ball = Ball("linf", 8.0, mask=mask, low=0, high=255)
    rows = environment.reset().observation[:, 0]
    worst = UniformNoise(ball)(chooser(37), rows, torch.Generator().manual_seed(0)).worst
    assert bool(((worst != rows).any(0) == mask).all())


def test_sights_of_images():
    image = spaces.Box(0, 255, (4, 4, 3), np.uint8)
    factory = functools.partial(Robot, image)
    raw, scaled = (GymnasiumEnvironment(factory, 2, 0, sight, 3) for sight in (flat, pixels))
    seen, shares = (one.reset().observation for one in (raw, scaled))
    assert torch.equal(seen / 255, shares)
    assert scaled.feature_names[-1] == "observation[3,3,2]"
    gray = GymnasiumEnvironment(factory, 2, 0, lambda rows: flat(rows.mean(-1)), 3)
    assert gray.features == 16
    assert gray.feature_names[:2] == ("observation[0]", "observation[1]")


def test_frames_are_stacked_by_gymnasiums_wrapper():
    stacked = FrameStackObservation(gymnasium.make("CartPole-v1"), 3)
    environment = GymnasiumEnvironment(stacked, 3, 1, limit=6)
    assert environment.features == 12
    latest = environment.features_named(["[-1]"])
    assert latest.nonzero().flatten().tolist() == [8, 9, 10, 11]
    frames = play(environment, lambda seen, _: torch.ones(len(seen), 1, 1, dtype=torch.long))
    single = play(
        GymnasiumEnvironment("CartPole-v1", 3, 1, limit=6),
        lambda seen, _: torch.ones(len(seen), 1, 1, dtype=torch.long),
    )
    assert torch.equal(frames.observation[..., 8:], single.observation)
    assert torch.equal(frames.observation[:, 1:, :, 4:8], single.observation[:, :-1])


def test_a_time_limit_is_told_from_an_end():
    def record(ends):
        environment = GymnasiumEnvironment(functools.partial(Robot, ends=ends), 3, 0, limit=4)
        return play(environment, AttackedTeam(chooser(37), None, torch.Generator()))

    assert record(ends=2).terminated.tolist() == [True] * 3
    assert record(ends=4).truncated.tolist() == [False] * 3
    assert record(ends=5).truncated.tolist() == [True] * 3
    balanced = play(
        GymnasiumEnvironment("CartPole-v1", 3, 0, limit=12),
        lambda seen, _: torch.tensor([1, 1, 0])[: len(seen), None, None],
    )
    assert torch.equal(balanced.terminated, balanced.played.sum(1) < 12)
    assert not torch.equal(balanced.terminated, balanced.truncated)


def make_cart():
    return gymnasium.make("CartPole-v1")


@pytest.mark.parametrize(
    "source",
    [
        "CartPole-v1",
        f"{__name__}:make_cart",
        make_cart,
        gymnasium.make("CartPole-v1"),
        gymnasium.spec("CartPole-v1"),
        "gymnasium.envs.classic_control:CartPole-v1",
        functools.partial(gymnasium.make, "CartPole-v1"),
    ],
)
def test_every_kind_of_source_plays_the_same_episodes(source):
    agent = chooser(4)
    expected, found = (
        play(GymnasiumEnvironment(one, 3, 0), AttackedTeam(agent, None, torch.Generator()))
        for one in ("CartPole-v1", source)
    )
    assert torch.equal(expected.observation, found.observation)


def test_sources_identify_themselves():
    def name(source):
        return GymnasiumEnvironment(source, 1, 0).facts["environment"]

    plain = gymnasium.make("CartPole-v1")
    assert name(plain) == name("CartPole-v1") == "CartPole-v1"
    assert name(make_cart) == f"{__name__}:make_cart"
    assert '"sutton_barto_reward": true' in name(
        gymnasium.make("CartPole-v1", sutton_barto_reward=True)
    )
    doubled = TransformObservation(plain, lambda x: 2 * x, plain.observation_space)
    assert "TransformObservation" in name(doubled)
    again = TransformObservation(plain, lambda x: 2 * x, plain.observation_space)
    assert name(doubled) == name(again)


class Unrecorded(gymnasium.Wrapper):
    """A wrapper that does not keep its arguments."""


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Robot(), "does not know how it was made"),
        (Unrecorded(gymnasium.make("CartPole-v1")), "does not know how it was made"),
        (gymnasium.make_vec("CartPole-v1", 2), "which is no gymnasium.Env"),
        (lambda: 3, "made a int"),
        ("no_such_module:make", "no module"),
        (functools.partial(Robot, spaces.Text(3)), "no fixed number of features"),
    ],
)
def test_sources_that_cannot_be_copied_are_named(source, message):
    with pytest.raises(ValueError, match=message):
        GymnasiumEnvironment(source, 1, 0, limit=2)


def test_an_attacked_dict_counts_only_what_the_attack_reached():
    environment = robots()
    ball = Ball("linf", 0.5, mask=environment.attackable("full"))
    team = AttackedTeam(chooser(37), UniformNoise(ball), torch.Generator())
    assert 0.4 < contest(environment, team, "noise", 0.5).score.largest_perturbation <= 0.5 + 1e-5


def test_features_of_one_entry():
    features = Features((Entry("observation", (2, 2)),))
    assert features.selected("[0,1]").tolist() == [False, True, False, False]
    assert head_of(spaces.Discrete(2)) == CategoricalHead((2,))
