"""The test suite of the arena's environments."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from aajr import Ball, UniformNoise
from aajr.arena.agents.agent import Agent
from aajr.arena.environments.episodes import AttackedTeam, contest, play
from aajr.arena.environments.protocols import Environment
from aajr.arena.spaces.gymnasium import head_of
from aajr.testing._contract import seeded


class EnvironmentContract:
    """The test suite of environments: a subclass named ``Test...`` writes :meth:`make`.

    Episodes should be short, and some should end by their own rules, at different times.

    Attributes:
        alone: whether an episode alone is the same as in a batch.
        tolerance: difference that the simulator's rounding may make between the two.

    Example:
        >>> from aajr.arena import GymnasiumEnvironment
        >>> class TestCart(EnvironmentContract):
        ...     def make(self, episodes: int, seed: int) -> GymnasiumEnvironment:
        ...         return GymnasiumEnvironment("CartPole-v1", episodes, seed, limit=20)
    """

    alone: ClassVar[bool] = True
    tolerance: ClassVar[float] = 0.0

    def make(self, episodes: int, seed: int) -> Any:
        """The environment under test."""
        raise NotImplementedError("write make(self, episodes, seed), which returns yours")

    def agent(self, environment: Any) -> Agent:
        """The agent that plays: linear, with random weights, acting in ``action_space``."""
        head = head_of(environment.action_space)
        with torch.random.fork_rng(devices=()):
            network = nn.Linear(environment.features, head.outputs)
        for weight in network.requires_grad_(False).parameters():
            weight.copy_(torch.randn(weight.shape, generator=seeded(1)))
        return Agent(network, head, environment.features, "raw")

    def played(self, environment: Environment[Any]) -> Any:
        """The record of its episodes without attack."""
        return play(environment, AttackedTeam(self.agent(environment), None, seeded()))

    def test_its_properties_fit_together(self) -> None:
        """Masks have one entry for each feature, and facts are JSON values that do not change."""
        environment = self.make(3, 0)
        size = environment.features
        assert (environment.episodes, environment.seed) == (3, 0)
        assert environment.reset().observation.shape == (3, environment.agents, size)
        for mask in (environment.items, environment.sources, environment.attackable("full")):
            assert mask.shape == (size,)
        assert bool(environment.attackable("full").any())
        assert json.dumps(environment.facts) == json.dumps(self.make(3, 0).facts)

    def test_it_is_resized(self) -> None:
        """A copy has the other number and the other seed, and the same facts."""
        copy = self.make(2, 0).resized(5, 7)
        assert (copy.episodes, copy.seed) == (5, 7)
        assert copy.facts == self.make(2, 0).facts
        same_record(self.played(copy), self.played(self.make(5, 7)))

    def test_the_seed_decides(self) -> None:
        """The same seed gives the same episodes, another seed others, each episode its own."""
        one, two, other = (self.make(3, seed).reset().observation for seed in (4, 4, 5))
        assert torch.equal(one, two)
        assert not torch.equal(one, other)
        assert not torch.equal(one[0], one[1])
        same_record(self.played(self.make(3, 4)), self.played(self.make(3, 4)))

    def test_global_random_numbers_stay(self) -> None:
        """The global seeds change nothing, and are not changed."""
        self.played(self.make(3, 4))  # what a library draws while it is imported does not count
        records = []
        for number in (1, 2):
            torch.manual_seed(number)
            np.random.seed(number)
            before = _global_state()
            records.append(self.played(self.make(3, 4)))
            assert _global_state() == before
        same_record(*records)

    def test_an_episode_alone_is_the_same_as_in_a_batch(self) -> None:
        """How many episodes are played does not change the first."""
        if not self.alone:
            pytest.skip("the environment draws all initial states from one seed")
        one, many = self.played(self.make(1, 4)), self.played(self.make(3, 4))
        length = int(one.played.sum())
        assert int(many.played[0].sum()) == length
        for name in ("observation", "action", "reward"):
            first = getattr(many, name)[0, :length]
            torch.testing.assert_close(
                getattr(one, name)[0], first, rtol=self.tolerance, atol=self.tolerance
            )

    def test_episodes_end_once(self) -> None:
        """Steps are played up to the end, zeros follow, and the end has exactly one reason."""
        environment = self.make(4, 1)
        record = self.played(environment)
        lengths = record.played.sum(1)
        assert torch.equal(record.played, torch.arange(len(record.played[0])) < lengths[:, None])
        assert record.played.shape[1] == int(lengths.max()) <= environment.steps
        assert bool((lengths > 0).all())
        for part in (record.observation, record.action, record.reward):
            assert not bool(part[~record.played].any())
        assert bool((record.terminated ^ record.truncated).all())

    def test_each_step_tells_what_it_brought(self) -> None:
        """``latest`` agrees with the record, and tells an end from a limit of time."""
        environment = self.make(4, 1)
        record, agent = self.played(environment), self.agent(environment)
        state = environment.reset()
        with pytest.raises(ValueError, match="step"):
            _ = state.latest
        step = 0
        while len(rows := state.running):
            assert torch.equal(rows, record.played[:, step].nonzero()[:, 0])
            assert torch.equal(state.observation, record.observation[rows, step])
            state.step(_acts(agent, state.observation))
            latest, ends = state.latest, record.played[rows].sum(1) == step + 1
            assert torch.equal(latest.reward, record.reward[rows, step])
            assert torch.equal(latest.terminated, ends & record.terminated[rows])
            assert torch.equal(latest.truncated, ends & record.truncated[rows])
            there = state.observation.any(-1, keepdim=True)  # agents that have left see zeros
            assert torch.equal(state.observation, latest.observation[~ends] * there)
            step += 1

    def test_two_at_a_time_do_not_meet(self) -> None:
        """Episodes that are played between the steps of others change none of them."""
        environment = self.make(2, 1)
        expected, agent = self.played(environment), self.agent(environment)
        state, other = environment.reset(), environment.resized(2, 9).reset()
        while len(state.running):
            state.step(_acts(agent, state.observation))
            if len(other.running):
                other.step(_acts(agent, other.observation))
        same_record(state.record(), expected)

    def test_an_attack_reaches_the_agent(self) -> None:
        """The agent is shown other numbers, and perturbations stay in the ball."""
        environment = self.make(2, 1)
        mask = environment.attackable("full")
        ball = Ball("linf", 0.5, mask=mask)
        team = AttackedTeam(self.agent(environment), UniformNoise(ball), seeded())
        assert 0.1 < contest(environment, team, "noise", 0.5).score.largest_perturbation <= 0.5001

    def test_bad_input_is_named(self) -> None:
        """No episodes, a negative seed, an unknown threat and unknown teammates are refused."""
        for arguments, message in (((0, 0), "episodes=0"), ((1, -1), "seed=-1")):
            with pytest.raises(ValueError, match=message):
                self.make(*arguments)
        with pytest.raises(ValueError, match="reports"):
            self.make(1, 0).attackable("reports")
        with pytest.raises(ValueError, match="WithSources"):
            self.make(1, 0).told([0])


def same_record(one: Any, two: Any) -> None:
    """Fail unless two records hold the same episodes."""
    for name in ("played", "observation", "action", "reward", "won", "terminated", "truncated"):
        assert torch.equal(getattr(one, name), getattr(two, name)), name


def _global_state() -> tuple[list[int], list[int]]:
    """State of the global generators of torch and NumPy."""
    numpy: Any = np.random.get_state(legacy=False)
    return torch.get_rng_state().tolist(), numpy["state"]["key"].tolist()


@torch.no_grad()
def _acts(agent: Agent, observation: Tensor) -> Tensor:
    action = agent.head.act(agent(observation.flatten(0, 1)))
    return action.reshape(*observation.shape[:2], -1)
