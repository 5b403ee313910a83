"""Environment steps per second: the game alone, and collection with plain training."""

import statistics
import time

import torch
import vmas

from aajr.arena.attacks.victim import Victim
from aajr.arena.training.collection import FrozenTeam, LearningTeam, collect
from aajr.arena.training.ppo import PPOConfig
from aajr.hide_and_seek.game import HideAndSeek, HideAndSeekConfig, make_torchrl_env
from aajr.hide_and_seek.game.actors import team_actor
from aajr.hide_and_seek.game.matches import Match
from aajr.hide_and_seek.training import AdversaryConfig, PenaltyConfig, TrainConfig, Trainer
from aajr.studies.comparison.attacks import scores_of, suite_of
from aajr.studies.comparison.presets import PRESETS
from benchmarks.recording import record

GAME = HideAndSeekConfig()


def test_environment(benchmark):
    envs = 512
    game = vmas.make_env(
        HideAndSeek(GAME), envs, continuous_actions=False, multidiscrete_actions=True, seed=0
    )
    game.reset()
    generator = torch.Generator().manual_seed(0)
    sizes = torch.tensor([11, 11, 2, 2])
    actions = [
        (torch.rand(envs, 4, generator=generator) * sizes).long() for _ in range(GAME.n_agents)
    ]
    benchmark.pedantic(lambda: game.step(actions), rounds=64, warmup_rounds=5)
    torchrl = make_torchrl_env(GAME, envs)
    players = {
        "hider": LearningTeam(team_actor(60), generator),
        "seeker": FrozenTeam([team_actor(60)], generator),
    }
    began = time.perf_counter()
    collect(torchrl, players, GAME.max_steps, seed=0)
    collected = envs * GAME.max_steps / (time.perf_counter() - began)
    record(
        "environment",
        {
            "threads": torch.get_num_threads(),
            "vmas_steps_per_second": envs / statistics.median(benchmark.stats.stats.data),
            "torchrl_collection_steps_per_second": collected,
        },
    )


def test_training(benchmark):
    adversary, aajr = AdversaryConfig("update"), PenaltyConfig("aajr", 0.004)
    cases = {
        "plain": (AdversaryConfig(), PenaltyConfig()),
        "adversarial": (adversary, PenaltyConfig()),
        "aajr": (adversary, aajr),
        "global": (adversary, PenaltyConfig("global", 0.004)),
    }
    ppo = PPOConfig(environments=512)
    trainers = {
        name: Trainer(TrainConfig(ppo=ppo, adversary=attack, penalty=penalty), [team_actor(60)])
        for name, (attack, penalty) in cases.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in trainers}

    def interleaved():
        for name, trainer in trainers.items():
            began = time.perf_counter()
            trainer.step()
            seconds[name].append(time.perf_counter() - began)

    benchmark.pedantic(interleaved, rounds=7, warmup_rounds=1)
    steps = ppo.environments * GAME.max_steps
    base = seconds["adversarial"]
    record(
        "training",
        {
            "threads": torch.get_num_threads(),
            "steps_per_second": {n: steps / statistics.median(t) for n, t in seconds.items()},
            "extra_time_of_an_iteration_over_adversarial": {
                name: statistics.median(t / b for t, b in zip(times, base, strict=True)) - 1
                for name, times in seconds.items()
            },
        },
    )


def test_processor_time(benchmark):
    """What the preset quick is made of, on one thread; processor time, so that a busy machine
    does not count.
    """
    preset, threads = PRESETS["others"], torch.get_num_threads()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    hiders, seekers = (team_actor(60, generator=generator).requires_grad_(False) for _ in "ab")
    match = Match(preset.env, [seekers], preset.episodes, seed=0)
    method = next(m for m in preset.methods if m.name == "adversarial")
    trainer = Trainer(preset.train_config(method, None, 0), [seekers])

    def evaluation():
        victim = Victim(hiders, match, preset.threat, preset.effort)
        scores_of(victim, suite_of(preset), [preset.reference_epsilon])

    jobs = {"adversarial_iteration": trainer.step, "evaluation_at_one_radius": evaluation}
    seconds: dict[str, list[float]] = {name: [] for name in jobs}

    def interleaved():
        for name, job in jobs.items():
            began = time.process_time()
            job()
            seconds[name].append(time.process_time() - began)

    benchmark.pedantic(interleaved, rounds=5, warmup_rounds=1)
    torch.set_num_threads(threads)
    record(
        "processor_time",
        {"threads": 1, "processor_seconds": {n: min(times) for n, times in seconds.items()}},
    )
