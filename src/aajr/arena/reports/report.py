"""The result of an examination of one or more agents: figures, checks, findings and limits."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from dataclasses import field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from aajr.arena.records.evaluation import CLEAN, Assessment, Trial
from aajr.arena.records.fields import CLOSED, Amount, Count, Facts, Real, Text, read_record
from aajr.report.saved import SavedReport
from aajr.report.tables import Table
from aajr.statistics.intervals import Interval, bootstrap


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class Check:
    """One check of the strength of the attacks.

    Attributes:
        name: what was checked.
        held: whether it held.
        words: what was measured, in a sentence.
    """

    name: Text
    held: bool
    words: Text


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class Examined:
    """One agent of a report.

    Attributes:
        assessment: its trials; ``checkpoint`` is what it was loaded from.
        checks: checks of the attacks on it.
        random_returns: return of every episode with uniformly random actions; empty if the actions
            have no bounds.
        failures: error of each attack that stopped, by the attack and its ε.
    """

    assessment: Assessment
    checks: tuple[Check, ...] = ()
    random_returns: tuple[Real, ...] = ()
    failures: Facts = field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Worst:
    """The worst case of a report.

    Attributes:
        attack: name of the attack; ``none`` if no attack was as bad as no attack.
        epsilon: its radius.
        mean_return: mean return with its 95 % interval.
        success: share of the episodes that were won; None where episodes cannot be won.
    """

    attack: str
    epsilon: float
    mean_return: Interval
    success: float | None


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class Report(SavedReport):
    """What :func:`aajr.arena.examine` found.

    The interval of a mean is over episodes for one agent, and over agents if there are several.

    Attributes:
        agents: the agents, with their trials and checks.
        unit: norm and unit of ε.
        environment: settings of the environment.
        ball: norm, ε, attackable features (None for all), scale and valid box.
        suite: name, version, effort and attacks that were run.
        left_out: attacks of the suite that were not run, with the reason of each.
        epsilons: radii, rising.
        episodes: number of episodes of each trial.
        seed: seed of the initial states.
        threshold: return from which an episode counts as won; None without one.
        wins: whether episodes can be won.
        seconds: time of the examination; parts read from files count as when they were run.
        film: one episode of the first agent without and under the worst attack, as a data URI;
            traces of its observations where nothing is rendered; empty without one.
        machine: facts about the machine.
        versions: versions of the packages.
        schema_version: version of the file's layout.
    """

    agents: Annotated[tuple[Examined, ...], Field(min_length=1)]
    unit: Text
    environment: Facts
    ball: Facts
    suite: Facts
    left_out: Facts = field(default_factory=dict)
    epsilons: tuple[Amount, ...]
    episodes: Count
    seed: int
    threshold: Real | None = None
    wins: bool = False
    seconds: Amount = 0.0
    film: str = ""
    machine: Facts = field(default_factory=dict)
    versions: Facts = field(default_factory=dict)
    schema_version: Annotated[Count, Field(le=1)] = 1

    @cached_property
    def clean(self) -> Interval:
        """Mean return without an attack."""
        return self.mean_return(CLEAN, 0.0)

    @property
    def epsilon(self) -> float:
        """Radius of the ball."""
        return float(self.ball["epsilon"])

    @property
    def attacks(self) -> tuple[str, ...]:
        """Names of the attacks whose budget is ε, in the order of the suite."""
        names = {t.score.attack: None for t in self._trials() if self._in_ball(t)}
        return tuple(names)

    @cached_property
    def worst(self) -> Worst:
        """The trial of least mean return in the ball; see :meth:`worst_within`."""
        return self.worst_within(self.epsilon)

    def worst_within(self, epsilon: float) -> Worst:
        """The trial of least mean return among all radii up to ε, the clean one included.

        An attack of a smaller radius stays in the larger ball too. Attacks with a budget of their
        own do not count, nor those that stopped against some of the agents.
        """
        cells = {
            (t.score.attack, t.score.epsilon): None
            for t in self._trials()
            if t.score.attack == CLEAN or (self._in_ball(t) and t.score.epsilon <= epsilon)
        }
        whole = [cell for cell in cells if self.ran(*cell)]
        attack, radius = min(whole, key=lambda cell: self.estimate(*cell))
        return Worst(attack, radius, self.mean_return(attack, radius), self.success(attack, radius))

    def trials(self, attack: str, epsilon: float) -> tuple[Trial, ...]:
        """The trials of one attack at one radius, one for each agent that it was run against.

        Raises:
            ValueError: there is none.
        """
        cell = (attack, epsilon)
        found = tuple(t for t in self._trials() if (t.score.attack, t.score.epsilon) == cell)
        if not found:
            raise ValueError(
                f"attack={attack!r} at epsilon={epsilon} was not run; attacks are "
                f"{', '.join(self.attacks)} at {self.epsilons}"
            )
        return found

    def ran(self, attack: str, epsilon: float) -> bool:
        """Whether an attack was run to its end at a radius, against all agents."""
        run = Counter((t.score.attack, t.score.epsilon) for t in self._trials())
        return run[attack, epsilon] == len(self.agents)

    def estimate(self, attack: str, epsilon: float) -> float:
        """Mean return of one attack at one radius, over the agents and their episodes."""
        return float(np.mean([np.mean(t.returns) for t in self.trials(attack, epsilon)]))

    def mean_return(self, attack: str, epsilon: float) -> Interval:
        """:meth:`estimate` with its 95 % interval over agents, or over one agent's episodes."""
        trials = self.trials(attack, epsilon)
        if len(self.agents) == 1:
            return bootstrap(trials[0].returns, statistic=np.mean)
        return bootstrap([float(np.mean(t.returns)) for t in trials], statistic=np.mean)

    def success(self, attack: str, epsilon: float) -> float | None:
        """Share of won episodes under one attack; None where episodes cannot be won."""
        if not self.wins:
            return None
        return float(np.mean([t.score.success for t in self.trials(attack, epsilon)]))

    @property
    def random_return(self) -> float | None:
        """Mean return of uniformly random actions; None if it was not measured."""
        returns = [r for one in self.agents for r in one.random_returns]
        return float(np.mean(returns)) if returns else None

    @property
    def findings(self) -> tuple[str, ...]:
        """What was found, in sentences."""
        from aajr.arena.reports._findings import findings_of

        return findings_of(self)

    def table(self) -> Table:
        """Mean return, its interval and success for each attack and ε."""
        from aajr.arena.reports._tables import attack_table

        return attack_table(self)

    def _page(self) -> str:
        from aajr.arena.reports._page import html_page

        return html_page(self)

    def _computed(self) -> dict[str, Any]:
        return {"worst": dataclasses.asdict(self.worst), "findings": list(self.findings)}

    @classmethod
    def read(cls, path: str | Path) -> Report:
        """Read the JSON file that :meth:`save` wrote.

        Raises:
            FileNotFoundError: the file does not exist.
            ValueError: the file is damaged or of another version.
        """
        ignored = ("worst", "findings")
        return read_record(cls, Path(path), "examine the agent again", ignored)

    def _trials(self) -> Iterator[Trial]:
        return (trial for one in self.agents for trial in one.assessment.trials)

    def _in_ball(self, trial: Trial) -> bool:
        return not trial.fixed and trial.score.attack != CLEAN
