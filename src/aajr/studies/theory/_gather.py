"""Totals over the cells of the study: checks, violations, quantiles and bins."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from aajr.studies.theory._step_sizes import EDGES, SAFE_RULES

Record = dict[str, Any]
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
RULES = ("fixed", *SAFE_RULES)
COLUMNS = ("checked", "violations", "tightness")


def statements(parts: Iterable[Record]) -> list[Record]:
    """Checks, violations and quantiles of the tightness of every statement."""
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


def kinds(parts: Iterable[Record]) -> dict[str, dict[str, list[float]]]:
    """Quantiles of the tightness of every statement for each objective."""
    ratios: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for part in parts:
        for name, values in part["ratios"].items():
            kind, _, statement = name.partition("|")
            ratios[kind][statement] += values
    return {
        kind: {name: _quantiles(values) for name, values in found.items() if values}
        for kind, found in ratios.items()
    }


def raw(problems: Sequence[Record]) -> dict[str, dict[str, list[Any]]]:
    """Columns over the problems for every statement; null if it was not checked on a problem."""
    names = list(dict.fromkeys(name for problem in problems for name in problem["statements"]))
    return {
        name: {
            column: [problem["statements"].get(name, {}).get(column) for problem in problems]
            for column in COLUMNS
        }
        for name in names
    }


def bins(parts: Sequence[Record]) -> Record:
    """Count the steps that lower F, in bins of η over either limit, for each rule."""
    names = ("steps", *RULES)
    found = {}
    for title, ratio in (("falls", "to_bound"), ("falls_to_curvature", "to_curvature")):
        counts = {
            name: torch.tensor([part[ratio][name] for part in parts]).sum(0).tolist()
            for name in names
        }
        found[title] = {rule: _table(counts["steps"], counts[rule]) for rule in RULES}
    return found


def _table(steps: Sequence[int], falls: Sequence[int]) -> list[Record]:
    edges = (0.0, *EDGES, math.inf)
    return [
        {
            "least": low,
            "greatest": high if math.isfinite(high) else 1e300,
            "steps": count,
            "falls": fallen,
        }
        for low, high, count, fallen in zip(edges[:-1], edges[1:], steps, falls, strict=True)
    ]


def _quantiles(values: list[float]) -> list[float]:
    if not values:
        return []
    levels = torch.tensor(QUANTILES, dtype=torch.float64)
    found = torch.quantile(torch.tensor(sorted(values), dtype=torch.float64), levels)
    return [float(f"{value:.4g}") for value in found.tolist()]
