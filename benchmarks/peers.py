"""Attacks beside foolbox and torchattacks, interleaved: make bench-peers."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import foolbox
import torch
import torchattacks
from torch import Tensor, nn

from aajr import Ball, ProjectedGradientAscent
from aajr.adversaries import CrossEntropy, Margin, Square
from benchmarks.recording import record

ROWS, SIDE, CLASSES, STEPS, QUERIES, ROUNDS = 256, 16, 10, 10, 200, 15
LINF, L2 = 0.02, 0.4


def policies() -> dict[str, nn.Module]:
    size = 3 * SIDE * SIDE
    return {
        "linear": nn.Sequential(nn.Flatten(), nn.Linear(size, CLASSES)),
        "mlp": nn.Sequential(
            nn.Flatten(),
            nn.Linear(size, 256),
            nn.ReLU(),
            nn.Linear(256, 256),
            nn.ReLU(),
            nn.Linear(256, CLASSES),
        ),
        "cnn": nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(2 * SIDE * SIDE, CLASSES),
        ),
    }


class Images:
    """Noisy prototypes of ten classes."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(1)
        self.prototypes = torch.rand(CLASSES, 3, SIDE, SIDE, generator=self.generator)

    def batch(self) -> tuple[Tensor, Tensor]:
        y = torch.randint(0, CLASSES, (ROWS,), generator=self.generator)
        noise = torch.randn(ROWS, 3, SIDE, SIDE, generator=self.generator)
        return (0.5 + 0.15 * (self.prototypes[y] - 0.5) + 0.25 * noise).clamp(0, 1), y


def trained(policy: nn.Module, images: Images) -> nn.Module:
    optimizer = torch.optim.Adam(policy.parameters(), 2e-3)
    for _ in range(100):
        x, y = images.batch()
        optimizer.zero_grad()
        nn.functional.cross_entropy(policy(x), y).backward()
        optimizer.step()
    return policy.eval()


def attacks(
    policy: nn.Module, x: Tensor, y: Tensor, seed: int
) -> dict[str, dict[str, Callable[[], Tensor]]]:
    """By case and library; foolbox and torchattacks' PGD draw from the global generator."""
    model, data = foolbox.PyTorchModel(policy, bounds=(0, 1)), {"label": y}
    box = Ball("linf", LINF, low=0.0, high=1.0, event_dims=3)
    sphere = Ball("l2", L2, low=0.0, high=1.0, event_dims=3)

    def ours(attack):
        return lambda: attack(policy, x, torch.Generator().manual_seed(seed), data).worst

    def theirs(attack, epsilon):
        return lambda: attack(model, x, y, epsilons=epsilon)[1]

    size, length = 2.5 * LINF / STEPS, 2.5 * L2 / STEPS
    square = Square(box, Margin(), queries=QUERIES, until=0.0)
    rival = torchattacks.Square(policy, eps=LINF, n_queries=QUERIES, seed=seed)
    linf, l2 = foolbox.attacks.LinfPGD, foolbox.attacks.L2PGD
    return {
        "linf": {
            "aajr": ours(ProjectedGradientAscent(box, CrossEntropy(), steps=STEPS, record="last")),
            "foolbox": theirs(linf(abs_stepsize=size, steps=STEPS), LINF),
            "torchattacks": lambda: torchattacks.PGD(policy, LINF, size, STEPS)(x, y),
        },
        "l2": {
            "aajr": ours(
                ProjectedGradientAscent(sphere, CrossEntropy(), steps=STEPS, record="last")
            ),
            "foolbox": theirs(l2(abs_stepsize=length, steps=STEPS), L2),
            "torchattacks": lambda: torchattacks.PGDL2(policy, L2, length, STEPS)(x, y),
        },
        "square": {"aajr": ours(square), "torchattacks": lambda: rival(x, y)},
    }


def measured(rounds: list[dict[str, Callable[[], Tensor]]], policy: nn.Module, y: Tensor) -> dict:
    """Median CPU seconds, ratio to the fastest rival, loss and success over the rounds' seeds."""
    seconds: dict[str, list[float]] = {name: [] for name in rounds[0]}
    scores: dict[str, list[tuple[float, float]]] = {name: [] for name in rounds[0]}
    for seed, libraries in enumerate(rounds):
        for name, attack in libraries.items():
            torch.manual_seed(seed)
            began = time.process_time()
            point = attack()
            seconds[name].append(time.process_time() - began)
            scores[name].append(scored(policy, point, y))
    rivals = [times for name, times in seconds.items() if name != "aajr"]
    fastest = [min(times) for times in zip(*rivals, strict=True)]
    ratios = [own / other for own, other in zip(seconds["aajr"], fastest, strict=True)]
    table = {name: summary(times, scores[name]) for name, times in seconds.items()}
    return {"ratio_to_faster_peer": statistics.median(ratios), **table}


@torch.no_grad()
def scored(policy: nn.Module, point: Tensor, y: Tensor) -> tuple[float, float]:
    """Mean cross-entropy, and the share of rows that are misclassified."""
    output = policy(point)
    wrong = (output.argmax(1) != y).float().mean()
    return float(nn.functional.cross_entropy(output, y)), float(wrong)


def summary(seconds: list[float], scores: list[tuple[float, float]]) -> dict[str, float]:
    """Means over seeds, with their standard errors."""
    found = {"seconds": statistics.median(seconds)}
    for name, values in zip(("loss", "success"), zip(*scores, strict=True), strict=True):
        found[name] = statistics.mean(values)
        found[f"{name}_standard_error"] = statistics.stdev(values) / len(values) ** 0.5
    return found


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    images, table = Images(), {}
    for name, policy in policies().items():
        trained(policy, images)
        x, y = images.batch()
        rounds = [attacks(policy, x, y, seed) for seed in range(ROUNDS)]
        for case in rounds[0]:
            table[f"{name}, {case}"] = found = measured([r[case] for r in rounds], policy, y)
            print(f"{name}, {case}: {found}", flush=True)
    record(
        "peers",
        {"rows": ROWS, "steps": STEPS, "queries": QUERIES, "seeds": ROUNDS, "cases": table},
        "make bench-peers",
    )


if __name__ == "__main__":
    main()
