"""Agents of modules and of functions: their actions, gradients, heads and errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import distributions, nn

import aajr
from aajr.arena import Agent
from aajr.arena.agents._callables import numbers_of
from aajr.arena.spaces.gymnasium import native_action
from aajr.arena.spaces.heads import (
    CategoricalHead,
    DeterministicHead,
    GaussianHead,
    SquashedGaussianHead,
)

BOX = spaces.Box(np.float32([-2, -1]), np.float32([1, 3]))
SEEN = spaces.Box(-5, 5, (3,), np.float32)


def filled(module, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator))
    return module


def network(outputs):
    return filled(nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, outputs)))


def points(rows=5):
    return torch.randn(rows, 3, generator=torch.Generator().manual_seed(1))


class CleanPPO(nn.Module):
    """The parts of CleanRL's ppo_continuous_action.py."""

    def __init__(self):
        super().__init__()
        self.critic = nn.Linear(3, 1)
        self.actor_mean = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))
        self.actor_logstd = nn.Parameter(torch.zeros(1, 2))

    def get_value(self, x):
        return self.critic(x)

    def get_action_and_value(self, x):
        mean = self.actor_mean(x)
        normal = distributions.Normal(mean, torch.exp(self.actor_logstd.expand_as(mean)))
        return normal, self.critic(x)


class CleanDiscrete(nn.Module):
    """The parts of CleanRL's ppo.py."""

    def __init__(self):
        super().__init__()
        self.critic, self.actor = nn.Linear(3, 1), nn.Linear(3, 4)

    def get_value(self, x):
        return self.critic(x)


class CleanSAC(nn.Module):
    """The actor of CleanRL's sac_continuous_action.py."""

    def __init__(self):
        super().__init__()
        self.fc_mean, self.fc_logstd = nn.Linear(3, 2), nn.Linear(3, 2)
        self.register_buffer("action_scale", torch.tensor([1.5, 2.0]))
        self.register_buffer("action_bias", torch.tensor([-0.5, 1.0]))

    def forward(self, x):
        return self.fc_mean(x), -5 + 3.5 * (torch.tanh(self.fc_logstd(x)) + 1)

    def mean_action(self, x):
        return torch.tanh(self(x)[0]) * self.action_scale + self.action_bias


def test_cleanrls_gaussian_agent():
    module = filled(CleanPPO())
    agent = Agent.from_module(module, BOX)
    normal, value = module.get_action_and_value(points())
    assert isinstance(agent.head, GaussianHead)
    expected = torch.cat([normal.loc, normal.scale.log()], 1)
    torch.testing.assert_close(agent(points()), expected)
    torch.testing.assert_close(agent.value(points()), value[:, 0])
    clipped = torch.minimum(
        torch.maximum(normal.loc, torch.tensor(BOX.low)), torch.tensor(BOX.high)
    )
    torch.testing.assert_close(agent.head.act(agent(points())), clipped)
    assert agent.source.endswith("CleanPPO")
    assert agent.unit == "the environment's own units"


def test_cleanrls_discrete_agent():
    module = filled(CleanDiscrete())
    agent = Agent.from_module(module, spaces.Discrete(4), unit="mine")
    assert torch.equal(agent(points()), module.actor(points()))
    assert torch.equal(agent.value(points()), module.critic(points())[:, 0])
    assert agent.unit == "mine"


def test_cleanrls_squashed_agent():
    module = filled(CleanSAC())
    agent = Agent.from_module(module, BOX)
    assert isinstance(agent.head, SquashedGaussianHead)
    torch.testing.assert_close(agent.head.act(agent(points())), module.mean_action(points()))


