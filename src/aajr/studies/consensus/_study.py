"""Settings, cells and raw results of the study."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aajr._settings import check_choice
from aajr.studies._store import Cell, Store
from aajr.studies._study import Stage
from aajr.studies.consensus import _evaluation as evaluation
from aajr.studies.consensus._case import Case
from aajr.studies.consensus._evaluation import Examination
from aajr.studies.consensus._methods import METHODS
from aajr.studies.consensus._training import Budget, Group, train

Record = dict[str, Any]
CORE = ("plain", "lies", "adversarial", "median", "aajr", "random", "reports", "sa")
TOLERANCE = 1.0
"""How many percentage points of clean accuracy a chosen weight may cost, relative to adversarial
training."""


@dataclass(frozen=True)
class Settings:
    """Sizes of the study.

    Attributes:
        cases: numbers of reports and liars.
        methods: names of the methods.
        seeds: final seeds, on which nothing is chosen.
        validation: seeds on which weights are chosen.
        budget: training budget, the same for every method.
        examination: settings of the evaluation.
    """

    cases: tuple[Case, ...] = (Case(),)
    methods: tuple[str, ...] = tuple(METHODS)
    seeds: tuple[int, ...] = tuple(range(10))
    validation: tuple[int, ...] = (100, 101, 102, 103, 104)
    budget: Budget = field(default_factory=Budget)
    examination: Examination = field(default_factory=Examination)

    def __post_init__(self) -> None:
        for name in self.methods:
            check_choice("methods", name, tuple(METHODS))
        if "adversarial" not in self.methods:
            raise ValueError("methods lacks 'adversarial', to which weights are compared; add it")


FAR = Budget(updates=16000, batch=128, hidden=128, epsilon=3.0)
"""Lies of twenty times the noise, and training that converges."""

CONVERGED = Examination(samples=200, checked=25, epsilons=(1.0, 3.0, 6.0), steps=32, restarts=8)
"""Attacks that longer ones hardly beat."""

PRESETS = {
    "smoke": Settings(
        methods=("plain", "adversarial", "median", "aajr", "reports"),
        seeds=(0, 1, 2),
        validation=(100,),
        budget=Budget(updates=100, batch=32, hidden=16),
        examination=Examination(samples=40, steps=3, checked=20, responses=20, epsilons=(1.0,)),
    ),
    "quick": Settings(
        methods=CORE,
        validation=(100, 101),
        budget=Budget(updates=2000),
        examination=Examination(samples=200, checked=50, epsilons=(0.5, 1.0, 2.0, 4.0)),
    ),
    "standard": Settings(validation=(100, 101, 102), budget=FAR, examination=CONVERGED),
    "sources": Settings(
        cases=(Case(3, 1), Case(3, 2), Case(5, 1), Case(9, 1), Case(9, 2)),
        methods=CORE,
        seeds=tuple(range(5)),
        validation=(100, 101),
        budget=FAR,
        examination=replace(CONVERGED, samples=100),
    ),
}


def stages(settings: Settings, store: Store) -> Iterator[Stage]:
    """Weights on the validation seeds, then the final seeds."""
    yield "validation", [cell for case in settings.cases for cell in _tried(settings, store, case)]
    yield (
        "final seeds",
        [
            _final(settings, store, case, name)
            for case in settings.cases
            for name in settings.methods
        ],
    )


def gather(settings: Settings, store: Store, facts: Record) -> Record:
    """Gather the raw results.

    Returns:
        ``cases``, the settings and the facts. Each case is a record with ``validation`` (accuracies
        by weight and seed), ``methods`` (the chosen weight and the measurements on every final
        seed) and ``estimates`` (how the mean and the median of the reports move under a lie).
    """
    cases = []
    for case in settings.cases:
        tried = {cell_name: cell.value() for cell_name, cell in _by_name(settings, store, case)}
        cases.append(
            dataclasses.asdict(case)
            | {
                "validation": tried,
                "estimates": evaluation.estimate_responses(case, settings.examination),
                "methods": [
                    {
                        "method": name,
                        "weight": _chosen(settings, store, case, name),
                        **_final(settings, store, case, name).value(),
                    }
                    for name in settings.methods
                ],
            }
        )
    return {"cases": cases, "settings": dataclasses.asdict(settings), **facts}


def validate(settings: Settings, case: Case, name: str) -> list[Record]:
    """Clean and worst accuracy of every weight and validation seed, at the ε of training."""
    method = METHODS[name]
    group = Group(method.weights or (0.0,), settings.validation)
    members = train(method, case, settings.budget, group)
    tests = evaluation.shown(case, settings.examination.samples, members.count)
    clean = evaluation.clean_accuracy(members, tests)
    (worst,) = evaluation.worst_accuracies(
        members, case, settings.examination, tests, [settings.budget.epsilon]
    )
    return [
        {"weight": weight, "seed": seed, "clean": c, "worst": w}
        for (weight, seed), c, w in zip(group.pairs, clean, worst, strict=True)
    ]


def examine(settings: Settings, case: Case, name: str, weight: float) -> Record:
    """Train the final seeds with the chosen weight and evaluate them."""
    examination, epsilon = settings.examination, settings.budget.epsilon
    group = Group((weight,), settings.seeds)
    members = train(METHODS[name], case, settings.budget, group)
    tests = evaluation.shown(case, examination.samples, members.count)
    sizes = (*sorted(examination.epsilons), math.inf)
    worst = evaluation.worst_accuracies(members, case, examination, tests, sizes)
    usual, longer = evaluation.converged_accuracy(members, case, examination, epsilon)
    curves = evaluation.responses(members, case, examination)
    return {
        "clean": evaluation.clean_accuracy(members, tests),
        "worst": worst,
        "converged": {"usual": usual, "longer": longer},
        "responses": {
            kind: [[round(v, 5) for v in means.tolist()] for means in by_size]
            for kind, by_size in curves.items()
        },
        "sensitivities": evaluation.sensitivities(members, case, examination, epsilon),
    }


def choose(tried: Sequence[Record], reference: float) -> float:
    """Choose the weight of highest worst accuracy among those that cost little clean accuracy.

    Args:
        tried: records of :func:`validate`.
        reference: clean accuracy of adversarial training on the same seeds.

    Returns:
        The weight of highest mean worst accuracy among those whose mean clean accuracy is at least
        ``reference - TOLERANCE``; of equal weights the smallest. If there is no such weight, the
        one of highest clean accuracy.
    """
    means = means_by_weight(tried)
    able = {w: m for w, m in means.items() if m["clean"] >= reference - TOLERANCE}
    if able:
        return max(sorted(able), key=lambda weight: able[weight]["worst"])
    return max(sorted(means), key=lambda weight: means[weight]["clean"])


def means_by_weight(tried: Sequence[Record]) -> dict[float, dict[str, float]]:
    """Mean clean and worst accuracy over the seeds, by weight."""
    weights = dict.fromkeys(record["weight"] for record in tried)
    return {
        weight: {
            name: math.fsum(r[name] for r in tried if r["weight"] == weight)
            / sum(r["weight"] == weight for r in tried)
            for name in ("clean", "worst")
        }
        for weight in weights
    }


def _tuned(settings: Settings) -> list[str]:
    return ["adversarial", *(name for name in settings.methods if METHODS[name].weights)]


def _by_name(settings: Settings, store: Store, case: Case) -> list[tuple[str, Cell]]:
    return [
        (name, store.cell(f"{_place(case)}_{name}_validation", validate, settings, case, name))
        for name in _tuned(settings)
    ]


def _tried(settings: Settings, store: Store, case: Case) -> list[Cell]:
    return [cell for _, cell in _by_name(settings, store, case)]


def _chosen(settings: Settings, store: Store, case: Case, name: str) -> float:
    if not METHODS[name].weights:
        return 0.0
    found = {n: cell.value() for n, cell in _by_name(settings, store, case)}
    reference = means_by_weight(found["adversarial"])[0.0]["clean"]
    return choose(found[name], reference)


def _final(settings: Settings, store: Store, case: Case, name: str) -> Cell:
    weight = _chosen(settings, store, case, name)
    cell_name = f"{_place(case)}_{name}_{weight:.3g}"
    return store.cell(cell_name, examine, settings, case, name, weight)


def _place(case: Case) -> str:
    return f"{case.liars}_of_{case.reports}"
