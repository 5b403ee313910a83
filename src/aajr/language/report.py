"""The result of attacks on a language model: figures, findings and transcripts."""

from __future__ import annotations

import dataclasses
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from aajr.arena.records.fields import CLOSED, Amount, Count, Facts, Real, Text, read_record
from aajr.report.saved import SavedReport
from aajr.report.tables import Table
from aajr.statistics.intervals import Interval, proportion

CLEAN = "none"
"""Name of the trial without an attack."""

Reach = Literal["text", "all"]
"""Attacks that write text, or embedding attacks too, which no text can reach."""


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class Transcript:
    """What one attack made of one case.

    Of several attempts the worst is shown: the first that does what the adversary wants, else the
    first with a wrong answer, else the first.

    Attributes:
        case: name of the case.
        texts: what the other party wrote, by span.
        answer: the model's answer.
        right: whether the answers to all attempts do what the user asked for.
        harmful: whether the answer to any attempt does what the adversary wants.
        attempts: number of attempts.
        size: ‖δ‖/‖e‖ over the controlled embeddings; 0 for words.
        gain: by how much a search raised its objective; None for attacks that do not search.
        converged: whether a longer embedding search found no more; None for others.
    """

    case: Text
    texts: tuple[str, ...]
    answer: str
    right: bool
    harmful: bool
    attempts: Count = 1
    size: Amount = 0.0
    gain: Real | None = None
    converged: bool | None = None


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class Trial:
    """One attack on all cases, in their order; cases on which it stopped are missing.

    Attributes:
        attack: name of the attack; ``none`` without one.
        kind: ``none``, ``injection``, ``words`` or ``embeddings``.
        transcripts: one for each case.
    """

    attack: Text
    kind: Text
    transcripts: tuple[Transcript, ...]

    @property
    def attack_success(self) -> Interval:
        """Share of the cases in which the model does what the adversary wants."""
        return proportion([one.harmful for one in self.transcripts])

    @property
    def utility(self) -> Interval:
        """Share of the cases in which the model does what the user asked for."""
        return proportion([one.right for one in self.transcripts])


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class LanguageReport(SavedReport):
    """What :func:`aajr.language.attack` found. Intervals are over cases, of Wilson.

    Attributes:
        model: name of the model.
        trials: the trial without an attack, then the attacks in the order of the suite.
        suite: name, version and attacks.
        cases: messages and judges of every case.
        answers: how answers are made.
        left_out: attacks that stopped on a case, with the reason.
        seed: seed of the attacks.
        seconds: time of the call, without parts that were read from files.
        machine: facts about the machine.
        versions: versions of the packages.
        schema_version: version of the file's layout.
    """

    model: Text
    trials: Annotated[tuple[Trial, ...], Field(min_length=1)]
    suite: Facts
    cases: tuple[Facts, ...]
    answers: Facts
    left_out: Facts = field(default_factory=dict)
    seed: int = 0
    seconds: Amount = 0.0
    machine: Facts = field(default_factory=dict)
    versions: Facts = field(default_factory=dict)
    schema_version: Annotated[Count, Field(le=1)] = 1

    @property
    def clean(self) -> Trial:
        """The trial without an attack."""
        return self.trial(CLEAN)

    @property
    def utility(self) -> Interval:
        """Share of the cases answered rightly without an attack."""
        return self.clean.utility

    @property
    def attack_success(self) -> Interval:
        """Share of the cases in which any attack by text made the model obey the adversary."""
        return self.worst("text")[0]

    @property
    def utility_under_attack(self) -> Interval:
        """Share of the cases answered rightly under every attack by text."""
        return self.worst("text")[1]

    def trial(self, attack: str) -> Trial:
        """The trial of an attack.

        Raises:
            ValueError: it was not run.
        """
        found = {one.attack: one for one in self.trials}
        if attack not in found:
            raise ValueError(f"attack={attack!r} was not run; attacks are {', '.join(found)}")
        return found[attack]

    def attacks(self, reach: Reach = "all") -> tuple[Trial, ...]:
        """The trials of attacks, of all or of those by text."""
        return tuple(
            one
            for one in self.trials
            if one.attack != CLEAN and (reach == "all" or one.kind != "embeddings")
        )

    def worst(self, reach: Reach = "text") -> tuple[Interval, Interval]:
        """Attack success rate and utility if every case meets the attack that is worst for it."""
        by_case = self._by_case(reach)
        harmful = [any(one.harmful for one in found) for found in by_case]
        right = [all(one.right for one in found) for found in by_case]
        return proportion(harmful), proportion(right)

    def worst_transcripts(self, most: int = 10) -> tuple[tuple[str, Transcript], ...]:
        """Attacks and transcripts of distinct cases: obeyed orders first, then wrong answers."""
        found = {
            (one.case, trial.attack): (trial.attack, one)
            for trial in self.attacks()
            for one in trial.transcripts
            if one.harmful or not one.right
        }
        ranked = sorted(found.values(), key=lambda pair: (not pair[1].harmful, pair[1].size > 0))
        first = {one.case: (attack, one) for attack, one in reversed(ranked)}
        return tuple(pair for pair in ranked if first[pair[1].case] == pair)[:most]

    @property
    def findings(self) -> tuple[str, ...]:
        """What was found, in sentences."""
        from aajr.language._findings import findings_of

        return findings_of(self)

    def table(self) -> Table:
        """Attack success rate and utility under each attack, with intervals."""
        from aajr.language._findings import attack_table

        return attack_table(self)

    def _page(self) -> str:
        from aajr.language._page import html_page

        return html_page(self)

    def _computed(self) -> dict[str, Any]:
        return {
            "utility": dataclasses.asdict(self.utility),
            "attack_success": dataclasses.asdict(self.attack_success),
            "utility_under_attack": dataclasses.asdict(self.utility_under_attack),
            "findings": list(self.findings),
        }

    @classmethod
    def read(cls, path: str | Path) -> LanguageReport:
        """Read the JSON file that :meth:`save` wrote.

        Raises:
            FileNotFoundError: the file does not exist.
            ValueError: the file is damaged or of another version.
        """
        computed = ("utility", "attack_success", "utility_under_attack", "findings")
        return read_record(cls, Path(path), "attack the model again", computed)

    def _by_case(self, reach: Reach) -> list[list[Transcript]]:
        """The transcripts of every case, the clean one included."""
        found: dict[str, list[Transcript]] = {}
        for trial in (self.clean, *self.attacks(reach)):
            for one in trial.transcripts:
                found.setdefault(one.case, []).append(one)
        return list(found.values())
