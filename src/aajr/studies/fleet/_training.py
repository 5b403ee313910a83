"""Training of the fleet: the learner of hide-and-seek on the fleet's rollouts."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from tensordict import TensorDict
from torch import Tensor

from aajr._seeds import derive
from aajr.adversaries import Adversary, LyingSources
from aajr.arena.agents.actors import Actor, MedianReports
from aajr.arena.threats import FARTHEST
from aajr.arena.training.advantages import critic_input, rows_of
from aajr.arena.training.collection import LearningTeam
from aajr.geometry import Ball
from aajr.hide_and_seek.training.builders import build_search
from aajr.hide_and_seek.training.config import AdversaryConfig, LearnerConfig
from aajr.hide_and_seek.training.learner import Learner
from aajr.studies.fleet._environment import Crossing, Record
from aajr.studies.fleet._world import HEADS, FleetConfig
from aajr.trajectory import Objective

UNIT = "half widths of the arena"
GROUP = "fleet"

Front = Literal["median"] | None
"""What stands before the network: the median of the reports, or nothing."""


def actor_of(
    world: FleetConfig, hidden: tuple[int, ...], front: Front, generator: torch.Generator
) -> Actor:
    """The untrained network that all vehicles share."""
    before = MedianReports(world.reporters) if front == "median" else None
    return Actor(world.features, HEADS, hidden, generator, UNIT, before)


def lies(
    world: FleetConfig, adversary: AdversaryConfig, objective: Objective, epsilon: float
) -> Adversary:
    """The adversary of training: k sources at random lie to every vehicle by up to ε."""
    mask = world.reporters >= 0
    ball = Ball("linf", epsilon, mask=mask, low=-FARTHEST, high=FARTHEST)
    search = build_search(adversary, objective, ball)
    return LyingSources(search, world.reporters, world.liars, adversary.liars or "random")


def learner_of(world: FleetConfig, config: LearnerConfig, front: Front = None) -> Learner:
    """A new learner; its initial weights depend on the seed of the run."""
    example = torch.zeros(1, world.vehicles, world.features)
    return Learner(
        config,
        partial(actor_of, world, config.ppo.hidden, front),
        critic_input(example, config.ppo.critic).shape[-1],
        world.reporters >= 0,
        partial(lies, world, config.adversary),
        derive(config.seed, "fleet"),
    )


def train(learner: Learner, world: FleetConfig) -> dict[str, list[float]]:
    """Train for all iterations.

    Returns:
        By iteration: ``unhurt``, the share of vehicles that arrived and never collided,
        ``collided``, ``return``, and the norms ``gradient_norm`` and, with an adversary at the
        update, ``inner_gradient_norm``.
    """
    config, course = learner.config, []
    for iteration in range(config.iterations):
        seed = derive(config.seed, "iteration", iteration)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            generator = torch.Generator().manual_seed(seed)
            match = Crossing(world, config.ppo.environments, seed)
            data, record = collect(match, learner.player(iteration, generator))
            log = learner.update(rows_of(data, GROUP, learner.critic, config.ppo), generator)
        found = log.summary()
        norms = {
            name: found[f"{kind}_gradient_norm"]
            for name, kind in (("gradient_norm", "outer"), ("inner_gradient_norm", "inner"))
            if f"{kind}_gradient_norm" in found
        }
        course.append(measures(record) | norms)
    return {name: [metrics[name] for metrics in course] for name in course[0]}


def measures(record: Record) -> dict[str, float]:
    """Share of the vehicles that arrived unhurt and that collided, and the mean return."""
    return {
        "unhurt": float(record.unhurt.float().mean()),
        "collided": float(record.collided.float().mean()),
        "return": float(record.reward.sum(1).mean()),
    }


def collect(match: Crossing, team: LearningTeam) -> tuple[TensorDict, Record]:
    """Play all episodes with the learning team.

    Returns:
        The data that :func:`aajr.arena.training.advantages.rows_of` reads, ``[episodes, steps]``,
        and the record of the episodes.
    """
    state, chosen = match.reset(), []
    while len(state.running):
        chosen.append(team(state.observation))
        state.step(chosen[-1]["action"])
    record = state.record()
    own = {name: torch.stack([step[name] for step in chosen], 1) for name in chosen[0]}
    own["observation"] = record.observation
    done = torch.zeros(match.episodes, match.steps, 1, dtype=torch.bool)
    done[:, -1] = True
    after = {"observation": _following(record.observation, state.observation)}
    after["reward"] = record.reward.unsqueeze(-1)
    following = {GROUP: after, "done": done}
    return TensorDict({GROUP: own, "next": following}, record.reward.shape[:2]), record


def _following(observation: Tensor, last: Tensor) -> Tensor:
    return torch.cat([observation[:, 1:], last.unsqueeze(1)], 1)
