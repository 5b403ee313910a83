"""Results of a comparison: frozen records with an exact JSON form, ``results.json``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from aajr.arena.records.evaluation import Score
from aajr.arena.records.fields import CLOSED, Amount, Count, Facts, Real, Share, Text, read_record
from aajr.arena.threats import Threat
from aajr.report.files import write_json

GRADIENT_FACTS = ("mean", "variance", "largest_over_median")
"""Names of the statistics of a gradient norm over the updates of a run."""


def _statistics(facts: Mapping[str, float]) -> Mapping[str, float]:
    if facts and set(facts) != set(GRADIENT_FACTS):
        raise ValueError(f"the keys are {sorted(facts)}; give {list(GRADIENT_FACTS)}, or nothing")
    return facts


def _even(history: Mapping[str, tuple[float, ...]]) -> Mapping[str, tuple[float, ...]]:
    lengths = {name: len(values) for name, values in history.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the lengths are {lengths}; give one value an iteration")
    return history


Split = Literal["validation", "final"]
"""``validation`` seeds, on which weights are chosen, or ``final`` seeds, which are reported."""

_Natural = Annotated[int, Field(strict=True, ge=0)]
_Statistics = Annotated[Mapping[str, Amount], AfterValidator(_statistics)]
_Curves = Annotated[Mapping[Text, tuple[Real, ...]], AfterValidator(_even)]
_History = Annotated[Mapping[str, tuple[Real, ...]], AfterValidator(_even)]


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class Run:
    """One trained policy and all measurements on it.

    Attributes:
        method: name, such as ``"plain"``, ``"adversarial"``, ``"global"`` or ``"aajr"``.
        seed: seed of the training. Runs with the same seed start from the same policy; statistics
            pair them.
        split: ``"validation"`` or ``"final"``.
        threat: ``"full"``, ``"others"``, ``"reports"`` or ``"actions"``.
        scores: outcomes, one for each attack and radius.
        family: the frontier to which the run belongs, or None.
        weight: weight λ of the penalty, or None without a penalty.
        selected: whether this weight was chosen on the validation seeds.
        diagnostics: ``aligned`` ‖Jv‖², ``frobenius`` ‖J‖²_F, ``spectral`` ‖J‖₂², ``alignment``
            ‖Jv‖²/‖J‖²_F, ``stable_rank`` ‖J‖²_F/‖J‖₂²; with a radio also ``silenced``, the success
            if all reports are zero.
        gradient_norm: ``mean``, ``variance`` and ``largest_over_median`` of the norm of the
            parameters' gradient; empty if it was not measured.
        inner_gradient_norm: the same statistics of the adversary's gradient.
        seconds_per_update: median time of an update, in seconds.
        overhead: time of an update relative to the adversarial method, timed alternately with it:
            1.05 means 5 % more.
        critic_r2: coefficient of determination R² of each critic that attacked the policy.
        environment_steps: number of environment steps in the training.
        history: metrics of each training iteration by name, such as ``success``; all lists have the
            same length.
        hidden: share of the hiders that no seeker sees after the preparation, one for each of the
            scores; empty if it was not measured.
        response: the response to lies: their sizes ``lie``, and as many of ``belief``, ``angle``,
            ``mean`` and ``median``, see :func:`~.attacks.responses`; empty without a radio.

    Raises:
        ValueError: a field has the wrong type or range, or an attack has two scores at one radius.

    Example:
        >>> score = Score("none", 0.0, success=0.76, episodes=500, mean_return=12.5)
        >>> Run(method="plain", seed=3, split="final", threat="full", scores=(score,)).weight
    """

    method: Text
    seed: _Natural
    split: Split
    threat: Threat
    scores: tuple[Score, ...]
    family: Text | None = None
    weight: Amount | None = None
    selected: Annotated[bool, Field(strict=True)] = False
    diagnostics: Mapping[Text, Amount] = field(default_factory=dict)
    gradient_norm: _Statistics = field(default_factory=dict)
    inner_gradient_norm: _Statistics = field(default_factory=dict)
    seconds_per_update: Amount | None = None
    overhead: Amount | None = None
    critic_r2: tuple[Annotated[Real, Field(le=1)], ...] = ()
    environment_steps: _Natural = 0
    history: _History = field(default_factory=dict)
    hidden: tuple[Share, ...] = ()
    response: _Curves = field(default_factory=dict)

    def __post_init__(self) -> None:
        cells = [(score.attack, score.epsilon) for score in self.scores]
        if len(set(cells)) < len(cells):
            double = next(cell for cell in cells if cells.count(cell) > 1)
            raise ValueError(f"scores holds {double} more than once; keep one score of each attack")
        if self.hidden and len(self.hidden) != len(self.scores):
            raise ValueError(
                f"hidden holds {len(self.hidden)} shares for {len(self.scores)} scores; give one "
                "for each, or none"
            )

    def worst_case(self) -> dict[float, float]:
        """Lowest success over the attacks at each radius, in rising order; radius 0 is clean.

        Example:
            >>> played = {"episodes": 500, "mean_return": 1.0}
            >>> scores = (Score("none", 0.0, success=0.8, **played),
            ...           Score("noise", 0.1, success=0.7, **played),
            ...           Score("mad", 0.1, success=0.6, **played))
            >>> Run(method="sa", seed=0, split="final", threat="full", scores=scores).worst_case()
            {0.0: 0.8, 0.1: 0.6}
        """
        return self._lowest([score.success for score in self.scores])

    def worst_return(self) -> dict[float, float]:
        """Lowest mean return over the attacks at each radius."""
        return self._lowest([score.mean_return for score in self.scores])

    def worst_hidden(self) -> dict[float, float]:
        """Lowest hidden share over the attacks at each radius; empty if it was not measured."""
        return self._lowest(self.hidden)

    def _lowest(self, values: Sequence[float]) -> dict[float, float]:
        found: dict[float, float] = {}
        for score, value in zip(self.scores, values, strict=False):
            found[float(score.epsilon)] = min(value, found.get(float(score.epsilon), value))
        return dict(sorted(found.items()))

    def worst_attack(self, epsilon: float) -> str | None:
        """Name of the attack that left the lowest success; None without a score at ``epsilon``."""
        scores = [score for score in self.scores if score.epsilon == epsilon]
        return min(scores, key=lambda score: score.success).attack if scores else None


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class Results:
    """All measurements of one ``aajr reproduce``.

    Attributes:
        preset: name of the preset.
        runs: trained policies.
        floors: policies that do not learn, ``motionless`` and ``random``.
        reference_epsilon: radius at which frontiers and chosen weights are compared.
        command: the command that reproduces these results.
        scope: what this preset can show and what it cannot, in plain words.
        primary: rivals of AAJR whose tests are corrected together; empty for all families.
        protocol: facts of the protocol, each printed in the report.
        machine: facts of the machine, see :mod:`aajr.report.provenance`.
        versions: versions of the packages, see :mod:`aajr.report.provenance`.
        schema_version: version of the file's layout.

    Raises:
        ValueError: a field has the wrong type, or two runs have the same method, weight, threat,
            split and seed.
    """

    preset: Text
    runs: tuple[Run, ...] = ()
    floors: tuple[Run, ...] = ()
    reference_epsilon: Annotated[Real, Field(gt=0)] = 0.2
    command: Text = "aajr reproduce"
    scope: str = ""
    primary: tuple[Text, ...] = ()
    protocol: Facts = field(default_factory=dict)
    machine: Facts = field(default_factory=dict)
    versions: Facts = field(default_factory=dict)
    # version 1 only lacks ``history`` of a run
    schema_version: Annotated[Count, Field(le=2), AfterValidator(lambda _: 2)] = 2

    def __post_init__(self) -> None:
        keys = [(run.method, run.weight, run.threat, run.split, run.seed) for run in self.runs]
        for key in keys:
            if keys.count(key) > 1:
                raise ValueError(
                    f"runs holds (method, weight, threat, split, seed)={key} more than once; "
                    "keep one of them"
                )


def write_results(results: Results, path: Path) -> None:
    """Write ``results`` as JSON. An interrupted write leaves no partial file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, dataclasses.asdict(results))


def read_results(path: Path) -> Results:
    """Read a file of :func:`write_results`, in this version of the layout or an older one.

    Args:
        path: the file.

    Returns:
        Results equal to those written.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: see :func:`aajr.arena.records.fields.read_record`.
    """
    return read_record(Results, path, "run `aajr reproduce` to write it again")
