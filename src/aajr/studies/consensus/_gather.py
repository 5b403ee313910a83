"""Helpers with which tables and plots read the raw results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aajr.studies.consensus._methods import METHODS

Record = dict[str, Any]


def method_of(case: Record, name: str) -> Record:
    """The record of a method on the final seeds."""
    found: Record = next(m for m in case["methods"] if m["method"] == name)
    return found


def worst_at(results: Record, method: Record, times: float = 1.0) -> list[float]:
    """Worst accuracy of every seed at ``times`` the ε of training."""
    settings = results["settings"]
    epsilons = settings["examination"]["epsilons"]
    values: list[float] = method["worst"][epsilons.index(times * settings["budget"]["epsilon"])]
    return values


def responses_of(case: Record, kind: str) -> dict[str, list[float]]:
    """Mean responses by size of the lie, for every method by its title.

    The kind ``belief`` also has the responses of the mean and the median.
    """
    found = {
        METHODS[m["method"]].title: [_mean(seeds) for seeds in m["responses"][kind]]
        for m in case["methods"]
    }
    if kind == "belief":
        found |= {f"{name} itself": values for name, values in case["estimates"].items()}
    return found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
