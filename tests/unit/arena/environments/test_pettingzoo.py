"""PettingZoo's parallel environments against a loop by hand."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from gymnasium import spaces
from pettingzoo import ParallelEnv
from torch import Tensor, nn

from aajr import Ball, UniformNoise
from aajr._seeds import derive
from aajr.arena.agents.agent import Agent
from aajr.arena.attacks.suites import QUICK
from aajr.arena.attacks.victim import Victim
from aajr.arena.environments.episodes import AttackedTeam, contest, play
from aajr.arena.environments.pettingzoo import PettingZooEnvironment
from aajr.arena.environments.seeing import seen_by
from aajr.arena.environments.sources import WithSources
from aajr.arena.reports.film import film
from aajr.arena.settings import Effort
from aajr.arena.spaces.heads import CategoricalHead
from aajr.hide_and_seek.game import HideAndSeekConfig, parallel_env

SMALL = HideAndSeekConfig(n_hiders=2, n_seekers=1, max_steps=6)
EFFORT = Effort(steps=2, restarts=1, queries=8, critic_episodes=10)
NAMES = ["a", "b", "c"]


class Fading(ParallelEnv):
    """Agent i dies at its own random time; each sees its number, the time and noise.

    Action 1 earns the agent's number plus one. ``c`` sees one number more than the others.
    """

    metadata = {"name": "fading"}  # noqa: RUF012

    def __init__(self, equal: bool = True, longest: int = 9) -> None:
        self.possible_agents, self.equal, self.longest = list(NAMES), equal, longest
        self.agents: list[str] = []

    @functools.cache  # noqa: B019
    def observation_space(self, name):
        return spaces.Box(-99, 99, (3 if self.equal or name != "c" else 4,), np.float32)

    @functools.cache  # noqa: B019
    def action_space(self, name):
        return spaces.Discrete(2)

    def _look(self, names):
        return {
            name: np.concatenate(
                [
                    [NAMES.index(name), self.time],
                    self.source.normal(size=self.observation_space(name).shape[0] - 2),
                ]
            ).astype(np.float32)
            for name in names
        }

    def reset(self, seed=None, options=None):
        self.source, self.time = np.random.default_rng(seed), 0
        self.agents = list(self.possible_agents)
        self.ends = {name: int(self.source.integers(2, 8)) for name in NAMES}
        return self._look(self.agents), {name: {} for name in self.agents}

    def step(self, actions):
        assert set(actions) == set(self.agents)
        before, self.time = self.agents, self.time + 1
        ended = {name: self.time >= self.ends[name] for name in before}
        cut = {name: self.time >= self.longest and not ended[name] for name in before}
        rewards = {name: float(actions[name] * (NAMES.index(name) + 1)) for name in before}
        self.agents = [name for name in before if not (ended[name] or cut[name])]
        return self._look(before), rewards, ended, cut, {name: {} for name in before}


def chooser(seed: int, features: int = 3, actions: tuple[int, ...] = (2,)) -> Agent:
    network = nn.Linear(features, sum(actions), bias=False).requires_grad_(False)
    source = torch.Generator().manual_seed(seed)
    network.weight.copy_(torch.randn(network.weight.shape, generator=source))
    return Agent(network, CategoricalHead(actions), features, "raw")


VICTIM, OTHER = chooser(1), chooser(2)


def fading(attacked=("b", "a"), episodes: int = 5, **settings) -> PettingZooEnvironment:
    others = {name: OTHER for name in NAMES if name not in attacked}
    settings = {"others": others, "limit": 20} | settings
    return PettingZooEnvironment(Fading, episodes, 3, attacked, **settings)


def by_hand(attacked, seed: int) -> list[tuple[dict, dict, dict]]:
    """Observations, actions and rewards of every step until no attacked agent is left."""
    game, steps = Fading(), []
    shown, _ = game.reset(seed=seed)
    while set(attacked) & set(game.agents):
        orders = {
            name: int(
                (VICTIM if name in attacked else OTHER)(torch.as_tensor(shown[name])).argmax()
            )
            for name in game.agents
        }
        before = {name: shown[name] for name in game.agents}
        shown, gained, *_ = game.step(orders)
        steps.append((before, orders, gained))
    return steps


@pytest.mark.parametrize("attacked", [("b", "a"), ("c",), tuple(NAMES)])
def test_every_episode_is_the_one_that_a_loop_by_hand_plays(attacked):
    record = play(fading(attacked), AttackedTeam(VICTIM, None, torch.Generator()))
    lengths = set()
    for index in range(5):
        steps = by_hand(attacked, derive(3, "start", index))
        lengths.add(len(steps))
        assert int(record.played[index].sum()) == len(steps)
        for step, (shown, orders, gained) in enumerate(steps):
            for place, name in enumerate(attacked):
                seen = record.observation[index, step, place]
                assert bool(record.alive[index, step, place]) == (name in shown)
                assert torch.equal(seen, torch.as_tensor(shown.get(name, np.zeros(3, np.float32))))
                assert float(record.reward[index, step, place]) == gained.get(name, 0.0)
                if name in orders:
                    assert int(record.action[index, step, place, 0]) == orders[name]
    assert len(lengths) > 1
    assert bool(record.terminated.all())


def test_a_coalition_is_attacked_and_the_rest_see_the_truth():
    ball = Ball("linf", 50.0)
    clean = play(fading(("a",)), AttackedTeam(VICTIM, None, torch.Generator()))
    attacked = AttackedTeam(VICTIM, UniformNoise(ball), torch.Generator().manual_seed(0))
    found = play(fading(("a",)), attacked)
    # the game's noise does not depend on actions: only a's own actions differ
    assert torch.equal(clean.observation, found.observation)
    assert not torch.equal(clean.action, found.action)


def test_a_limit_truncates():
    record = play(fading(limit=1), AttackedTeam(VICTIM, None, torch.Generator()))
    assert record.truncated.tolist() == [True] * 5
    longest = functools.partial(Fading, longest=1)
    own = PettingZooEnvironment(longest, 4, 0, NAMES, limit=9)
    record = play(own, AttackedTeam(VICTIM, None, torch.Generator()))
    assert record.truncated.tolist() == [True] * 4
    assert record.played.shape[1] == 1


def test_each_of_the_others_has_its_own_policy_and_sight():
    def negated(raw: np.ndarray) -> Tensor:
        return -torch.as_tensor(raw)

    mirrored = chooser(2)
    mirrored.network.weight.neg_()
    mirrored.sight = negated
    expected = play(fading(), AttackedTeam(VICTIM, None, torch.Generator()))
    others = {"c": mirrored}
    found = play(fading(others=others), AttackedTeam(VICTIM, None, torch.Generator()))
    assert torch.equal(expected.action, found.action)
    assert [*fading().opponents] == [OTHER]


def test_the_quick_suite_attacks_a_team():
    victim = Victim(VICTIM, fading(episodes=10), "full", EFFORT)
    for spec in QUICK.against("full"):
        source = torch.Generator().manual_seed(0)
        team = AttackedTeam(VICTIM, spec.build(victim.ball(1.0), victim), source)
        assert 0 < contest(victim.match, team, spec.name, 1.0).score.largest_perturbation <= 1.001


def test_sources_sights_and_films_work_as_with_gymnasium():
    environment = fading()
    radio = WithSources(environment, ["[0:2]", "[2]"], liars=1)
    assert radio.sources.tolist() == [0, 0, 1]
    assert environment.feature_names[0] == "observation[0]"
    seen = seen_by(VICTIM, environment, 2, 9)
    assert (seen.episodes, seen.seed, seen.agents) == (2, 9, 2)
    found = film(environment, VICTIM, UniformNoise(Ball("linf", 0.5)), episode=1, member=1)
    assert found.data_uri().startswith("data:image/png")


def test_hide_and_seek_plays_as_its_own_parallel_environment():
    hiders = ["hider_0", "hider_1"]
    sizes = [parallel_env(SMALL).observation_space(n).shape[0] for n in ("hider_0", "seeker_0")]
    hider, seeker = (chooser(size, size, (11, 11, 2, 2)) for size in sizes)
    make = functools.partial(parallel_env, SMALL)
    environment = PettingZooEnvironment(make, 2, 1, hiders, {"seeker_0": seeker}, limit=6)
    record = play(environment, AttackedTeam(hider, None, torch.Generator()))
    game = parallel_env(SMALL)
    for index in range(2):
        shown, _ = game.reset(seed=derive(1, "start", index))
        for step in range(6):
            views = torch.stack([torch.as_tensor(shown[name]) for name in hiders])
            assert torch.allclose(record.observation[index, step], views)
            orders = {
                name: (hider if name in hiders else seeker)
                .head.act((hider if name in hiders else seeker)(torch.as_tensor(shown[name])))
                .numpy()
                for name in game.agents
            }
            shown, gained, *_ = game.step(orders)
            expected = torch.tensor([gained[name] for name in hiders], dtype=torch.float32)
            assert torch.allclose(record.reward[index, step], expected)
    assert environment.facts["environment"].endswith(":parallel_env")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fading(("z",)), "'z'"),
        (lambda: fading("a"), "give a list"),
        (lambda: fading(others={}), "'c'. have no policy"),
        (lambda: fading(("a", "a")), "twice"),
        (lambda: fading(("a",), others=dict.fromkeys(NAMES, OTHER)), "twice"),
        (lambda: fading(others={"c": chooser(1, 5)}), "reads 5 features"),
        (lambda: fading(episodes=0), "episodes=0"),
        (lambda: fading(limit=None).steps, "no limit of time"),
        (lambda: fading().attackable("others"), "threat='others'"),
        (lambda: fading().told([0]), "WithSources"),
        (lambda: PettingZooEnvironment(lambda: 3, 1, 0), "made a int"),
        (
            lambda: PettingZooEnvironment(functools.partial(Fading, equal=False), 1, 0, limit=3),
            "different spaces.*one at a time.*pad_observations_v0",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_agents_of_different_sizes_are_attacked_one_at_a_time():
    unequal = functools.partial(Fading, equal=False)
    agent = chooser(3, 4)
    alone = PettingZooEnvironment(unequal, 3, 0, ["c"], {"a": OTHER, "b": OTHER}, limit=9)
    record = play(alone, AttackedTeam(agent, None, torch.Generator()))
    assert record.observation.shape[2:] == (1, 4)
