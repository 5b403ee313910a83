"""Comparison of two reports that differ in nothing but the agents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from aajr.arena.records.evaluation import CLEAN
from aajr.arena.reports.report import Report
from aajr.report.tables import Table
from aajr.report.wording import amount, listed, with_interval
from aajr.statistics.comparisons import holm
from aajr.statistics.intervals import Interval, mean_difference, sign_flip_probability

SAME = ("environment", "unit", "ball", "epsilons", "episodes", "seed")
"""Fields that two reports must share, besides name, version and effort of the suite."""

LEVEL = 0.05
"""A difference counts from this corrected p-value on."""

WORST = "worst within ε"


@dataclass(frozen=True)
class Difference:
    """The difference of two agents under one attack.

    Attributes:
        attack: name of the attack; ``none`` without one.
        first: mean return of the first report.
        second: mean return of the second report.
        difference: mean of the paired differences, first minus second, with its 95 % interval.
        probability: p-value of the exact sign-flip test.
        corrected: the same after Holm's correction over all attacks; None without an attack.
    """

    attack: str
    first: float
    second: float
    difference: Interval
    probability: float
    corrected: float | None

    @property
    def sign(self) -> int:
        """+1 if the first is better, −1 if the second is, 0 if they are not separated."""
        tested = self.probability if self.corrected is None else self.corrected
        return self.difference.sign if tested < LEVEL else 0

    @property
    def verdict(self) -> str:
        """The verdict in words."""
        return {1: "first is better", -1: "second is better", 0: "not separated"}[self.sign]


@dataclass(frozen=True)
class Comparison:
    """All differences of two reports at the ball's ε.

    Attributes:
        rows: without an attack, under each attack of both reports, and in the worst case of each.
        pairs: number of pairs behind each difference.
        over: what the pairs are: episodes or agents.
        missing: attacks that only one of the reports has.
    """

    rows: tuple[Difference, ...]
    pairs: int
    over: str
    missing: tuple[str, ...]

    def table(self) -> Table:
        """The differences with their verdicts."""
        columns = {
            "attack": lambda row: row.attack.replace("_", " "),
            "first": lambda row: amount(row.first),
            "second": lambda row: amount(row.second),
            "first minus second": lambda row: _text(row.difference),
            "p": lambda row: f"{row.probability:.3g}",
            "corrected p": lambda row: "" if row.corrected is None else f"{row.corrected:.3g}",
            "verdict": lambda row: row.verdict,
        }
        return Table.of("Mean returns compared", columns, self.rows, *self._notes())

    def _notes(self) -> Iterator[str]:
        yield (
            f"Paired differences over {self.pairs} {self.over} with their 95 % intervals; p-values "
            "by the sign-flip test, corrected by Holm's method over the attacks. Two agents are "
            "separated if the interval excludes zero and the corrected p is below 0.05."
        )
        if self.pairs < 6:
            yield (
                f"With {self.pairs} pairs no p-value can be below 0.05; a verdict needs at least 6."
            )
        if self.missing:
            yield f"Only one report has {listed(self.missing)}."


def compare(first: Report, second: Report) -> Comparison:
    """Compare the agents of two reports, attack by attack.

    Pairs are the episodes of one initial state, or if there are several agents, those of one place
    in the reports.

    Args:
        first: a report.
        second: a report of the same environment, ball, unit, suite, episodes and seed.

    Returns:
        The differences at the ball's ε.

    Raises:
        ValueError: reports that differ in more than the agents.
    """
    _check(first, second)
    epsilon = first.epsilon
    common = [name for name in first.attacks if name in second.attacks]
    cells = {name: ((name, epsilon), (name, epsilon)) for name in common}
    worst = [(one.worst.attack, one.worst.epsilon) for one in (first, second)]
    cells = {CLEAN: ((CLEAN, 0.0), (CLEAN, 0.0)), **cells, WORST: (worst[0], worst[1])}
    values = {
        name: (_values(first, *ours), _values(second, *theirs))
        for name, (ours, theirs) in cells.items()
        if first.ran(*ours) and second.ran(*theirs)
    }
    gaps = {name: np.subtract(*pair).tolist() for name, pair in values.items()}
    chances = {name: sign_flip_probability(gap) for name, gap in gaps.items()}
    corrected = holm({name: p for name, p in chances.items() if name != CLEAN})
    rows = tuple(
        Difference(
            attack=name,
            first=float(np.mean(pair[0])),
            second=float(np.mean(pair[1])),
            difference=mean_difference(gaps[name]),
            probability=chances[name],
            corrected=corrected.get(name),
        )
        for name, pair in values.items()
    )
    over = "episodes" if len(first.agents) == 1 else "agents"
    run = [{a for a in one.attacks if one.ran(a, epsilon)} for one in (first, second)]
    return Comparison(rows, len(gaps[CLEAN]), over, tuple(sorted(run[0] ^ run[1])))


def _values(report: Report, attack: str, epsilon: float) -> Sequence[float]:
    """Returns of one agent's episodes, or the mean return of each agent."""
    trials = report.trials(attack, epsilon)
    if len(report.agents) == 1:
        return trials[0].returns
    return [float(np.mean(trial.returns)) for trial in trials]


def _check(first: Report, second: Report) -> None:
    for name in SAME:
        ours, theirs = getattr(first, name), getattr(second, name)
        if ours != theirs:
            raise ValueError(
                f"the reports differ in {name}: {ours} and {theirs}; examine both agents alike"
            )
    for name in ("name", "version", "effort"):
        ours, theirs = first.suite.get(name), second.suite.get(name)
        if ours != theirs:
            raise ValueError(
                f"the reports differ in the suite's {name}: {ours} and {theirs}; examine both "
                "agents by one suite"
            )
    if len(first.agents) != len(second.agents):
        raise ValueError(
            f"one report has {len(first.agents)} agents, the other {len(second.agents)}; give each "
            "the same number, so that they can be paired"
        )


def _text(interval: Interval) -> str:
    return with_interval(interval, "{:+.4g}")
