"""The cells of the study, each with its own file, and the gathered results."""

from __future__ import annotations

import dataclasses
import warnings
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from aajr._checks import check_count
from aajr._seeds import derive
from aajr.adversaries import MaskedGradientWarning, ProjectedGradientAscent
from aajr.geometry import Ball
from aajr.studies._store import Cell, Store
from aajr.studies._study import Stage
from aajr.studies.theory._clipping import clipped_example, clipped_steps
from aajr.studies.theory._gather import RULES, Record, bins, kinds, raw, statements
from aajr.studies.theory._price import CONSTRAINTS, Constraint, PriceConfig, fit
from aajr.studies.theory._problems import describe, random_problem
from aajr.studies.theory._step_sizes import EDGES, step_sizes
from aajr.studies.theory._tasks import TASKS, Task, global_optimum
from aajr.studies.theory._verdicts import Verdict, check
from aajr.theory import anisotropic_policy, membership

_FACTS = ("index", "kind", "network", "ball")


@dataclass(frozen=True)
class TheoryConfig:
    """Sizes of the study.

    Attributes:
        problems: number of random problems on which every statement is checked.
        stepped: how many of them the step-size experiment uses.
        seed: seed of the problems.
        price: sizes of the price-of-robustness experiment.
        chunk: number of problems in a cell.
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


PRESETS: dict[str, TheoryConfig] = {
    "smoke": TheoryConfig(
        problems=20,
        stepped=10,
        chunk=10,
        price=PriceConfig(gammas=(1.0, 4.0), seeds=(0, 1, 2), updates=60, judged=64, hidden=8),
    ),
    "full": TheoryConfig(),
}


def stages(config: TheoryConfig, store: Store) -> list[Stage]:
    """The stages: the price of robustness, the statements, and the step sizes."""
    return [
        ("price of robustness", _fits(config, store)),
        ("statements", _checks(config, store)),
        ("step sizes", _steps(config, store)),
    ]


def gather(config: TheoryConfig, store: Store, facts: Record) -> Record:
    """Gather the raw results.

    Returns:
        ``statements``, ``kinds``, ``problems`` and ``raw`` (columns over the problems),
        ``clipping``, ``steps``, ``price``, ``global_optimum``, the configuration and the facts.
    """
    parts = [cell.value() for cell in _checks(config, store)]
    problems = [problem for part in parts for problem in part["problems"]]
    return {
        "statements": statements(parts),
        "kinds": kinds(parts),
        "problems": [{name: problem[name] for name in _FACTS} for problem in problems],
        "raw": raw(problems),
        "clipping": {
            "example": clipped_example(),
            "steps": sum(problem["clipped"][0] for problem in problems),
            "falls": sum(problem["clipped"][1] for problem in problems),
        },
        "steps": bins([cell.value() for cell in _steps(config, store)]),
        "price": [item for cell in _fits(config, store) for item in cell.value()],
        "global_optimum": [global_optimum(gamma) for gamma in config.price.gammas],
        "config": dataclasses.asdict(config),
        **facts,
    }


def _fits(config: TheoryConfig, store: Store) -> list[Cell]:
    return [
        store.cell(f"fitted_{task}_{constraint}", fit_class, config.price, task, constraint)
        for task in TASKS
        for constraint in CONSTRAINTS
    ]


def _checks(config: TheoryConfig, store: Store) -> list[Cell]:
    return [
        store.cell(f"checked_{chunk.start}", check_problems, config.seed, chunk)
        for chunk in _chunks(config.problems, config.chunk)
    ]


def _steps(config: TheoryConfig, store: Store) -> list[Cell]:
    return [
        store.cell(f"stepped_{chunk.start}", step_problems, config.seed, chunk)
        for chunk in _chunks(config.stepped, config.chunk)
    ]


def violations(results: Record) -> int:
    """Total number of violations of all statements."""
    steps = sum(
        count["falls"]
        for rule, bins in results["steps"]["falls"].items()
        for count in bins
        if rule != "fixed" or count["greatest"] <= 1
    )
    return int(steps + sum(item["violations"] for item in results["statements"]))


def check_problems(seed: int, chunk: range) -> Record:
    """Check every statement on a chunk of problems."""
    ratios: dict[str, list[float]] = defaultdict(list)
    problems = []
    for index in chunk:
        problem = random_problem(seed, index)
        verdicts = [*_quietly(check, problem), _strictness(seed, index)]
        entry: Record = {
            "index": index,
            "kind": problem.kind,
            "network": describe(problem.policy),
            "ball": f"{problem.ball.norm} {problem.ball.epsilon:.3g}",
            "clipped": _quietly(clipped_steps, problem),
            "statements": {},
        }
        for verdict in verdicts:
            name = f"{verdict.statement}|{verdict.constants}"
            found = verdict.tightness
            ratios[f"{problem.kind}|{name}"] += [float(f"{value:.4g}") for value in found.tolist()]
            entry["statements"][name] = _summary(verdict, found)
        problems.append(entry)
    return {"problems": problems, "ratios": ratios}


def step_problems(seed: int, chunk: range) -> Record:
    """Make steps of many sizes on a chunk of problems; count them in bins of η over its limit."""
    found = [
        steps for index in chunk for steps in _quietly(step_sizes, random_problem(seed, index))
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
    return {
        ratio: {"steps": counts(ratio, None)} | {rule: counts(ratio, rule) for rule in RULES}
        for ratio in ratios
    }


def fit_class(config: PriceConfig, task: Task, constraint: Constraint) -> list[Record]:
    """Fit all policies under one constraint on one task."""
    return [dataclasses.asdict(item) for item in fit(config, task, constraint)]


def _strictness(seed: int, index: int) -> Verdict:
    """Check that diag(γ, M) with random M > γ is in the aligned class but not in the global one."""
    generator = torch.Generator().manual_seed(derive(seed, "strictness", index))
    gamma, excess = (0.1 + 3 * torch.rand(2, generator=generator, dtype=torch.float64)).tolist()
    policy = anisotropic_policy(gamma, gamma + excess)
    x = torch.randn(4, 2, generator=generator, dtype=torch.float64)
    attack = ProjectedGradientAscent(Ball("l2", 0.3), lambda output, reference: output[:, 0])
    found = membership(policy, attack(policy, x, generator), gamma * (1 + 1e-12))
    holds = found.in_aligned and not found.in_global
    truth = torch.tensor([float(holds)], dtype=torch.float64)
    return Verdict("strictness of the inclusion", "none", 1 - truth, torch.zeros_like(truth))


def _quietly(function: Any, problem: Any) -> Any:
    # random objectives may be constant, for instance saturated; a warning would not help here
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MaskedGradientWarning)
        return function(problem)


def _summary(verdict: Verdict, tightness: Tensor) -> Record:
    return {
        "checked": verdict.actual.numel(),
        "violations": int(verdict.broken.sum()),
        "tightness": float(f"{float(tightness.median()):.4g}") if len(tightness) else None,
    }


def _chunks(count: int, chunk: int) -> list[range]:
    return [range(first, min(first + chunk, count)) for first in range(0, count, chunk)]
