"""Time of a penalised update over the adversarial update, interleaved in one run.

A measurement is eight updates in a row, since AAJR acts at every eighth.
"""

import statistics
import time

import pytest
import torch
from torch import nn

from aajr import (
    AAJR,
    ERNIE,
    Ball,
    Categorical,
    Divergence,
    Frobenius,
    Minimax,
    ProjectedGradientAscent,
    RandomDirection,
    Spectral,
    StateAdversarial,
)
from benchmarks.recording import record

HEADS = (11, 11, 2, 2)
ROUNDS, UPDATES = 20, 8


def penalties(ball: Ball) -> dict:
    metric = Categorical(HEADS)
    return {
        "adversarial": None,
        "aajr": AAJR(metric=metric),
        "aajr, whole batch": AAJR(metric=metric, fraction=1.0),
        "aajr, forward mode, whole batch": AAJR(
            metric=metric, fraction=1.0, estimator="forward_mode"
        ),
        "random direction": RandomDirection(metric=metric),
        "frobenius": Frobenius(metric=metric),
        "frobenius, an eighth": Frobenius(metric=metric, fraction=1 / 8),
        "spectral": Spectral(metric=metric),
        "sa": StateAdversarial(metric=metric),
        "ernie": ERNIE(metric=metric, ball=ball),
    }


class Update:
    """One optimiser step of a method on a fixed batch."""

    def __init__(
        self, penalty, ball: Ball, rows: int, device: torch.device | str = "cpu", width: int = 64
    ) -> None:
        torch.manual_seed(0)
        self.policy = nn.Sequential(
            nn.Linear(60, width),
            nn.Tanh(),
            nn.Linear(width, width),
            nn.Tanh(),
            nn.Linear(width, 26),
        ).to(device)
        self.x = torch.randn(rows, 60).to(device)
        self.target = torch.randint(0, 26, (rows,)).to(device)
        self.optimizer = torch.optim.Adam(self.policy.parameters())
        attack = ProjectedGradientAscent(ball, Divergence(Categorical(HEADS)), steps=1)
        self.robust = Minimax(attack, penalty, weight=0.01)

    def __call__(self) -> None:
        loss = self.robust(
            self.policy, self.x, lambda out: nn.functional.cross_entropy(out, self.target)
        )
        self.optimizer.zero_grad()
        loss.total.backward()
        self.optimizer.step()


def interleaved_seconds(updates: dict, benchmark) -> dict[str, list[float]]:
    """CPU seconds of eight updates of every method, one method after the other."""
    seconds: dict[str, list[float]] = {name: [] for name in updates}

    def interleaved():
        for name, update in updates.items():
            began = time.process_time()
            for _ in range(UPDATES):
                update()
            seconds[name].append(time.process_time() - began)

    benchmark.pedantic(interleaved, rounds=ROUNDS, warmup_rounds=3)
    return seconds


def over(seconds: dict[str, list[float]], base: str) -> dict[str, float]:
    """Median ratio of every method's time to one of them."""
    return {
        name: statistics.median(t / b for t, b in zip(times, seconds[base], strict=True))
        for name, times in seconds.items()
    }


@pytest.mark.parametrize("rows", [1280, 4096])
def test_update_overhead(rows, benchmark):
    ball = Ball("linf", 0.1)
    updates = {name: Update(penalty, ball, rows) for name, penalty in penalties(ball).items()}
    ratios = over(interleaved_seconds(updates, benchmark), "adversarial")
    record(
        f"penalties_{rows}",
        {
            "rows": rows,
            "threads": torch.get_num_threads(),
            "extra_time": {name: ratio - 1 for name, ratio in ratios.items()},
        },
    )


def loss_steps(rows: int) -> dict:
    """Loss and gradient of a minibatch of four features: plain, adversarial, and with AAJR."""
    torch.manual_seed(0)
    policy = nn.Sequential(
        nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2)
    )
    x, target = torch.randn(rows, 4), torch.randint(0, 2, (rows,))
    attack = ProjectedGradientAscent(Ball("linf", 0.1), steps=1)
    adversarial, penalised = Minimax(attack), Minimax(attack, AAJR(), weight=0.01)

    def task(output):
        return nn.functional.cross_entropy(output, target)

    def step(loss):
        policy.zero_grad()
        loss().backward()

    return {
        "plain": lambda: step(lambda: task(policy(x))),
        "adversarial": lambda: step(lambda: adversarial(policy, x, task).total),
        "aajr": lambda: step(lambda: penalised(policy, x, task).total),
    }


@pytest.mark.parametrize("rows", [512, 4096])
def test_fixed_cost(rows, benchmark):
    seconds = interleaved_seconds(loss_steps(rows), benchmark)
    share = over(seconds, "adversarial")["aajr"] - 1
    record(
        f"fixed_cost_{rows}",
        {
            "rows": rows,
            "threads": torch.get_num_threads(),
            "over_plain": over(seconds, "plain"),
            "aajr_share_of_adversarial": share,
        },
    )
