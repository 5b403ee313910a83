"""The study in pieces, each with a file of its own, and what is gathered from them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import warnings
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aajr._checks import check_count
from aajr.adversaries import MaskedGradientWarning, ProjectedGradientAscent
from aajr.evaluation.files import write_json
from aajr.evaluation.records import machine_facts, version_facts
from aajr.evaluation.theory._price import (
    CONSTRAINTS,
    TASKS,
    Constraint,
    PriceConfig,
    Task,
    as_json,
    fit,
)
from aajr.evaluation.theory._problems import random_problem
from aajr.evaluation.theory._step_sizes import EDGES, SAFE_RULES, step_sizes
from aajr.evaluation.theory._verdicts import Verdict, check
from aajr.evaluation.workers import Workers
from aajr.geometry import Ball
from aajr.theory import anisotropic_policy, membership

Record = dict[str, Any]
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
RULES = ("fixed", *SAFE_RULES)


@dataclass(frozen=True)
class TheoryConfig:
    """Sizes of the study.

    Attributes:
        problems: random problems on which every statement is checked.
        stepped: how many of them the step-size experiment takes.
        seed: of the problems.
        price: sizes of the price-of-robustness experiment.
        chunk: problems in a piece of work.
    """

    problems: int = 1000
    stepped: int = 200
    seed: int = 0
    price: PriceConfig = field(default_factory=PriceConfig)
    chunk: int = 25

    def __post_init__(self) -> None:
        for name in ("problems", "stepped", "chunk"):
            check_count(name, getattr(self, name))
        check_count("seed", self.seed, minimum=0)

    @property
    def fingerprint(self) -> str:
        """Eight letters that change with anything that changes the results."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


PRESETS: dict[str, TheoryConfig] = {
    "smoke": TheoryConfig(
        problems=20,
        stepped=10,
        chunk=10,
        price=PriceConfig(gammas=(1.0, 4.0), seeds=(0, 1, 2), updates=60, judged=64, hidden=8),
    ),
    "full": TheoryConfig(),
}


def study(config: TheoryConfig, work: Path, workers: int | None = None) -> Record:
    """Run whatever of the study is not yet done, and gather its results.

    Args:
        config: the sizes.
        work: directory of partial results; a second call goes on from there.
        workers: processes; as many as cores by default.

    Returns:
        ``statements``, ``kinds``, ``problems`` (raw, one entry each), ``steps``, ``price``, the
        configuration, and facts about machine and versions.
    """
    directory = work / f"theory-{config.fingerprint}"
    directory.mkdir(parents=True, exist_ok=True)
    checked = [directory / f"checked_{i}.json" for i in _chunks(config.problems, config.chunk)]
    stepped = [directory / f"stepped_{i}.json" for i in _chunks(config.stepped, config.chunk)]
    cells = [(task, constraint) for task in TASKS for constraint in CONSTRAINTS]
    fitted = [directory / f"fitted_{task}_{constraint}.json" for task, constraint in cells]
    with Workers(workers) as pool:
        fits = [
            (fit_class, (config, *cell, path)) for cell, path in zip(cells, fitted, strict=True)
        ]
        pool.run("price of robustness", fits)
        pool.run("statements", [(check_problems, (config, path)) for path in checked])
        pool.run("step sizes", [(step_problems, (config, path)) for path in stepped])
    parts = [json.loads(path.read_text()) for path in checked]
    return {
        "command": f"aajr theory --problems {config.problems} --seed {config.seed}",
        "statements": _statements(parts),
        "kinds": _kinds(parts),
        "problems": [problem for part in parts for problem in part["problems"]],
        "steps": _bins([json.loads(path.read_text()) for path in stepped]),
        "price": [item for path in fitted for item in json.loads(path.read_text())],
        "config": dataclasses.asdict(config),
        "machine": machine_facts(),
        "versions": version_facts(),
    }


def violations(results: Record) -> int:
    """How often any statement was broken."""
    steps = sum(
        count["falls"]
        for rule, bins in results["steps"]["falls"].items()
        for count in bins
        if rule != "fixed" or count["greatest"] <= 1
    )
    return int(steps + sum(item["violations"] for item in results["statements"]))


def check_problems(config: TheoryConfig, path: Path) -> None:
    """Check every statement on a chunk of problems."""
    if path.exists():
        return
    ratios: dict[str, list[float]] = defaultdict(list)
    problems = []
    for index in _members(path, config.problems, config.chunk):
        problem = random_problem(config.seed, index)
        verdicts = [*_quietly(check, problem), _strictness(config.seed, index)]
        entry: Record = {"index": index, "kind": problem.kind, "statements": {}}
        for verdict in verdicts:
            name = f"{verdict.statement}|{verdict.constants}"
            found = verdict.tightness
            ratios[f"{problem.kind}|{name}"] += [float(f"{value:.4g}") for value in found.tolist()]
            entry["statements"][name] = _summary(verdict, found)
        problems.append(entry)
    write_json(path, {"problems": problems, "ratios": ratios})


