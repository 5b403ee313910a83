"""A plain PyTorch training loop made robust by three lines, marked 1, 2 and 3.

One feature predicts the class reliably, forty others weakly. A plain network relies on the weak
features, which an adversary can flip by small changes; a robust network relies on the strong one.
In this small problem, nearly all of the gain comes from the attack, not from the penalty.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from aajr import AAJR, Ball, Categorical, Minimax, ProjectedGradientAscent, Reference

EPSILON = 0.3  # L-infinity radius, in the units of the features


def make_data(rows: int, seed: int) -> tuple[Tensor, Tensor]:
    """Features ``[rows, 41]`` and classes ``[rows]``."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(2, (rows,), generator=generator)
    sign = 2.0 * y[:, None] - 1
    strong = sign + 0.5 * torch.randn(rows, 1, generator=generator)
    weak = 0.2 * sign + 0.5 * torch.randn(rows, 40, generator=generator)
    return torch.cat([strong, weak], 1), y


def make_policy() -> nn.Sequential:
    """The same small network at every call."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(41, 32), nn.Tanh(), nn.Linear(32, 2))


def misclassification(logits: Tensor, reference: Reference) -> Tensor:
    """What the adversary maximises, one loss per sample."""
    return cross_entropy(logits, reference.data["y"], reduction="none")


def train_plain() -> nn.Sequential:
    """The plain training loop."""
    policy, (x, y) = make_policy(), make_data(2000, seed=1)
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    for _ in range(200):
        loss = cross_entropy(policy(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return policy


def train_robust() -> nn.Sequential:
    """The same loop with the three lines."""
    policy, (x, y) = make_policy(), make_data(2000, seed=1)
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    attack = ProjectedGradientAscent(Ball("linf", EPSILON), misclassification)  # 1
    robust = Minimax(attack, AAJR(metric=Categorical()), weight=0.1)  # 2
    for _ in range(200):
        loss = robust(policy, x, lambda logits: cross_entropy(logits, y), {"y": y}).total  # 3
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return policy


def accuracies(policy: nn.Sequential) -> tuple[float, float]:
    """Accuracy on new data, clean and under the worst of three attack restarts per sample."""
    x, y = make_data(2000, seed=2)
    attack = ProjectedGradientAscent(
        Ball("linf", EPSILON), misclassification, steps=20, restarts=3, select="best"
    )
    worst = attack(policy, x, torch.Generator().manual_seed(0), {"y": y}).worst
    clean, attacked = ((policy(z).argmax(1) == y).float().mean().item() for z in (x, worst))
    return clean, attacked


if __name__ == "__main__":
    for name, train in (("plain", train_plain), ("robust", train_robust)):
        clean, attacked = accuracies(train())
        print(f"{name:<7} clean {clean:6.1%}   under attack {attacked:6.1%}")
