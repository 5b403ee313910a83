"""A policy is a function of x: noise and hidden state are refused, its precision is known."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import Tensor, nn

from aajr import AAJR, AutoPGD, Ball, Minimax, ProjectedGradientAscent, UniformNoise
from aajr._inspection import inspect
from aajr.testing import dense

X = dense.inputs(8, 5).float()


class Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        mean = self.net(x)
        return mean + 0.1 * torch.randn_like(mean)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(5, 2)
        self.hidden: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.hidden = self.cell(x, self.hidden)
        return self.hidden


class Averaging(nn.Module):
    """Overwrites a buffer in place at every call."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(5))

    def forward(self, x: Tensor) -> Tensor:
        self.mean.mul_(0.9).add_(0.1 * x.mean(0))
        return x - self.mean


def adversary(policy):
    return ProjectedGradientAscent(Ball("linf", 0.1))(policy, X, torch.Generator())


def noise(policy):
    return UniformNoise(Ball("linf", 0.1))(policy, X, torch.Generator())


def minimax(policy, x=X):
    robust = Minimax(AutoPGD(Ball("linf", 0.1)), AAJR())
    return robust(policy, x, lambda output: output.square().mean())


def penalty(policy):
    trajectory = noise(nn.Linear(5, 2))
    return AAJR()(policy, trajectory, torch.Generator())


@pytest.mark.parametrize("use", [adversary, noise, minimax, penalty])
@pytest.mark.parametrize("wrap", [lambda policy: policy, lambda policy: lambda z: policy(z)])
def test_stochastic_policies_are_refused(use, wrap):
    with pytest.raises(ValueError, match=r"at the same x disagree: they differ by up to .*noise"):
        use(wrap(Noisy()))


@pytest.mark.parametrize("use", [adversary, noise, minimax, penalty])
def test_hidden_state_is_named_and_left_as_it_was(use):
    policy = Recurrent()
    policy.hidden = kept = torch.ones(8, 2)
    with pytest.raises(ValueError, match=r"keeps state between calls in Recurrent\.hidden"):
        use(policy)
    assert policy.hidden is kept


def test_a_buffer_overwritten_in_place_is_put_back():
    policy = Averaging()
    with pytest.raises(ValueError, match=r"keeps state between calls in Averaging\.mean"):
        adversary(policy)
    assert torch.equal(policy.mean, torch.zeros(5))


def test_a_state_that_every_call_resets_is_no_state():
    policy = Recurrent()

    def reset(z: Tensor) -> Tensor:
        policy.hidden = None
        return policy(z)

    assert adversary(reset).worst.shape == X.shape


def test_it_is_asked_once_per_policy():
    calls, net = [], nn.Linear(5, 2)

    def fresh():
        def policy(z: Tensor) -> Tensor:
            calls.append(len(z))
            return net(z)

        return policy

    inspect(fresh(), X)
    assert len(calls) == 2
    inspect(fresh(), X)
    assert len(calls) == 2
    inspect(fresh(), X.double().float())
    net = nn.Linear(5, 2)
    inspect(fresh(), X)
    assert len(calls) == 4


class Half(nn.Module):
    """Computes in bfloat16 and hides it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(5, 2).bfloat16()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.bfloat16()).float()


@pytest.mark.parametrize(
    ("policy", "x", "dtype"),
    [
        (nn.Linear(5, 2), X, torch.float32),
        (nn.Linear(5, 2).double(), X.double(), torch.float64),
        (nn.Linear(5, 2).bfloat16(), X.bfloat16(), torch.bfloat16),
        (Half(), X, torch.bfloat16),
        (functools.partial(torch.mul, 2.0), X, torch.float32),
        (nn.Sequential(nn.Linear(5, 2), nn.Flatten()).float(), X, torch.float32),
    ],
)
def test_the_coarsest_precision_inside_is_known(policy, x, dtype):
    assert inspect(policy, x) == dtype


def test_autocast_is_seen_while_it_is_on():
    policy = nn.Linear(5, 2)
    assert inspect(policy, X) == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert inspect(policy, X) == torch.bfloat16
    assert inspect(policy, X) == torch.float32


def test_another_dtype_than_the_parameters_is_named():
    net = nn.Linear(5, 2)
    message = r"x has dtype torch\.float64 but the policy torch\.float32; convert x with \.to\("
    for policy in (net, lambda z: net(z).tanh()):
        with pytest.raises(ValueError, match=message):
            minimax(policy, X.double())
