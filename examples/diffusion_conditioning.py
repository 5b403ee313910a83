"""A diffusion model whose conditioning is attacked.

Eight blobs lie on a ring. A small network learns to remove the noise from a point, given the label
of its blob as a vector, as a text encoder would give it. A mask lets the adversary change only this
vector, by at most ε per entry. At every sampling step it maximises the error of the predicted
noise. Training with random noise of the same size is the cheap baseline.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from aajr import AAJR, Ball, Euclidean, Minimax, ProjectedGradientAscent, Reference

BLOBS, STEPS, WIDTH = 8, 20, 16  # WIDTH: entries of the conditioning vector
EPSILON = 0.5  # L-infinity radius; entries of two labels differ by about 1.1
MASK = torch.tensor([False] * 3 + [True] * WIDTH)  # point, noise level, conditioning
BALL = Ball("linf", EPSILON, mask=MASK)
LABELS = torch.randn(BLOBS, WIDTH, generator=torch.Generator().manual_seed(7))
ANGLES = 2 * math.pi * torch.arange(BLOBS) / BLOBS
CENTRES = torch.stack([ANGLES.cos(), ANGLES.sin()], 1)


def noise_level(step: Tensor) -> Tensor:
    """ᾱ of a cosine schedule, 1 at step 0 and near 0 at the last one."""
    return (0.5 * math.pi * 0.98 * step / STEPS).cos().square()


def make_batch(rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Inputs ``[rows, 3 + WIDTH]`` (noisy point, step, label) and their noise ``[rows, 2]``."""
    blob = torch.randint(BLOBS, (rows,), generator=generator)
    point = CENTRES[blob] + 0.1 * torch.randn(rows, 2, generator=generator)
    step = torch.randint(1, STEPS + 1, (rows, 1), generator=generator)
    level, noise = noise_level(step), torch.randn(rows, 2, generator=generator)
    noisy = level.sqrt() * point + (1 - level).sqrt() * noise
    return torch.cat([noisy, step / STEPS, LABELS[blob]], 1), noise


def wrong_noise(output: Tensor, reference: Reference) -> Tensor:
    """What the adversary maximises, one loss per row."""
    return (output - reference.data["noise"]).square().sum(1)


def train(method: str, updates: int = 1500) -> nn.Sequential:
    """A denoiser, trained by one of ``plain``, ``noise``, ``adversarial``, ``AAJR``."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(3 + WIDTH, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 2)
    )
    optimizer, generator = (
        torch.optim.Adam(net.parameters(), 2e-3),
        torch.Generator().manual_seed(1),
    )
    attack = ProjectedGradientAscent(BALL, wrong_noise, steps=2)
    robust = Minimax(attack, AAJR(metric=Euclidean()) if method == "AAJR" else None, weight=0.01)
    for _ in range(updates):
        x, noise = make_batch(256, generator)
        task = _error_against(noise)
        if method in ("adversarial", "AAJR"):
            loss = robust(net, x, task, {"noise": noise}).total
        else:
            loss = task(net(x + BALL.sample(x, generator) if method == "noise" else x))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net


def _error_against(noise: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda output: (output - noise).square().mean()


@torch.no_grad()
def right_blob(net: nn.Sequential, attacked: bool, rows: int = 400) -> float:
    """Share of samples that end nearest to the requested blob."""
    generator = torch.Generator().manual_seed(2)
    blob = torch.arange(rows) % BLOBS
    point = torch.randn(rows, 2, generator=generator)
    attack = ProjectedGradientAscent(BALL, wrong_noise, steps=10)
    for step in range(STEPS, 0, -1):
        level, after = (noise_level(torch.tensor(float(s))) for s in (step, step - 1))
        x = torch.cat([point, torch.full((rows, 1), step / STEPS), LABELS[blob]], 1)
        if attacked:
            honest = (point - level.sqrt() * CENTRES[blob]) / (1 - level).sqrt()
            x = attack(net, x, generator, {"noise": honest}).worst
        noise = net(x)
        clean = (point - (1 - level).sqrt() * noise) / level.sqrt()
        point = after.sqrt() * clean.clamp(-2, 2) + (1 - after).sqrt() * noise
    return (torch.cdist(point, CENTRES).argmin(1) == blob).float().mean().item()


if __name__ == "__main__":
    for method in ("plain", "noise", "adversarial", "AAJR"):
        net = train(method)
        print(f"{method:<12} right blob {right_blob(net, False):6.1%}", end="   ")
        print(f"under attack {right_blob(net, True):6.1%}", flush=True)
