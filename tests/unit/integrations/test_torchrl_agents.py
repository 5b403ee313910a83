"""TorchRL's actors in the arena: deterministic actions, gradients and values are TorchRL's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from tensordict import TensorDict
from tensordict.nn import InteractionType, TensorDictModule, set_interaction_type
from torch import distributions, nn
from torchrl.modules import (
    Delta,
    NormalParamExtractor,
    OneHotCategorical,
    ProbabilisticActor,
    QValueActor,
    TanhDelta,
    TanhNormal,
    ValueOperator,
)

from aajr.arena import Agent
from aajr.arena.spaces.heads import (
    CategoricalHead,
    DeterministicHead,
    GaussianHead,
    SquashedGaussianHead,
)
from tests.unit.arena.agents.test_agent_sources import BOX, filled, points

LOW, HIGH = (torch.tensor(end) for end in (BOX.low, BOX.high))


def network(outputs, *more):
    return filled(nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, outputs), *more))


def probabilistic(keys, body, kind, **settings):
    module = TensorDictModule(body, in_keys=["observation"], out_keys=keys)
    return ProbabilisticActor(
        module, in_keys=keys, distribution_class=kind, distribution_kwargs=settings
    )


GAUSSIAN = network(4, NormalParamExtractor())
ACTORS = {
    "squashed": (
        probabilistic(["loc", "scale"], GAUSSIAN, TanhNormal, low=LOW, high=HIGH),
        BOX,
        SquashedGaussianHead,
    ),
    "squashed, unit": (
        probabilistic(["loc", "scale"], GAUSSIAN, TanhNormal),
        BOX,
        SquashedGaussianHead,
    ),
    "normal": (
        probabilistic(["loc", "scale"], GAUSSIAN, distributions.Normal),
        spaces.Box(-99, 99, (2,)),
        GaussianHead,
    ),
    "delta": (
        probabilistic(["param"], network(2), Delta),
        spaces.Box(-99, 99, (2,)),
        DeterministicHead,
    ),
    "squashed delta": (
        probabilistic(["param"], network(2), TanhDelta, low=LOW, high=HIGH),
        BOX,
        DeterministicHead,
    ),
    "one-hot": (
        probabilistic(["logits"], network(3), OneHotCategorical),
        spaces.Discrete(3),
        CategoricalHead,
    ),
    "categorical": (
        probabilistic(["logits"], network(3), distributions.Categorical),
        spaces.Discrete(3),
        CategoricalHead,
    ),
    "values": (
        QValueActor(network(3), in_keys=["observation"], action_space="categorical"),
        spaces.Discrete(3),
        CategoricalHead,
    ),
    "action": (
        TensorDictModule(network(2), in_keys=["observation"], out_keys=["action"]),
        spaces.Box(-99, 99, (2,)),
        DeterministicHead,
    ),
    "loc and scale": (
        TensorDictModule(GAUSSIAN, in_keys=["observation"], out_keys=["loc", "scale"]),
        spaces.Box(-99, 99, (2,)),
        GaussianHead,
    ),
}


def seen(x):
    return TensorDict({"observation": x}, batch_size=[len(x)])


def host_action(actor, x, discrete):
    with set_interaction_type(InteractionType.DETERMINISTIC):
        written = actor(seen(x))
    action = written["action"] if "action" in written else written["loc"]
    if discrete and action.ndim == 2:
        return action.argmax(-1)
    return action


@pytest.mark.filterwarnings("ignore:.*deterministic_sample wasn't found.*")
@pytest.mark.parametrize("name", ACTORS)
def test_actions_and_gradients_are_those_of_torchrl(name):
    actor, space, kind = ACTORS[name]
    agent = Agent.from_torchrl(actor, space)
    discrete = isinstance(space, spaces.Discrete)
    assert type(agent.head) is kind
    found = agent.head.act(agent(points()))
    expected = host_action(actor, points(), discrete).detach()
    torch.testing.assert_close(found[:, 0] if discrete else found, expected)
    if discrete:
        return
    jacobian = torch.autograd.functional.jacobian
    dense = jacobian(lambda x: host_action(actor, x, discrete), points(3))
    found = jacobian(lambda x: agent.head.relaxed(agent(x)), points(3))
    torch.testing.assert_close(found, dense, rtol=1e-4, atol=1e-5)


def test_the_deviation_is_that_of_the_distribution():
    agent = Agent.from_torchrl(ACTORS["squashed"][0], BOX)
    _, scale = GAUSSIAN(points())
    torch.testing.assert_close(agent(points())[:, 2:].exp(), scale)


def test_values_unit_and_source():
    value = ValueOperator(network(1), in_keys=["observation"])
    agent = Agent.from_torchrl(ACTORS["one-hot"][0], spaces.Discrete(3), value=value, unit="mine")
    expected = value(seen(points()))["state_value"][:, 0]
    torch.testing.assert_close(agent.value(points()), expected)
    assert (agent.unit, agent.source) == ("mine", "TorchRL, ProbabilisticActor")
    assert agent.differentiable


def test_actors_that_do_not_fit_are_named():
    both = TensorDictModule(lambda a, b: a, in_keys=["observation", "mask"], out_keys=["action"])
    with pytest.raises(ValueError, match=r"reads \['observation', 'mask'\]"):
        Agent.from_torchrl(both, BOX)
    with pytest.raises(ValueError, match="Linear reads no entries"):
        Agent.from_torchrl(nn.Linear(3, 2), BOX)
    other = TensorDictModule(network(2), in_keys=["observation"], out_keys=["hidden"])
    with pytest.raises(ValueError, match=r"writes \['hidden'\]"):
        Agent.from_torchrl(other, BOX)
    keys = ["concentration1", "concentration0"]
    bounded = probabilistic(keys, network(4, NormalParamExtractor()), Positive)
    with pytest.raises(ValueError, match="returns a Positive, whose parameters no head reads"):
        Agent.from_torchrl(bounded, BOX)


class Positive(distributions.Beta):
    def __init__(self, concentration1, concentration0):
        super().__init__(concentration1.exp(), concentration0.exp())


def test_images_reach_the_actor_in_their_shape():
    body = filled(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)))
    actor = TensorDictModule(body, in_keys=["pixels"], out_keys=["logits"])
    shown = spaces.Box(0, 1, (2, 2, 3), np.float32)
    agent = Agent.from_torchrl(actor, spaces.Discrete(3), observation_space=shown)
    x = torch.rand(4, 12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(agent(x), body(x.reshape(4, 2, 2, 3)))
