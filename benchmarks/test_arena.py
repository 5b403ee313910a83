"""Episodes per second under a gradient attack: all at once, against a loop of single ones."""

import functools
import statistics
import time

import gymnasium
import torch
from torch import nn

from aajr import Ball, Divergence, ProjectedGradientAscent
from aajr._seeds import derive
from aajr.arena.agents.agent import Agent
from aajr.arena.environments.episodes import AttackedTeam, play
from aajr.arena.environments.gymnasium import GymnasiumEnvironment, head_of
from aajr.arena.spaces.gymnasium import native_action
from benchmarks.recording import record

EPISODES, STEPS, ROUNDS = 50, 50, 3
LASTING = functools.partial(gymnasium.make, "Hopper-v5", terminate_when_unhealthy=False)


def agent_of(example):
    head, features = head_of(example.action_space), example.observation_space.shape[0]
    torch.manual_seed(0)
    layers = nn.Linear(features, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh()
    network = nn.Sequential(*layers, nn.Linear(64, head.outputs)).requires_grad_(False)
    return Agent(network, head, features, "raw")


def attack_on(agent):
    return ProjectedGradientAscent(Ball("linf", 0.05), Divergence(agent.head.metric), steps=5)


@torch.no_grad()
def one_at_a_time(match):
    single = match.make()
    agent = agent_of(single)
    adversary, source = attack_on(agent), torch.Generator().manual_seed(0)
    for index in range(match.episodes):
        shown, _ = single.reset(seed=derive(match.seed, "start", index))
        for _ in range(match.limit):
            x = torch.as_tensor(shown, dtype=torch.float32)[None]
            action = agent.head.act(agent(adversary(agent, x, source).worst))[0]
            step = single.step(native_action(single.action_space, action.numpy()))
            shown, _, ended, cut, _ = step
            if ended or cut:
                break
    single.close()


def all_at_once(match):
    agent = agent_of(match.example)
    play(match, AttackedTeam(agent, attack_on(agent), torch.Generator().manual_seed(0)))


def test_all_episodes_at_once(benchmark):
    matches = {
        name: GymnasiumEnvironment(source, EPISODES, 0, limit=STEPS)
        for name, source in (("CartPole-v1", "CartPole-v1"), ("Hopper-v5", LASTING))
    }
    ways = {"single": one_at_a_time, "batch": all_at_once}
    seconds: dict[tuple[str, str], list[float]] = {(m, w): [] for m in matches for w in ways}

    def interleaved():
        for match, way in seconds:
            began = time.perf_counter()
            ways[way](matches[match])
            seconds[match, way].append(time.perf_counter() - began)

    benchmark.pedantic(interleaved, rounds=ROUNDS)
    rates = {
        name: {way: EPISODES / statistics.median(seconds[name, way]) for way in ways}
        for name in matches
    }
    record("arena", {"episodes_per_second": rates, "threads": torch.get_num_threads()})
    for rate in rates.values():
        assert rate["batch"] > 3 * rate["single"]
