"""Examination of any agent in any environment under a whole suite of attacks."""

from __future__ import annotations

import copy
import hashlib
import math
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch

from aajr._checks import check_choice, check_count, check_number
from aajr.arena.agents.agent import Agent
from aajr.arena.attacks.action_threat import on_actions
from aajr.arena.attacks.agent_suites import agent_suite, fitting, threat_of
from aajr.arena.attacks.balls import ball_facts
from aajr.arena.attacks.suites import Suite
from aajr.arena.environments.gymnasium import head_of
from aajr.arena.environments.protocols import Environment
from aajr.arena.environments.seeing import seen_by
from aajr.arena.examination._runs import Progress, Run, Told
from aajr.arena.examination.trials import Examination
from aajr.arena.records.evaluation import CLEAN
from aajr.arena.reports.report import Examined, Report
from aajr.arena.spaces.heads import CategoricalHead, Head
from aajr.geometry import Ball
from aajr.report.provenance import PACKAGES, machine_facts, version_facts

EPSILONS = (0.25, 0.5, 1.0)
"""Default radii of the curve, as shares of ε."""


def examine(
    agent: Agent | Sequence[Agent],
    environment: Any,
    ball: Ball,
    suite: str | Suite = "standard",
    *,
    threat: Literal["observations", "actions"] = "observations",
    epsilons: Sequence[float] | None = None,
    episodes: int = 50,
    seed: int = 0,
    directory: str | Path | None = None,
    progress: Progress | None = None,
    film: bool = False,
) -> Report:
    """Attack an agent with every attack of a suite at every radius; report the worst case.

    Every finished trial is one file below ``directory``, so that the same call continues a stopped
    examination. An attack that does not fit the agent, the ball or the environment, or that stops
    with an error, is named in the report with the reason.

    Args:
        agent: the agent, or several agents of different training seeds, over which the intervals
            are then taken.
        environment: a name that Gymnasium knows, ``package.module:factory``, a factory, or an
            :class:`aajr.arena.environments.protocols.Environment`, which is resized. The agent's
            own sight is used, unless the environment was made with one.
        ball: norm, ε, mask, scale and valid box of the perturbations, in the agent's unit, or under
            ``threat="actions"`` in the actions' unit.
        suite: ``quick``, ``standard`` or ``thorough``, or a suite of your own.
        threat: what the adversary changes: what the agent sees, or what it does, see
            :func:`~aajr.arena.attacks.action_threat.on_actions`.
        epsilons: further radii; by default ε/4 and ε/2.
        episodes: number of episodes of each trial.
        seed: seed of the initial states, the same for all trials.
        directory: where trials and learned attackers are kept; None for a temporary directory.
        progress: called before every part with the finished parts, all parts and words about it.
        film: whether to add a film of one episode without and under the worst attack, or traces of
            its observations where nothing is rendered.

    Returns:
        The report.

    Raises:
        ValueError: an agent and an environment that do not fit, numbers out of range.

    Example:
        >>> from torch import nn
        >>> from aajr.arena import GymnasiumEnvironment
        >>> environment = GymnasiumEnvironment("CartPole-v1", 1, 0, limit=50)
        >>> network = nn.Linear(4, 2, bias=False).requires_grad_(False)
        >>> _ = network.weight.copy_(torch.tensor([[0.0, 0, -1, -1], [0, 0, 1, 1]]))
        >>> agent = Agent(network, CategoricalHead((2,)), 4, "raw", source="pole balancer")
        >>> report = examine(agent, environment, Ball("linf", 0.3), "quick", episodes=2)
        >>> report.worst.mean_return.estimate < report.clean.estimate
        True
    """
    begin = time.perf_counter()
    agents = [agent] if isinstance(agent, Agent) else list(agent)
    check_number("ball.epsilon", ball.epsilon, exclusive=True)
    check_count("episodes", episodes)
    check_choice("threat", threat, ("observations", "actions"))
    if not agents:
        raise ValueError("agent is empty; give at least one agent")
    matches = [_environment(environment, one, episodes, seed) for one in agents]
    inside = ball
    if threat == "actions":
        agents, matches, inside = _acting(agents, matches, ball)
    seen = [_first_steps(one, match, seed) for one, match in zip(agents, matches, strict=True)]
    whole = agent_suite(suite) if isinstance(suite, str) else suite
    chosen, left_out = fitting(whole, list(map(_told_apart, agents)), matches[0], inside)
    plan = Examination(
        chosen, threat_of(matches[0]), _radii(ball, epsilons), episodes, seed, inside, True
    )
    place = tempfile.TemporaryDirectory() if directory is None else nullcontext(str(directory))
    with place as kept:
        runs = [
            Run(one, match, plan, Path(kept), index, digest)
            for index, (one, match, digest) in enumerate(zip(agents, matches, seen, strict=True))
        ]
        told = Told(progress, sum(run.parts for run in runs) + film)
        examined = tuple(run.examined(told) for run in runs)
        report = replace(_report(plan, matches[0], ball, examined), left_out=left_out)
        if film:
            told.next(f"{runs[0].source}: film of the worst case")
            report = _with_film(report, runs[0])
    return replace(report, seconds=time.perf_counter() - begin)


