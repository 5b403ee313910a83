"""Sentences and tables of a report on a language model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from aajr.report.tables import Table
from aajr.report.wording import MISSING, percent, plural, with_interval
from aajr.statistics.intervals import Interval

if TYPE_CHECKING:
    from aajr.language.report import LanguageReport, Trial

LIMITS = (
    "Attacks show weakness, never its absence: another order, another template or a longer search "
    "may succeed where these failed.",
    "Embedding attacks move the model's input where no text can go. They bound what searches over "
    "words may find at the same objective, and are left out of the worst case over texts.",
    "Answers are the most probable ones. A model that samples gives other answers, some of them "
    "worse.",
    "The intervals are over the cases that were given. They say nothing about other kinds of "
    "cases.",
)


def findings_of(report: LanguageReport) -> tuple[str, ...]:
    """What was found, in sentences."""
    return tuple(_findings(report))


def attack_table(report: LanguageReport) -> Table:
    """Attack success rate and utility under each attack, with intervals."""
    rows = [_row("without an attack", report.clean)]
    rows += [_row(trial.attack.replace("_", " "), trial) for trial in report.attacks()]
    rows.append(_worst("worst text for each case", report.worst("text")))
    if len(report.attacks()) > len(report.attacks("text")):
        rows.append(_worst("worst of all for each case", report.worst("all")))
    last = len(rows) - (2 if len(report.attacks()) > len(report.attacks("text")) else 1)
    columns = ("attack", "attack success, %", "utility, %", "kind", "search gained in")
    note = f"{plural(len(report.clean.transcripts), 'case')}; 95 % intervals of Wilson over cases."
    return Table(f"Attacks on {report.model}", columns, tuple(rows), (note,), (1, last))


def _row(name: str, trial: Trial) -> tuple[str, ...]:
    searched = [one.gain > 0 for one in trial.transcripts if one.gain is not None]
    gained = f"{sum(searched)} of {len(searched)}" if searched else MISSING
    return (name, _share(trial.attack_success), _share(trial.utility), trial.kind, gained)


def _worst(name: str, found: tuple[Interval, Interval]) -> tuple[str, ...]:
    return (name, *map(_share, found), MISSING, MISSING)


def _share(interval: Interval) -> str:
    ends = Interval(
        100 * interval.estimate,
        100 * (interval.low or 0.0),
        100 * (interval.high or 0.0),
        interval.seeds,
    )
    return with_interval(ends, "{:.0f}", "–")


def _findings(report: LanguageReport) -> Iterator[str]:
    utility, obeyed = report.utility.estimate, report.attack_success.estimate
    under = report.utility_under_attack.estimate
    yield (
        f"Some text makes the model obey the adversary in {percent(obeyed)} % of the cases. It "
        f"answers {percent(utility)} % rightly without an attack, and {percent(under)} % under "
        "every text."
    )
    if utility < 0.5:
        yield (
            "The model fails most cases without an attack, so a wrong answer under attack says "
            "little; see whether the judges and the length of answers fit."
        )
    if harmful := sum(one.harmful for one in report.clean.transcripts):
        yield (
            f"In {plural(harmful, 'case')} the answer counts as harmful without an attack; the "
            "judge is too wide."
        )
    for trial in report.attacks():
        yield from _about_search(trial)


def _about_search(trial: Trial) -> Iterator[str]:
    gains = [one.gain for one in trial.transcripts if one.gain is not None]
    if gains and max(gains) <= 0:
        yield f"{trial.attack} never raised its objective: it is too weak to say anything."
    converged = [one.converged for one in trial.transcripts if one.converged is not None]
    if converged and sum(converged) < len(converged) / 2:
        yield (
            f"{trial.attack} had not converged in {len(converged) - sum(converged)} of "
            f"{plural(len(converged), 'case')}: longer searches would find more."
        )
