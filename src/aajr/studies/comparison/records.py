"""What a comparison measured: frozen records with an exact JSON form, ``results.json``."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from aajr._checks import check_choice, check_count
from aajr._values import (
    check_real,
    check_reals,
    check_text,
    frozen_facts,
    kind,
    parse_json,
    tuple_of,
)
from aajr.arena.records import Score

SCHEMA_VERSION = 2
"""Version of the layout of ``results.json``; version 2 adds ``history`` to a run."""

READABLE_VERSIONS = (1, 2)
"""Versions that :func:`read_results` reads; an older file lacks only what was added since."""

SPLITS = ("validation", "final")
"""Seeds on which weights are chosen, and other seeds on which figures are reported."""

THREATS = ("full", "others", "actions")
"""What the adversary may change: every feature, only what tells of other agents, the actions."""

GRADIENT_FACTS = ("mean", "variance", "largest_over_median")
"""Statistics of a gradient's norm over the updates of a run."""

_Record = TypeVar("_Record")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One trained policy and all that was measured on it.

    Attributes:
        method: name, such as ``"plain"``, ``"adversarial"``, ``"global"`` or ``"aajr"``.
        seed: seed of the training; methods with one seed start from one policy and are paired.
        split: ``"validation"`` or ``"final"``.
        threat: ``"full"``, ``"others"`` or ``"actions"``.
        scores: outcomes, one for each attack and radius.
        family: the frontier it belongs to, or None.
        weight: weight λ of the penalty, or None where there is no penalty.
        selected: whether this weight was chosen on the validation seeds.
        diagnostics: ``aligned`` ‖Jv‖², ``frobenius`` ‖J‖²_F, ``spectral`` ‖J‖₂², ``alignment``
            ‖Jv‖²/‖J‖²_F, ``stable_rank`` ‖J‖²_F/‖J‖₂².
        gradient_norm: ``mean``, ``variance`` and ``largest_over_median`` of the norm of the
            parameters' gradient; empty where it was not measured.
        inner_gradient_norm: the same of the adversary's gradient.
        seconds_per_update: median time of an update.
        overhead: time of an update relative to the adversarial method's, measured interleaved:
            1.05 means 5 % more.
        critic_r2: fit R² of each critic that attacked the policy.
        environment_steps: steps of the environment in the training.
        history: figures of each training iteration by name, such as ``success``; all of one length.

    Raises:
        ValueError: for a field of the wrong type or range, or two scores of one attack and radius.

    Example:
        >>> score = Score("none", 0.0, success=0.76, episodes=500, mean_return=12.5)
        >>> Run(method="plain", seed=3, split="final", threat="full", scores=(score,)).weight
    """

    method: str
    seed: int
    split: str
    threat: str
    scores: tuple[Score, ...]
    family: str | None = None
    weight: float | None = None
    selected: bool = False
    diagnostics: Mapping[str, float] = field(default_factory=dict)
    gradient_norm: Mapping[str, float] = field(default_factory=dict)
    inner_gradient_norm: Mapping[str, float] = field(default_factory=dict)
    seconds_per_update: float | None = None
    overhead: float | None = None
    critic_r2: tuple[float, ...] = ()
    environment_steps: int = 0
    history: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_text("method", self.method)
        check_count("seed", self.seed, minimum=0)
        check_choice("split", self.split, SPLITS)
        check_choice("threat", self.threat, THREATS)
        if self.family is not None:
            check_text("family", self.family)
        for name in ("weight", "seconds_per_update", "overhead"):
            if getattr(self, name) is not None:
                check_real(name, getattr(self, name))
        if not isinstance(self.selected, bool):
            raise ValueError(f"selected={self.selected!r} is not allowed; give true or false")
        check_count("environment_steps", self.environment_steps, minimum=0)
        self._check_collections()
        self._check_history()

    def _check_collections(self) -> None:
        for name in ("diagnostics", "gradient_norm", "inner_gradient_norm"):
            facts = getattr(self, name)
            check_reals(name, facts)
            object.__setattr__(self, name, dict(facts))
            if name != "diagnostics" and facts and set(facts) != set(GRADIENT_FACTS):
                raise ValueError(
                    f"{name} has the keys {sorted(facts)}; give {list(GRADIENT_FACTS)}, or nothing"
                )
        for name, member in (("critic_r2", (int, float)), ("scores", Score)):
            object.__setattr__(self, name, tuple_of(name, getattr(self, name), member))
        for index, value in enumerate(self.critic_r2):
            check_real(f"critic_r2[{index}]", value, minimum=-math.inf, maximum=1.0)
        cells = [(score.attack, score.epsilon) for score in self.scores]
        if len(set(cells)) < len(cells):
            double = next(cell for cell in cells if cells.count(cell) > 1)
            raise ValueError(f"scores holds {double} more than once; keep one score of each attack")

    def _check_history(self) -> None:
        if not isinstance(self.history, Mapping):
            raise ValueError(f"history is a {kind(self.history)}; an object was expected")
        history = {
            name: tuple_of(f"history.{name}", values, (int, float))
            for name, values in self.history.items()
        }
        for name, values in history.items():
            for index, value in enumerate(values):
                check_real(f"history.{name}[{index}]", value, minimum=-math.inf)
        if len({len(values) for values in history.values()}) > 1:
            lengths = {name: len(values) for name, values in history.items()}
            raise ValueError(f"history has the lengths {lengths}; give one value an iteration")
        object.__setattr__(self, "history", history)


@dataclass(frozen=True, kw_only=True)
class Results:
    """Everything one ``aajr reproduce`` measured.

    Attributes:
        preset: name of the preset.
        runs: trained policies.
        floors: policies without learning, ``motionless`` and ``random``.
        reference_epsilon: radius at which frontiers and chosen weights are compared.
        command: the command that gives these results again.
        scope: what this preset can show and what it cannot, in plain words.
        protocol: facts of the protocol, each printed in the report.
        machine: facts of the machine, see :mod:`aajr.report.provenance`.
        versions: versions of the packages, see :mod:`aajr.report.provenance`.
        schema_version: layout of the file.

    Raises:
        ValueError: for a field of the wrong type, or two runs of one method, weight, threat, split
            and seed.
    """

    preset: str
    runs: tuple[Run, ...] = ()
    floors: tuple[Run, ...] = ()
    reference_epsilon: float = 0.2
    command: str = "aajr reproduce"
    scope: str = ""
    protocol: Mapping[str, Any] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        _check_schema(self.schema_version)
        check_text("preset", self.preset)
        check_text("command", self.command)
        if not isinstance(self.scope, str):
            raise ValueError(f"scope={self.scope!r} is not allowed; give a text")
        check_real("reference_epsilon", self.reference_epsilon, exclusive=True)
        for name in ("runs", "floors"):
            object.__setattr__(self, name, tuple_of(name, getattr(self, name), Run))
        for name in ("protocol", "machine", "versions"):
            object.__setattr__(self, name, frozen_facts(name, getattr(self, name)))
        keys = [(run.method, run.weight, run.threat, run.split, run.seed) for run in self.runs]
        for key in keys:
            if keys.count(key) > 1:
                raise ValueError(
                    f"runs holds (method, weight, threat, split, seed)={key} more than once; "
                    "keep one of them"
                )


def write_results(results: Results, path: Path) -> None:
    """Write ``results`` as JSON; the file appears whole or not at all."""
    text = json.dumps(dataclasses.asdict(results), indent=1, allow_nan=False, ensure_ascii=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".tmp")
    draft.write_text(text + "\n", encoding="utf-8")
    draft.replace(path)


def read_results(path: Path) -> Results:
    """Read what :func:`write_results` wrote.

    Args:
        path: the file.

    Returns:
        Results equal to those written.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is truncated, of another version or holds a value out of range;
            the message names the file, the field and the remedy.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist; `aajr reproduce` writes it") from None
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise ValueError(f"{path} is not a text file ({error}); give a results.json") from None
    try:
        return _decode_results(parse_json(text))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(
            f"{path} is not whole JSON ({error}); it may be truncated: run `aajr reproduce` again"
        ) from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _check_schema(version: Any) -> None:
    if version not in READABLE_VERSIONS or isinstance(version, bool):
        raise ValueError(
            f"schema_version={version!r} cannot be read, only {READABLE_VERSIONS}; "
            "use the version of aajr that wrote the file, or reproduce it again"
        )