def _with_film(report: Report, run: Run) -> Report:
    """The report with a film of its worst case, or with the reason why there is none."""
    if report.worst.attack == CLEAN:
        reason = "shows the worst attack, and none was worse than no attack"
    else:
        try:
            return replace(report, film=run.film(report.worst))
        except Exception as error:  # a renderer may raise anything
            reason = f"stopped: {type(error).__name__}: {error}"
    return replace(report, left_out={**report.left_out, "the film": reason})


def _report(
    plan: Examination, match: Environment[Any], ball: Ball, examined: tuple[Examined, ...]
) -> Report:
    """The report of examined agents, without left-out attacks, film and time."""
    inside = getattr(match, "environment", match)
    threshold = getattr(inside, "solved_at", None)
    return Report(
        agents=examined,
        unit=examined[0].assessment.clean.unit,
        environment=match.facts,
        ball=ball_facts(ball),
        suite=plan.suite.facts(),
        epsilons=plan.epsilons,
        episodes=plan.episodes,
        seed=plan.seed,
        threshold=threshold if threshold is not None and math.isfinite(threshold) else None,
        wins=threshold is None or math.isfinite(threshold),
        machine=machine_facts() | {"threads": torch.get_num_threads()},
        versions=version_facts((*PACKAGES, "gymnasium", "stable_baselines3", "mujoco")),
    )


def _radii(ball: Ball, epsilons: Sequence[float] | None) -> tuple[float, ...]:
    further = [share * ball.epsilon for share in EPSILONS] if epsilons is None else epsilons
    return tuple(sorted({*further, ball.epsilon}))


def _environment(source: Any, agent: Agent, episodes: int, seed: int) -> Environment[Any]:
    """The environment with the episodes and the seed, and what the agent sees of it."""
    match = seen_by(agent, source, episodes, seed)
    space = getattr(match, "action_space", None)
    if space is not None:
        _check_actions(agent.head, space)
    return match


def _acting(
    agents: Sequence[Agent], matches: Sequence[Environment[Any]], ball: Ball
) -> tuple[list[Agent], list[Environment[Any]], Ball]:
    """The agents, their environments and the ball, where actions are attacked."""
    found = [on_actions(one, match, ball) for one, match in zip(agents, matches, strict=True)]
    return [one for one, _, _ in found], [match for _, match, _ in found], found[0][2]


def _check_actions(head: Head, space: Any) -> None:
    """Raise ValueError unless the head's actions are those of the environment."""
    wanted = head_of(space)
    if isinstance(wanted, CategoricalHead) or isinstance(head, CategoricalHead):
        fits = getattr(head, "sizes", None) == getattr(wanted, "sizes", None)
    else:
        fits = len(getattr(head, "low", ())) == len(getattr(wanted, "low", ()))
    if not fits:
        raise ValueError(f"the agent acts by {head}, but the environment's actions are {space}")


def _told_apart(agent: Agent) -> Agent:
    """The agent, marked as a black box if autograd finds no path from its input to its output."""
    x = torch.zeros(1, agent.features, requires_grad=True)
    with torch.enable_grad():
        if not agent.differentiable or agent(x).requires_grad:
            return agent
    marked = copy.copy(agent)
    marked.differentiable = False
    return marked


@torch.no_grad()
def _first_steps(agent: Agent, match: Environment[Any], seed: int) -> str:
    """A digest of what the agent sees and does at the first step, which also checks its outputs."""
    state = match.resized(2, seed).reset()
    seen = state.observation.flatten(0, 1)
    outputs = agent(seen)
    if outputs.shape != (len(seen), agent.head.outputs):
        raise ValueError(
            f"the agent returns outputs of shape {tuple(outputs.shape)} for {len(seen)} "
            f"observations; its head {agent.head} needs {(len(seen), agent.head.outputs)}"
        )
    if not bool(outputs.isfinite().all()):
        raise ValueError("the agent returns NaN or infinity at its first observation")
    action = agent.head.act(outputs)
    state.step(action.reshape(*state.observation.shape[:2], -1))
    state.record()
    total = hashlib.sha256()
    for tensor in (seen, outputs, state.observation):
        total.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()[:8]
