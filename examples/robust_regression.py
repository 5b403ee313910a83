"""Regression that is robust to a shift of its features after training.

The target depends on one feature. In the training data, forty other features follow the target
closely, and a plain network relies on them; after the shift they no longer follow it. The adversary
moves every row by at most ε in the L2 norm to make the squared error large. This is the inner
maximisation of distributionally robust regression. Training with random noise of the same size is
the cheap baseline. In this small problem the gain comes from the attack; the penalty adds nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from aajr import AAJR, Ball, Euclidean, Minimax, ProjectedGradientAscent, Reference

EPSILON = 1.0  # L2 radius, in the units of the features
BALL = Ball("l2", EPSILON)


def make_data(rows: int, seed: int) -> tuple[Tensor, Tensor]:
    """Features ``[rows, 41]`` and targets ``[rows, 1]``."""
    generator = torch.Generator().manual_seed(seed)
    cause = 2 * torch.randn(rows, 1, generator=generator)
    y = torch.tanh(cause)
    followers = 0.5 * y + 0.5 * torch.randn(rows, 40, generator=generator)
    return torch.cat([cause, followers], 1), y


def squared_error(output: Tensor, reference: Reference) -> Tensor:
    """What the adversary maximises, one loss per row."""
    return (output - reference.data["y"]).square().sum(1)


def train(loss_of: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> nn.Sequential:
    """Train with the loss of a method; the loop is the same for all."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(41, 64), nn.Tanh(), nn.Linear(64, 1))
    optimizer, (x, y) = torch.optim.Adam(net.parameters(), 1e-2), make_data(1000, seed=1)
    for _ in range(300):
        optimizer.zero_grad()
        loss_of(net, x, y).backward()
        optimizer.step()
    return net


def methods() -> dict[str, Callable[[nn.Module, Tensor, Tensor], Tensor]]:
    """The loss function of every method, by name."""
    noise = torch.Generator().manual_seed(2)
    attack = ProjectedGradientAscent(BALL, squared_error)
    adversarial = Minimax(attack)
    aligned = Minimax(attack, AAJR(metric=Euclidean()), weight=0.1)

    def plain(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return (net(x) - y).square().mean()

    def noisy(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return plain(net, x + BALL.sample(x, noise), y)

    def robust(minimax: Minimax) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
        return lambda net, x, y: (
            minimax(net, x, lambda out: (out - y).square().mean(), {"y": y}).total
        )

    return {
        "plain": plain,
        "noise": noisy,
        "adversarial": robust(adversarial),
        "AAJR": robust(aligned),
    }


def errors(net: nn.Module) -> tuple[float, float]:
    """Root mean squared error on new rows, clean and at the worst point found."""
    x, y = make_data(1000, seed=3)
    attack = ProjectedGradientAscent(BALL, squared_error, steps=20, restarts=3, select="best")
    worst = attack(net, x, torch.Generator().manual_seed(0), {"y": y}).worst
    with torch.no_grad():
        clean, attacked = ((net(z) - y).square().mean().sqrt().item() for z in (x, worst))
    return clean, attacked


if __name__ == "__main__":
    for name, loss in methods().items():
        clean, attacked = errors(train(loss))
        print(f"{name:<12} error {clean:.3f}   under shift {attacked:.3f}")
