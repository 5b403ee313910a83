"""An agent sees any environment through its own sight."""

from __future__ import annotations

import pytest
import torch

from aajr.arena.environments.gymnasium import GymnasiumEnvironment, flat
from aajr.arena.environments.seeing import seen_by
from aajr.arena.environments.sources import WithSources
from tests.unit.arena.environments.test_environments import Signs
from tests.unit.arena.environments.test_gymnasium import balancer, cartpole


def doubled(raw):
    return 2 * flat(raw)


def short_sighted():
    agent = balancer()
    agent.sight = doubled
    return agent


@pytest.mark.parametrize(
    "environment",
    ["CartPole-v1", cartpole(), WithSources(cartpole(), torch.arange(4), 1)],
    ids=["name", "object", "sources"],
)
def test_it_is_the_agents_sight(environment):
    plain, seen = (seen_by(one, environment, 2, 5) for one in (balancer(), short_sighted()))
    assert torch.equal(2 * plain.reset().observation, seen.reset().observation)
    assert (seen.episodes, seen.seed) == (2, 5)
    assert type(plain) is type(seen)


def test_an_environments_own_sight_stays():
    own = GymnasiumEnvironment("CartPole-v1", 1, 0, sight=lambda raw: 3 * flat(raw))
    seen = seen_by(short_sighted(), own, 1, 0).reset().observation
    assert torch.allclose(seen, 3 * cartpole(1, 0).reset().observation)


def test_another_number_of_features_is_named():
    with pytest.raises(ValueError, match="reads 4 features, the environment shows 6"):
        seen_by(short_sighted(), Signs(1, 0), 1, 0)
