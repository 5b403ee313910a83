"""The examination of one agent: its trials, checks and film, each kept in a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pydantic.dataclasses

from aajr.arena.agents.agent import Agent
from aajr.arena.attacks.suites import AttackSpec
from aajr.arena.environments.protocols import Environment
from aajr.arena.examination._strength import Strength
from aajr.arena.examination.trials import Examination, Examinee
from aajr.arena.records.evaluation import Trial
from aajr.arena.records.fields import Real, read_record
from aajr.arena.reports.film import film
from aajr.arena.reports.report import Check, Examined, Worst
from aajr.report.files import write_json, write_whole

Progress = Callable[[int, int, str], None]
"""Function that is called with the finished parts, all parts, and words about the next one."""


@dataclass
class Told:
    """Progress over all parts."""

    progress: Progress | None
    parts: int
    done: int = 0

    def next(self, words: str) -> None:
        if self.progress is not None:
            self.progress(self.done, self.parts, words)
        self.done += 1


@dataclass(frozen=True)
class Entry:
    """Name, source, method and seed of an agent, as an examinee needs them."""

    name: str
    path: Path
    method: str
    seed: int


@pydantic.dataclasses.dataclass(frozen=True)
class Strengths:
    """The checks of one agent, as its file holds them."""

    checks: tuple[Check, ...]
    random_returns: tuple[Real, ...]


class Run:
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
        entry = Entry(f"agent-{digest}", Path(source), "agent", index)
        self.examinee = Examinee(entry, agent, match, plan, directory, lambda record: {})
        self.plan, self.source = plan, source
        self.failures: dict[str, str] = {}

    @property
    def parts(self) -> int:
        """Number of trials, and one for the checks."""
        return len(self.plan.cells) + 1

    def examined(self, told: Told) -> Examined:
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

    def _trial(self, spec: AttackSpec | None, epsilon: float, told: Told) -> Trial | None:
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

    def _strength(self, trials: Sequence[Trial]) -> Strengths:
        path = self.examinee.directory / "checks.json"
        if not path.exists():
            largest = max(self.plan.epsilons)
            strength = Strength(self.examinee.victim, trials, self.plan.suite.attacks, largest)
            found = Strengths(tuple(strength.checks()), strength.random_returns)
            write_json(path, dataclasses.asdict(found))
        return read_record(Strengths, path, "remove it")

    def film(self, worst: Worst) -> str:
        """A film of the episode that falls most under the worst attack, as a data URI.

        Raises:
            Exception: whatever a renderer raises.
        """
        specs = {spec.name: spec for spec in self.plan.suite.attacks}
        path = self.examinee.directory / f"film_{worst.attack}_{worst.epsilon!r}.txt"
        if path.exists():
            return path.read_text(encoding="ascii")
        uri = self._filmed(specs[worst.attack], worst.epsilon)
        write_whole(path, uri)
        return uri

    def _filmed(self, spec: AttackSpec, epsilon: float) -> str:
        victim = self.examinee.victim
        clean, attacked = (self.examinee.trial(*c).returns for c in ((None, 0.0), (spec, epsilon)))
        falls = [before - after for before, after in zip(clean, attacked, strict=True)]
        adversary = spec.build(victim.ball(epsilon), victim)
        episode = falls.index(max(falls))
        return film(victim.match, victim.actor, adversary, episode).data_uri()
