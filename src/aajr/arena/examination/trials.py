"""Running a suite against checkpoints, with one file per trial so that a run can continue."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pydantic.dataclasses
import torch
from torch import Tensor

from aajr._checks import check_choice, check_count, check_number
from aajr._seeds import derive
from aajr.adversaries import Adversary, MaskedGradientWarning
from aajr.arena.attacks.balls import ball_facts
from aajr.arena.attacks.suites import AttackSpec, Suite
from aajr.arena.attacks.victim import Victim
from aajr.arena.environments.episodes import AttackedTeam, Outcome, contest
from aajr.arena.environments.protocols import AgentLike, Environment, Played
from aajr.arena.records.evaluation import CLEAN, Assessment, Evaluation, Trial
from aajr.arena.records.fields import Facts, read_record
from aajr.arena.threats import THREATS, Threat
from aajr.geometry import Ball
from aajr.report.files import write_json
from aajr.report.provenance import machine_facts, version_facts


@dataclass(frozen=True)
class Examination:
    """The suite, threat, radii and episodes with which every policy is examined.

    Attributes:
        suite: the attacks.
        threat: name of the threat model.
        epsilons: radii; the clean trial at 0 is always played.
        episodes: number of episodes of each trial.
        seed: seed of the initial states, the same for all policies, attacks and radii.
        ball: norm, mask, scale and valid box of the threat set; by default the threat's own.
        may_find_none: whether an attack that finds no perturbation is a trial, not an error.

    Raises:
        ValueError: a radius that is negative, NaN or given twice; numbers out of range.
    """

    suite: Suite
    threat: Threat = "others"
    epsilons: tuple[float, ...] = (0.05, 0.1, 0.15, 0.2, 0.3)
    episodes: int = 256
    seed: int = 0
    ball: Ball | None = None
    may_find_none: bool = False

    def __post_init__(self) -> None:
        check_choice("threat", self.threat, tuple(THREATS))
        check_count("episodes", self.episodes)
        check_count("seed", self.seed, minimum=0)
        for epsilon in self.epsilons:
            check_number("epsilon", epsilon)
        if len(set(self.epsilons)) < len(self.epsilons):
            raise ValueError(f"epsilons={self.epsilons} repeats a radius; give each once")

    @property
    def cells(self) -> tuple[tuple[AttackSpec | None, float], ...]:
        """Attack and ε of every trial; None is the clean trial.

        Attacks with a fixed budget are played once, and not at all if 0 is the only radius.
        """
        radii = sorted(set(self.epsilons) - {0.0})
        attacks: list[tuple[AttackSpec | None, float]] = [(None, 0.0)]
        for spec in self.suite.against(self.threat) if radii else ():
            attacks += [(spec, epsilon) for epsilon in ([0.0] if spec.fixed else radii)]
        return tuple(attacks)


class Entry(Protocol):
    """Name, file, method and seed of a trained policy."""

    @property
    def name(self) -> str:
        """Short name, used for its directory of trials."""

    @property
    def path(self) -> Path:
        """The file of the policy."""

    @property
    def method(self) -> str:
        """Name of its training method."""

    @property
    def seed(self) -> int:
        """Seed of its training."""


class Examinee:
    """One policy under examination.

    Args:
        entry: its name, file, method and seed.
        actor: the policy.
        match: the environment, with the episodes and the seed of the examination.
        examination: suite, threat, radii and episodes.
        directory: directory of the trials' files.
        measure: function from a record to measures of behaviour, as JSON values.
    """

    def __init__(
        self,
        entry: Entry,
        actor: AgentLike,
        match: Environment[Played],
        examination: Examination,
        directory: Path,
        measure: Callable[[Played], Mapping[str, Any]],
    ) -> None:
        self.entry, self.examination, self.measure = entry, examination, measure
        self.directory = directory / f"{entry.name}-{_fingerprint(actor, match, examination)}"
        effort = examination.suite.effort
        place = self.directory / "attackers"
        self.victim = Victim(actor, match, examination.threat, effort, place, examination.ball)

    def trials(self) -> Iterator[Trial]:
        """Yield every trial; a finished one is read from its file."""
        for spec, epsilon in self.examination.cells:
            yield self.trial(spec, epsilon)

    def trial(self, spec: AttackSpec | None, epsilon: float) -> Trial:
        """One trial, run or read from its file; without ``spec`` the clean one."""
        path = self._path(spec, epsilon)
        if not path.exists():
            self.directory.mkdir(parents=True, exist_ok=True)
            finished = _Finished(self._run(spec, epsilon), self.victim.preparation)
            write_json(path, dataclasses.asdict(finished))
        return _read(path).trial

    def assessment(self) -> Assessment:
        """All trials of the policy; unfinished ones are run."""
        return self.assessment_of(tuple(self.trials()))

    def assessment_of(self, trials: tuple[Trial, ...]) -> Assessment:
        """An assessment of finished trials, with what was fitted for them."""
        preparation: dict[str, float] = {}
        for cell in self.examination.cells:
            if (path := self._path(*cell)).exists():
                preparation |= _read(path).fits
        return Assessment(
            checkpoint=str(self.entry.path),
            method=self.entry.method,
            seed=self.entry.seed,
            trials=trials,
            preparation=dict(sorted(preparation.items())),
        )

    def _run(self, spec: AttackSpec | None, epsilon: float) -> Trial:
        victim, begin = self.victim, time.perf_counter()
        with _masked_gradients_noted() as masked:
            adversary = None if spec is None else spec.build(victim.ball(epsilon), victim)
            ready = time.perf_counter()
            outcome = attacked_match(
                victim, spec, adversary, may_find_none=self.examination.may_find_none
            )
        fixed = spec is not None and spec.fixed
        return Trial(
            score=outcome.score,
            kind=CLEAN if spec is None else spec.kind,
            unit=spec.unit if spec is not None and fixed else victim.unit,
            fixed=fixed,
            won="".join(str(int(won)) for won in outcome.record.won.tolist()),
            forward_passes=outcome.forward_passes,
            backward_passes=outcome.backward_passes,
            seconds=time.perf_counter() - ready,
            preparation_seconds=ready - begin,
            zero_gradients=bool(masked),
            coordination=self.measure(outcome.record),
            returns=tuple(outcome.record.reward.double().sum(1).mean(1).tolist()),
        )

    def _path(self, spec: AttackSpec | None, epsilon: float) -> Path:
        name = CLEAN if spec is None else spec.name
        size = "" if spec is None or spec.fixed else f"_{epsilon!r}"
        return self.directory / f"{name}{size}.json"


def attacked_match(
    victim: Victim,
    spec: AttackSpec | None = None,
    adversary: Adversary | None = None,
    *,
    may_find_none: bool = False,
) -> Outcome[Any]:
    """Play the victim's match under an attack that ``spec`` built, or without attack.

    With ``may_find_none`` all perturbations may be zero.
    """
    size = 0.0 if adversary is None else float(adversary.ball.epsilon)
    on_logits = victim.on_logits or (spec is not None and spec.on_logits)
    source = torch.Generator().manual_seed(derive(victim.match.seed, "attack"))
    team = AttackedTeam(victim.actor, adversary, source, on_logits)
    name = CLEAN if spec is None else spec.name
    return contest(victim.match, team, name, size, may_find_none=may_find_none)


def evaluation_of(
    examination: Examination,
    opponents: Sequence[Entry],
    assessments: Sequence[Assessment],
) -> Evaluation:
    """Collect the assessments into an evaluation, with suite, machine and versions.

    Raises:
        ValueError: policies with different units of ε, or two policies of one method and seed,
            which statistics over seeds would count twice.
    """
    owners: dict[tuple[str, int], str] = {}
    for item in assessments:
        other = owners.setdefault((item.method, item.seed), item.checkpoint)
        if other != item.checkpoint:
            raise ValueError(
                f"{other} and {item.checkpoint} are both {item.method!r} with seed {item.seed}; "
                "evaluate them one at a time"
            )
    (unit, *others) = dict.fromkeys(one.clean.unit for one in assessments)
    if others:
        raise ValueError(
            f"ε means {unit!r} for some policies and {others[0]!r} for others; evaluate them one "
            "at a time"
        )
    return Evaluation(
        suite=examination.suite.facts(),
        threat=examination.threat,
        unit=unit,
        episodes=examination.episodes,
        seed=examination.seed,
        opponents=tuple(str(opponent.path) for opponent in opponents),
        assessments=tuple(assessments),
        machine=machine_facts() | {"threads": torch.get_num_threads()},
        versions=version_facts(),
    )


@contextmanager
def _masked_gradients_noted() -> Iterator[list[Warning | str]]:
    """Collect warnings of masked gradients, which become a finding; show other warnings."""
    masked: list[Warning | str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", MaskedGradientWarning)
        yield masked
    for entry in caught:
        if issubclass(entry.category, MaskedGradientWarning):
            masked.append(entry.message)
        else:
            warnings.warn_explicit(entry.message, entry.category, entry.filename, entry.lineno)


@pydantic.dataclasses.dataclass(frozen=True)
class _Finished:
    """The contents of one trial's file."""

    trial: Trial
    fits: Facts


def _read(path: Path) -> _Finished:
    return read_record(_Finished, path, "remove it")


def _fingerprint(actor: AgentLike, match: Environment[Any], examination: Examination) -> str:
    """A digest of everything that decides a trial, except its attack and ε."""
    suite = examination.suite
    facts = {
        "actor": _digest(actor.state_dict()),
        "opponents": [_digest(opponent.state_dict()) for opponent in match.opponents],
        "game": match.facts,
        "suite": [suite.name, suite.version, dataclasses.asdict(suite.effort)],
        "threat": examination.threat,
        "episodes": examination.episodes,
        "seed": examination.seed,
    }
    if examination.ball is not None:
        facts["ball"] = ball_facts(examination.ball)
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def _digest(tensors: Mapping[str, Tensor]) -> str:
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        total.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()