CASES = {
    "logits": (4, spaces.Discrete(4), CategoricalHead, lambda m, x: m(x), lambda y: y),
    "tuple of logits": (
        5,
        spaces.MultiDiscrete([2, 3]),
        CategoricalHead,
        lambda m, x: m(x).split([2, 3], -1),
        lambda y: y,
    ),
    "bits": (
        3,
        spaces.MultiBinary(3),
        CategoricalHead,
        None,
        lambda y: torch.stack([0 * y, y], -1).flatten(1),
    ),
    "bits in pairs": (6, spaces.MultiBinary(3), CategoricalHead, None, lambda y: y),
    "actions": (2, BOX, DeterministicHead, None, lambda y: y),
    "mean and log std": (4, BOX, GaussianHead, None, lambda y: y),
    "normal": (
        2,
        BOX,
        GaussianHead,
        lambda m, x: distributions.Independent(distributions.Normal(m(x), torch.tensor(0.5)), 1),
        lambda y: torch.cat([y, torch.full_like(y, 0.5).log()], 1),
    ),
    "multivariate": (
        2,
        BOX,
        GaussianHead,
        lambda m, x: distributions.MultivariateNormal(m(x), torch.diag(torch.tensor([4.0, 0.25]))),
        lambda y: torch.cat([y, torch.tensor([2.0, 0.5]).log().expand_as(y)], 1),
    ),
    "categorical": (
        3,
        spaces.Discrete(3),
        CategoricalHead,
        lambda m, x: distributions.Categorical(logits=m(x)),
        lambda y: y.log_softmax(-1),
    ),
    "bernoulli": (
        2,
        spaces.MultiBinary(2),
        CategoricalHead,
        lambda m, x: distributions.Bernoulli(logits=m(x)),
        lambda y: torch.stack([0 * y, y], -1).flatten(1),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_kind_of_output_and_its_jacobian(case):
    size, space, kind, read, expected = case
    module = network(size).double()
    agent = Agent.from_module(module, space, outputs=read)
    plain = module.eval()
    assert type(agent.head) is kind
    x = points().double()
    torch.testing.assert_close(agent(x), expected(plain(x)), check_dtype=False)
    found = torch.autograd.functional.jacobian(lambda x: agent(x).sum(0), x)
    dense = torch.autograd.functional.jacobian(lambda x: expected(plain(x)).sum(0), x)
    torch.testing.assert_close(found, dense, check_dtype=False)


def test_the_module_is_copied_and_evaluated():
    module = network(2)
    agent = Agent.from_module(module, BOX)
    assert module.training
    assert torch.equal(agent(points()), agent(points())), "dropout is on"
    before = agent(points())
    filled(module, seed=5)
    assert torch.equal(agent(points()), before)
    assert not any(weight.requires_grad for weight in agent.parameters())


class Elsewhere(nn.Module):
    """A network on another device; it notes where its input was."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, device="meta"))

    def forward(self, x):
        self.seen = x.device.type
        return torch.ones(len(x), 2)


def test_observations_go_to_the_networks_device_and_outputs_come_back():
    network = Elsewhere()
    agent = Agent(network, CategoricalHead((2,)), 3, "raw", value=network)
    for function in (agent, agent.value):
        network.seen = ""
        assert function(points()).device.type == "cpu"
        assert network.seen == "meta"


def test_images_keep_their_shape():
    module = filled(nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(48, 2)))
    shown = spaces.Box(0, 255, (2, 6, 6), np.uint8)
    agent = Agent.from_module(
        module, spaces.Discrete(2), observation_space=shown, outputs=lambda m, x: m(x / 255)
    )
    images = torch.arange(3 * 72.0).reshape(3, 72)
    torch.testing.assert_close(agent(images), module(images.reshape(3, 2, 6, 6) / 255))
    with pytest.raises(ValueError, match="observation_space=None"):
        Agent.from_module(module, spaces.Discrete(2))


def test_modules_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"\(2, 5\) for two observations.*need \(2, 4\)"):
        Agent.from_module(network(5), spaces.Discrete(4))
    shown = spaces.Box(-1, 1, (7,))
    with pytest.raises(ValueError, match=r"RuntimeError at observations of shape \(2, 7\)"):
        Agent.from_module(network(4), spaces.Discrete(4), observation_space=shown)
    with pytest.raises(ValueError, match="returns a dict"):
        Agent.from_module(network(4), spaces.Discrete(4), outputs=lambda m, x: {"y": m(x)})

    def read(module, x):
        return distributions.Beta(module(x).exp(), module(x).exp())

    with pytest.raises(ValueError, match="returns a Beta"):
        Agent.from_module(network(2), BOX, outputs=read)
    with pytest.raises(ValueError, match="NaN or infinite"):
        Agent.from_module(network(2), BOX, outputs=lambda m, x: m(x) / 0)
    with pytest.raises(ValueError, match="ModuleList has no forward"):
        Agent.from_module(nn.ModuleList([nn.Linear(3, 2)]), BOX)


ACTIONS = {
    "discrete": spaces.Discrete(3, start=2),
    "multidiscrete": spaces.MultiDiscrete([2, 3], start=[1, 0]),
    "multibinary": spaces.MultiBinary(4),
    "box": spaces.Box(-1, 1, (2, 2), np.float32),
    "dict": spaces.Dict({"go": spaces.Discrete(3), "say": spaces.MultiBinary(2)}),
    "tuple": spaces.Tuple((spaces.Discrete(2), spaces.MultiDiscrete([3, 4]))),
}


def same(space, found, expected):
    assert np.array_equal(*(spaces.flatten(space, action) for action in (found, expected)))


def chosen(space):
    """A function that answers each observation by a member of the space, fixed by its numbers."""

    def answer(observation):
        space.seed(int(abs(1e4 * float(np.sum(observation)))))
        return space.sample()

    return answer


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("space", ACTIONS.values(), ids=ACTIONS)
def test_a_functions_actions_are_played(space, batched):
    answer = chosen(space)
    function = (lambda rows: [answer(row) for row in rows]) if batched else answer
    agent = Agent.from_callable(function, SEEN, space, batched=batched)
    numbers = agent.head.act(agent(points())).numpy()
    for row, x in zip(numbers, points().numpy(), strict=True):
        same(space, native_action(space, row), answer(x))
    assert not agent.differentiable
    assert not agent(points().requires_grad_()).requires_grad


def test_logits_of_a_function_are_taken_as_they_are():
    weights = np.random.default_rng(0).normal(size=(3, 4))
    agent = Agent.from_callable(lambda x: x @ weights, SEEN, spaces.Discrete(4), returns="logits")
    expected = points() @ torch.as_tensor(weights, dtype=torch.float32)
    torch.testing.assert_close(agent(points()), expected)


def test_whole_numbers_are_rounded_and_shaped():
    met = []
    shown = spaces.Box(0, 255, (2, 2), np.uint8)
    agent = Agent.from_callable(
        lambda x: met.append(x) or np.zeros(len(x), int), shown, spaces.Discrete(2)
    )
    agent(torch.tensor([[0.4, 254.6, 300.0, -3.0]]))
    np.testing.assert_array_equal(met[-1], np.array([[[0, 255], [255, 0]]], np.uint8), strict=True)


def test_black_boxes_are_attacked_without_gradients():
    agent = Agent.from_callable(lambda x: (x[:, 0] > 0).astype(int), SEEN, spaces.Discrete(2))
    attack = aajr.RandomSearch(aajr.Ball("linf", 0.5), aajr.Divergence(agent.metric), queries=20)
    near = torch.tensor([[0.2, 0.0, 0.0]])
    found = attack(agent, near, torch.Generator().manual_seed(0))
    assert int(agent.head.act(agent(near))) == 1
    assert int(agent.head.act(agent(found.worst))) == 0


def test_functions_differ_by_their_answers():
    one, other = (
        Agent.from_callable(lambda x, a=a: a * x[:, :2], SEEN, BOX).state_dict() for a in (0.1, 0.2)
    )
    assert one.keys() == other.keys()
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_functions_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"raised KeyError at 16 observations"):
        Agent.from_callable(lambda x: {}["a"], SEEN, BOX)
    source = np.random.default_rng(0)
    with pytest.raises(ValueError, match="answers the same observations in two ways"):
        Agent.from_callable(lambda x: source.normal(size=(len(x), 2)), SEEN, BOX)
    with pytest.raises(ValueError, match=r"actions have shape \(16, 3\).*needs \(16, 2\)"):
        Agent.from_callable(lambda x: x, SEEN, BOX)
    with pytest.raises(ValueError, match=r"are not all in Discrete\(2\)"):
        Agent.from_callable(lambda x: np.full(len(x), 2), SEEN, spaces.Discrete(2))
    with pytest.raises(ValueError, match=r"returns='logits'.*continuous"):
        Agent.from_callable(lambda x: x, SEEN, BOX, returns="logits")
    with pytest.raises(ValueError, match="returns='probabilities'"):
        Agent.from_callable(lambda x: x, SEEN, BOX, returns="probabilities")


@pytest.mark.parametrize("space", ACTIONS.values(), ids=ACTIONS)
def test_numbers_are_the_inverse_of_native_actions(space):
    space.seed(0)
    actions = [space.sample() for _ in range(20)]
    for row, action in zip(numbers_of(space, actions), actions, strict=True):
        same(space, native_action(space, row), action)
