"""Evaluation mode reaches the modules behind wrappers, and comes back whoever shares them."""

from __future__ import annotations

import functools
import threading

import pytest
import torch
from torch import Tensor, nn

from aajr import AAJR, AutoPGD, Ball, ProjectedGradientAscent
from aajr._modes import evaluating
from aajr._modules import modules_behind
from aajr.testing import dense

X = dense.inputs(32, 5).float()
BODY = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3), nn.Dropout(0.1))


def by_global(z: Tensor) -> Tensor:
    return BODY(z)


def by_closure(body):
    return lambda z: (body(z), 0)[0]


def by_partial(body):
    return functools.partial(lambda scale, z, module: scale * module(z), 1.0, module=body)


def by_partial_of_a_call(body):
    return functools.partial(body.__call__)


def by_decorator(body):
    @functools.wraps(body.forward)
    def policy(z):
        return body(z)

    return policy


def by_nested_function(body):
    def inner(z):
        return body(z)

    return lambda z: inner(z)


def by_container(body):
    parts = {"actor": [body]}
    return lambda z: parts["actor"][0](z)


def by_default(body):
    def policy(z, net=body):
        return net(z)

    return policy


class ActorCritic(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body, self.critic = body, nn.Linear(5, 1)

    def actor(self, z):
        return self.body(z)


def by_method(body):
    return ActorCritic(body).actor


class Agent:
    __slots__ = ("net",)

    def __init__(self, net):
        self.net = net

    def __call__(self, z):
        return self.net(z)

    def act(self, z):
        return self.net(z)


def by_object(body):
    return Agent(body)


def by_method_of_an_object(body):
    return Agent(body).act


WRAPPERS = [
    by_closure,
    by_partial,
    by_partial_of_a_call,
    by_decorator,
    by_nested_function,
    by_container,
    by_default,
    by_method,
    by_object,
    by_method_of_an_object,
    lambda body: by_global,
]


def in_training() -> nn.Module:
    return BODY.train()


@pytest.mark.parametrize("wrap", WRAPPERS, ids=lambda wrap: wrap.__name__)
def test_the_penalty_of_a_wrapped_module_is_the_modules_own(wrap):
    body = in_training()
    ball = Ball("linf", 0.1)
    attack = ProjectedGradientAscent(ball, lambda output, reference: output.sum(1))
    before = {name: value.clone() for name, value in body.state_dict().items()}

    def value(policy):
        g = torch.Generator().manual_seed(0)
        return AAJR(fraction=1.0)(policy, attack(policy, X, g), g)

    torch.testing.assert_close(value(wrap(body)), value(body), rtol=1e-3, atol=0)
    assert all(module.training for module in body.modules())
    after = body.state_dict()
    assert all(torch.equal(after[name], kept) for name, kept in before.items())


@pytest.mark.parametrize("wrap", WRAPPERS, ids=lambda wrap: wrap.__name__)
def test_an_attack_finds_what_is_there_in_evaluation_mode(wrap):
    body = in_training()
    objective = functools.partial(lambda output, reference: output.square().sum(1))
    found = [
        AutoPGD(Ball("linf", 0.1), objective)(policy, X, torch.Generator().manual_seed(0)).worst
        for policy in (wrap(body), body)
    ]
    assert torch.equal(*found)


def test_modules_are_found_once_and_whole():
    net = nn.Linear(5, 2)
    assert modules_behind(net) == [net]
    assert modules_behind(lambda z: net(net(z))) == [net]
    assert modules_behind(torch.tanh) == []
    recursive = []
    recursive.append(recursive)
    assert modules_behind(lambda z: (recursive, net)[1](z)) == [net]


def test_modules_in_their_own_modes_come_back_so():
    net = nn.Sequential(nn.Linear(5, 2), nn.Dropout()).train()
    net[1].eval()
    with evaluating(lambda z: net(z)):
        assert not any(module.training for module in net.modules())
    assert [module.training for module in net.modules()] == [True, True, False]


def test_threads_that_share_a_module_leave_it_in_training_mode():
    net = nn.Dropout().train()
    first_in, second_in, first_out = (threading.Event() for _ in range(3))
    seen = []

    def first():
        with evaluating(net):
            first_in.set()
            second_in.wait(5)
        first_out.set()

    def second():
        first_in.wait(5)
        with evaluating(net):
            second_in.set()
            first_out.wait(5)
            seen.append(net.training)

    threads = [threading.Thread(target=run) for run in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [False]
    assert net.training
