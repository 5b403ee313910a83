"""Time of a penalised update over the adversarial update, interleaved in one run."""

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
ROUNDS = 60


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

    def __init__(self, penalty, ball: Ball, rows: int) -> None:
        torch.manual_seed(0)
        self.policy = nn.Sequential(
            nn.Linear(60, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 26)
        )
        self.x = torch.randn(rows, 60)
        self.target = torch.randint(0, 26, (rows,))
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


@pytest.mark.parametrize("rows", [1280, 4096])
def test_update_overhead(rows, benchmark):
    ball = Ball("linf", 0.1)
    updates = {name: Update(penalty, ball, rows) for name, penalty in penalties(ball).items()}
    seconds: dict[str, list[float]] = {name: [] for name in updates}

    def interleaved():
        for name, update in updates.items():
            began = time.perf_counter()
            update()
            seconds[name].append(time.perf_counter() - began)

    benchmark.pedantic(interleaved, rounds=ROUNDS, warmup_rounds=5)
    base = seconds["adversarial"]
    ratios = {
        name: statistics.median(t / b for t, b in zip(times, base, strict=True)) - 1
        for name, times in seconds.items()
    }
    record(
        f"penalties_{rows}",
        {"rows": rows, "threads": torch.get_num_threads(), "extra_time": ratios},
    )
