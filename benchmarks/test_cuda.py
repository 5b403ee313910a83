"""Updates, the game and training on a CUDA device. Wall time, with the device waited for."""

import statistics
import time

import pytest
import torch
import vmas

from aajr import Ball
from aajr.arena.training.ppo import PPOConfig
from aajr.hide_and_seek.game import HideAndSeek, HideAndSeekConfig
from aajr.hide_and_seek.game.actors import team_actor
from aajr.hide_and_seek.training import AdversaryConfig, PenaltyConfig, TrainConfig, Trainer
from benchmarks.recording import record
from benchmarks.test_penalties import UPDATES, Update, over, penalties

DEVICE = torch.device("cuda")
GAME = HideAndSeekConfig()
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def seconds_of(job) -> float:
    """Wall time of a job, from an idle device to an idle device."""
    torch.cuda.synchronize()
    began = time.perf_counter()
    job()
    torch.cuda.synchronize()
    return time.perf_counter() - began


def interleaved(jobs: dict, rounds: int) -> dict[str, list[float]]:
    """Times of every job, one job after the other; the first round warms up."""
    rows = [{name: seconds_of(job) for name, job in jobs.items()} for _ in range(rounds + 1)]
    return {name: [row[name] for row in rows[1:]] for name in jobs}


def repeated(update: Update):
    def job() -> None:
        for _ in range(UPDATES):
            update()

    return job


def test_cuda(benchmark):
    ball = Ball("linf", 0.1)
    wanted = ("adversarial", "aajr", "aajr, whole batch", "frobenius", "sa")
    updates, ratios = {}, {}
    for rows, width in ((4096, 64), (65536, 64), (65536, 1024)):
        jobs = {
            name: repeated(Update(penalty, ball, rows, DEVICE, width))
            for name, penalty in penalties(ball).items()
            if name in wanted
        }
        seconds = interleaved(jobs, rounds=5)
        case = f"{rows} rows, {width} units"
        updates[case] = {n: statistics.median(t) / UPDATES for n, t in seconds.items()}
        ratios[case] = over(seconds, "adversarial")
    benchmark.pedantic(lambda: None, rounds=1)
    record(
        "cuda",
        {
            "device": torch.cuda.get_device_name(),
            "seconds_per_update": updates,
            "time_of_an_update_over_adversarial": ratios,
            "game_steps_per_second": {str(n): game_speed(n) for n in (4096, 32768)},
            "training": training(4096),
        },
        command="make bench, with a CUDA device",
    )


def game_speed(envs: int, steps: int = 16) -> float:
    """Environment steps per second of the game with random actions."""
    game = vmas.make_env(
        HideAndSeek(GAME),
        envs,
        device=DEVICE,
        continuous_actions=False,
        multidiscrete_actions=True,
        seed=0,
    )
    game.reset()
    sizes = torch.tensor([11, 11, 2, 2], device=DEVICE)
    actions = [(torch.rand(envs, 4, device=DEVICE) * sizes).long() for _ in range(GAME.n_agents)]

    def play() -> None:
        for _ in range(steps):
            game.step(actions)

    return envs * steps / min(seconds_of(play) for _ in range(3))


def training(envs: int) -> dict:
    """Environment steps per second of whole iterations, and AAJR's extra time."""
    ppo = PPOConfig(environments=envs)
    cases = {
        "adversarial": (AdversaryConfig("update"), PenaltyConfig()),
        "aajr": (AdversaryConfig("update"), PenaltyConfig("aajr", 0.004)),
    }
    jobs = {
        name: Trainer(
            TrainConfig(ppo=ppo, adversary=attack, penalty=penalty), [team_actor(60)], device=DEVICE
        ).step
        for name, (attack, penalty) in cases.items()
    }
    seconds = interleaved(jobs, rounds=2)
    steps = envs * GAME.max_steps
    return {
        "environments": envs,
        "steps_per_second": {n: steps / statistics.median(t) for n, t in seconds.items()},
        "time_of_an_iteration_over_adversarial": over(seconds, "adversarial"),
    }
