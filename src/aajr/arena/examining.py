"""Examination of any agent in any environment under a whole suite of attacks."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pydantic.dataclasses
import torch

from aajr._checks import check_count, check_number
from aajr.arena._strength import Strength
from aajr.arena.agent_suites import agent_suite, fitting
from aajr.arena.agents import Agent
from aajr.arena.balls import ball_facts
from aajr.arena.environments import Environment
from aajr.arena.examination import Examination, Examinee
from aajr.arena.fields import Real, read_record
from aajr.arena.gymnasium import GymnasiumEnvironment, head_of
from aajr.arena.heads import CategoricalHead, Head
from aajr.arena.records import Trial
from aajr.arena.reports import Check, Examined, Report
from aajr.arena.seeing import seen_by
from aajr.arena.suites import AttackSpec, Suite
from aajr.geometry import Ball
from aajr.report.files import write_json
from aajr.report.provenance import PACKAGES, machine_facts, version_facts

Progress = Callable[[int, int, str], None]
"""Function that is called with the finished parts, all parts, and words about the next one."""

EPSILONS = (0.25, 0.5, 1.0)
"""Default radii of the curve, as shares of ε."""


def examine(
    agent: Agent | Sequence[Agent],
    environment: Any,
    ball: Ball,
    suite: str | Suite = "standard",
    *,
    epsilons: Sequence[float] | None = None,
    episodes: int = 50,
    seed: int = 0,
    directory: str | Path | None = None,
    progress: Progress | None = None,
) -> Report:
    """Attack an agent with every attack of a suite at every radius; report the worst case.

    Every finished trial is one file below ``directory``, so that the same call continues a stopped
    examination. An attack that does not fit the agent, the ball or the environment, or that stops
    with an error, is named in the report with the reason.

    Args:
        agent: the agent, or several agents of different training seeds, over which the intervals
            are then taken.
        environment: a name that Gymnasium knows, ``package.module:factory``, a factory, or an
            :class:`aajr.arena.environments.Environment`, which is resized. The agent's own sight
            replaces that of an environment of Gymnasium.
        ball: norm, ε, mask, scale and valid box of the perturbations, in the agent's unit.
        suite: ``quick``, ``standard`` or ``thorough``, or a suite of your own.
        epsilons: further radii; by default ε/4 and ε/2.
        episodes: number of episodes of each trial.
        seed: seed of the initial states, the same for all trials.
        directory: where trials and learned attackers are kept; None for a temporary directory.
        progress: called before every part.

    Returns:
        The report.

    Raises:
        ValueError: an agent and an environment that do not fit, numbers out of range.

    Example:
        >>> from torch import nn
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
    if not agents:
        raise ValueError("agent is empty; give at least one agent")
    matches = [_environment(environment, one, episodes, seed) for one in agents]
    seen = [_first_steps(one, match, seed) for one, match in zip(agents, matches, strict=True)]
    whole = agent_suite(suite) if isinstance(suite, str) else suite
    chosen, left_out = fitting(whole, list(map(_told_apart, agents)), matches[0], ball)
    plan = Examination(chosen, "full", _radii(ball, epsilons), episodes, seed, ball, True)
    place = tempfile.TemporaryDirectory() if directory is None else nullcontext(str(directory))
    with place as kept:
        runs = [
            _Run(one, match, plan, Path(kept), index, digest)
            for index, (one, match, digest) in enumerate(zip(agents, matches, seen, strict=True))
        ]
        told = _Told(progress, sum(run.parts for run in runs))
        examined = tuple(run.examined(told) for run in runs)
    match = matches[0]
    threshold = getattr(match, "solved_at", None)
    return Report(
        agents=examined,
        unit=examined[0].assessment.clean.unit,
        environment=match.facts,
        ball=ball_facts(ball),
        suite=chosen.facts(),
        left_out=left_out,
        epsilons=plan.epsilons,
        episodes=episodes,
        seed=seed,
        threshold=threshold if threshold is not None and math.isfinite(threshold) else None,
        wins=threshold is None or math.isfinite(threshold),
        seconds=time.perf_counter() - begin,
        machine=machine_facts() | {"threads": torch.get_num_threads()},
        versions=version_facts((*PACKAGES, "gymnasium", "stable_baselines3", "mujoco")),
    )


@dataclass
class _Told:
    """Progress over all parts."""

    progress: Progress | None
    parts: int
    done: int = 0

    def next(self, words: str) -> None:
        if self.progress is not None:
            self.progress(self.done, self.parts, words)
        self.done += 1


@dataclass(frozen=True)
class _Entry:
    """Name, source, method and seed of an agent, as an examinee needs them."""

    name: str
    path: Path
    method: str
    seed: int


@pydantic.dataclasses.dataclass(frozen=True)
class _Strengths:
    """The checks of one agent, as its file holds them."""

    checks: tuple[Check, ...]
    random_returns: tuple[Real, ...]


class _Run:
    """The examination of one agent."""

    def __init__(
        self,
        agent: Agent,
        match: Environment[Any],
        plan: Examination,
        directory: Path,
        index: int,
        digest: str,
    ) -> None:
        source = agent.source or type(agent.network).__name__
        entry = _Entry(f"agent-{digest}", Path(source), "agent", index)
        self.examinee = Examinee(entry, agent, match, plan, directory, lambda record: {})
        self.plan, self.source = plan, source
        self.failures: dict[str, str] = {}

    @property
    def parts(self) -> int:
        """Number of trials, and one for the checks."""
        return len(self.plan.cells) + 1

    def examined(self, told: _Told) -> Examined:
        """Run all trials and checks that are not finished yet."""
        trials = [t for cell in self.plan.cells if (t := self._trial(*cell, told)) is not None]
        told.next(f"{self.source}: checks of the attacks")
        strength = self._strength(trials)
        assessment = self.examinee.assessment_of(tuple(trials))
        return Examined(
            assessment=replace(assessment, checkpoint=self.source),
            checks=strength.checks,
            random_returns=strength.random_returns,
            failures=self.failures,
        )

    def _trial(self, spec: AttackSpec | None, epsilon: float, told: _Told) -> Trial | None:
        """One trial, or None if the attack stopped with an error, which is noted."""
        name = "no attack" if spec is None else f"{spec.name} at ε = {epsilon:g}"
        told.next(f"{self.source}: {name}")
        try:
            return self.examinee.trial(spec, epsilon)
        except Exception as error:  # an agent or a simulator may raise anything
            if spec is None:
                raise
            self.failures[name] = f"{type(error).__name__}: {error}"
            return None

    def _strength(self, trials: Sequence[Trial]) -> _Strengths:
        path = self.examinee.directory / "checks.json"
        if not path.exists():
            largest = max(self.plan.epsilons)
            strength = Strength(self.examinee.victim, trials, self.plan.suite.attacks, largest)
            found = _Strengths(tuple(strength.checks()), strength.random_returns)
            write_json(path, dataclasses.asdict(found))
        return read_record(_Strengths, path, "remove it")


def _radii(ball: Ball, epsilons: Sequence[float] | None) -> tuple[float, ...]:
    further = [share * ball.epsilon for share in EPSILONS] if epsilons is None else epsilons
    return tuple(sorted({*further, ball.epsilon}))


def _environment(source: Any, agent: Agent, episodes: int, seed: int) -> Environment[Any]:
    """The environment with the episodes and the seed, and what the agent sees of it."""
    match = seen_by(agent, source, episodes, seed)
    if isinstance(match, GymnasiumEnvironment):
        _check_actions(agent.head, match.example.action_space)
    return match


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