def _decode_results(value: Any) -> Results:
    if not isinstance(value, dict):
        raise ValueError(f"the top level is a {kind(value)}; an object was expected")
    _check_schema(value.get("schema_version"))
    value = value | {"schema_version": SCHEMA_VERSION}
    runs = {name: _decode_runs(name, value.get(name, [])) for name in ("runs", "floors")}
    return _decode(Results, value | runs, "")


def _decode_runs(name: str, value: Any) -> list[Run]:
    if not isinstance(value, list):
        raise ValueError(f"{name} is a {kind(value)}; a list was expected")
    return [_decode_run(item, f"{name}[{index}]") for index, item in enumerate(value)]


def _decode_run(value: Any, where: str) -> Run:
    if isinstance(value, dict) and isinstance(value.get("scores"), list):
        decoded = [
            _decode(Score, item, f"{where}.scores[{index}]")
            for index, item in enumerate(value["scores"])
        ]
        value = value | {"scores": decoded}
    return _decode(Run, value, where)


def _decode(record: type[_Record], value: Any, where: str) -> _Record:
    dot = f"{where}." if where else ""
    if not isinstance(value, dict):
        raise ValueError(f"{where} is a {kind(value)}; an object was expected")
    known = {item.name: item for item in dataclasses.fields(record)}  # type: ignore[arg-type]
    for name in value.keys() - known.keys():
        raise ValueError(f"{dot}{name} is not a known field; remove it")
    missing = dataclasses.MISSING
    for name, item in known.items():
        optional = item.default is not missing or item.default_factory is not missing
        if name not in value and not optional:
            raise ValueError(f"{dot}{name} is missing; run `aajr reproduce` again to write it")
    try:
        return record(**value)
    except ValueError as error:
        raise ValueError(f"{dot}{error}") from None