def step_problems(config: TheoryConfig, path: Path) -> None:
    """Steps of many sizes on a chunk of problems, counted in bins of their ratio to the limit."""
    if path.exists():
        return
    found = [
        steps
        for index in _members(path, config.stepped, config.chunk)
        for steps in _quietly(step_sizes, random_problem(config.seed, index))
    ]
    edges = torch.tensor(EDGES, dtype=torch.float64)

    def counts(ratio: str, chosen: str | None) -> list[int]:
        kept = [
            getattr(s, ratio) if chosen is None else getattr(s, ratio)[s.falls[chosen]]
            for s in found
        ]
        return [
            int(n)
            for n in torch.bincount(
                torch.bucketize(torch.cat(kept), edges, right=True), minlength=len(EDGES) + 1
            )
        ]

    ratios = ("to_bound", "to_curvature")
    tables = {
        ratio: {"steps": counts(ratio, None)} | {rule: counts(ratio, rule) for rule in RULES}
        for ratio in ratios
    }
    write_json(path, tables)


def fit_class(config: TheoryConfig, task: Task, constraint: Constraint, path: Path) -> None:
    """Fit one class on one task."""
    if not path.exists():
        write_json(path, [as_json(item) for item in fit(config.price, task, constraint)])


def _strictness(seed: int, index: int) -> Verdict:
    """A random member of the family diag(γ, M) with M > γ: inside one class, outside the other."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + index)
    gamma, excess = (0.1 + 3 * torch.rand(2, generator=generator, dtype=torch.float64)).tolist()
    policy = anisotropic_policy(gamma, gamma + excess)
    x = torch.randn(4, 2, generator=generator, dtype=torch.float64)
    attack = ProjectedGradientAscent(Ball("l2", 0.3), lambda output, reference: output[:, 0])
    found = membership(policy, attack(policy, x, generator), gamma * (1 + 1e-12))
    holds = found.in_aligned and not found.in_global
    truth = torch.tensor([float(holds)], dtype=torch.float64)
    return Verdict("strictness of the inclusion", "none", 1 - truth, torch.zeros_like(truth))


def _quietly(function: Any, problem: Any) -> Any:
    # a constant objective, such as a saturated one, is a fair problem here
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MaskedGradientWarning)
        return function(problem)


def _summary(verdict: Verdict, tightness: Tensor) -> Record:
    return {
        "checked": verdict.actual.numel(),
        "violations": int(verdict.broken.sum()),
        "tightness": float(f"{float(tightness.median()):.4g}") if len(tightness) else None,
    }


def _statements(parts: Iterable[Record]) -> list[Record]:
    totals: dict[str, Record] = {}
    ratios: dict[str, list[float]] = defaultdict(list)
    for part in parts:
        for problem in part["problems"]:
            for name, found in problem["statements"].items():
                total = totals.setdefault(name, {"checked": 0, "violations": 0})
                total["checked"] += found["checked"]
                total["violations"] += found["violations"]
        for name, values in part["ratios"].items():
            ratios[name.partition("|")[2]] += values
    return [
        {
            "statement": name.partition("|")[0],
            "constants": name.partition("|")[2],
            **total,
            "compared": len(ratios[name]),
            "tightness": _quantiles(ratios[name]),
        }
        for name, total in totals.items()
    ]


def _kinds(parts: Iterable[Record]) -> dict[str, dict[str, list[float]]]:
    """Tightness of every statement for each objective."""
    ratios: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for part in parts:
        for name, values in part["ratios"].items():
            kind, _, statement = name.partition("|")
            ratios[kind][statement] += values
    return {
        kind: {name: _quantiles(values) for name, values in found.items() if values}
        for kind, found in ratios.items()
    }


def _quantiles(values: list[float]) -> list[float]:
    if not values:
        return []
    levels = torch.tensor(QUANTILES, dtype=torch.float64)
    found = torch.quantile(torch.tensor(sorted(values), dtype=torch.float64), levels)
    return [float(f"{value:.4g}") for value in found.tolist()]


def _bins(parts: list[Record]) -> Record:
    """Shares of falls against η over its limit, for each rule."""
    edges = (0.0, *EDGES, math.inf)
    total = {
        name: torch.tensor([part["to_bound"][name] for part in parts]).sum(0).tolist()
        for name in ("steps", *RULES)
    }
    sharp = {
        name: torch.tensor([part["to_curvature"][name] for part in parts]).sum(0).tolist()
        for name in ("steps", *RULES)
    }

    def table(counts: dict[str, list[int]], rule: str) -> list[Record]:
        return [
            {
                "least": low,
                "greatest": high if math.isfinite(high) else 1e300,
                "steps": steps,
                "falls": falls,
            }
            for low, high, steps, falls in zip(
                edges[:-1], edges[1:], counts["steps"], counts[rule], strict=True
            )
        ]

    return {
        "falls": {rule: table(total, rule) for rule in RULES},
        "falls_to_curvature": {rule: table(sharp, rule) for rule in RULES},
    }


def _chunks(count: int, chunk: int) -> list[int]:
    return list(range(0, count, chunk))


def _members(path: Path, count: int, chunk: int) -> range:
    first = int(path.stem.rpartition("_")[2])
    return range(first, min(first + chunk, count))
