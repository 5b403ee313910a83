"""PPO of aajr.jax beside Stable-Baselines3's, on Hopper with the same recipe, in turn."""

import importlib.util
import itertools
import statistics
import time

import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

from aajr.jax import AAJR, Ball, DiagonalGaussian, Divergence, Minimax, ProjectedGradientAscent
from aajr.jax.ppo import PPOConfig, train
from benchmarks.recording import record

ROUNDS, UPDATES, FIRST = 3, 30, 5  # the first updates compile
ENGINE = "envpool:" if importlib.util.find_spec("envpool") else ""
METRIC = DiagonalGaussian()
ATTACK = ProjectedGradientAscent(Ball("linf", 0.075), Divergence(METRIC), steps=1)
METHODS = {
    "plain": None,
    "adversarial": Minimax(ATTACK),
    "aajr": Minimax(ATTACK, AAJR(metric=METRIC), weight=0.01),
}


def ours(name: str, directory) -> dict[str, float]:
    """Microseconds of a step, by the wall and by the processor, without the first updates."""
    marks = []

    def mark(line: dict) -> None:
        marks.append((time.perf_counter(), time.process_time()))

    config = PPOConfig(steps=2048 * UPDATES, segment=UPDATES)
    began = time.perf_counter()
    train(f"{ENGINE}Hopper-v5", directory, config, METHODS[name], progress=mark)
    steps = config.rows * (UPDATES - FIRST)
    wall, processor = (
        1e6 * (last - first) / steps
        for first, last in zip(marks[FIRST - 1], marks[-1], strict=True)
    )
    return {"wall": wall, "processor": processor, "first_update_seconds": marks[0][0] - began}


def theirs() -> dict[str, float]:
    """The same of Stable-Baselines3."""
    games = make_vec_env("Hopper-v5", 16, seed=0)
    model = PPO("MlpPolicy", games, n_steps=128, batch_size=64, n_epochs=10, device="cpu", seed=0)
    model.learn(2048)
    began = time.perf_counter(), time.process_time()
    model.learn(8 * 2048)
    took = time.perf_counter() - began[0], time.process_time() - began[1]
    wall, processor = (1e6 * seconds / (8 * 2048) for seconds in took)
    return {"wall": wall, "processor": processor}


@pytest.mark.timeout(1800)
def test_ppo(benchmark, tmp_path):
    found: dict[str, list[dict[str, float]]] = {name: [] for name in (*METHODS, "sb3")}
    numbers = itertools.count()

    def once() -> None:
        for name in METHODS:
            found[name].append(ours(name, tmp_path / str(next(numbers))))
        found["sb3"].append(theirs())

    benchmark.pedantic(once, rounds=ROUNDS, warmup_rounds=0)
    medians = {
        name: {key: statistics.median(one[key] for one in runs) for key in runs[0]}
        for name, runs in found.items()
    }
    ratios = [a["wall"] / b["wall"] for a, b in zip(found["sb3"], found["plain"], strict=True)]
    shares = [
        a["wall"] / b["wall"] - 1 for a, b in zip(found["aajr"], found["adversarial"], strict=True)
    ]
    figures = {
        "engine": ENGINE or "gymnasium",
        "microseconds_per_step": medians,
        "sb3_over_plain": statistics.median(ratios),
        "share_of_aajr": statistics.median(shares),
        "rounds": found,
    }
    record("ppo", figures)
    assert figures["sb3_over_plain"] > 1
