"""Readings of the raw results that tables and plots share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aajr.statistics.intervals import bootstrap
from aajr.studies.mujoco._attacks import worst

Record = dict[str, Any]

GROUPS = ("five", "six", "seven")
"""Names of the groups of attacks in the results, each within the next."""

ALIGNED = "aajr"
"""Part of the names of methods that penalise along the attack."""


def titles(results: Record) -> dict[str, str]:
    """Titles of the methods by name."""
    return {method["name"]: method["title"] for method in results["methods"]}


def agents_of(results: Record, method: str) -> list[Record]:
    """The final agents of a method."""
    return [agent for agent in results["agents"] if agent["method"] == method]


def natural_of(agent: Record) -> float:
    """Mean return without attack."""
    return float(np.mean(agent["returns"]["none"]))


def worst_of(agent: Record, results: Record, group: str = "seven") -> float:
    """Least mean return of an agent over the attacks of a group."""
    return worst(agent["returns"], results["groups"][group])[0]


def by_seed(results: Record, method: str) -> dict[int, float]:
    """Return under the worst of all attacks of every agent of a method."""
    return {agent["seed"]: worst_of(agent, results) for agent in agents_of(results, method)}


def champion(results: Record) -> str | None:
    """The method with AAJR whose chosen candidate was best on the validation seeds."""
    reached = {}
    for name, choice in results["choices"].items():
        if ALIGNED in name:
            tried = {entry["value"]: entry["worst"] for entry in choice["tried"]}
            reached[name] = tried[choice["value"]]
    return max(reached, key=reached.__getitem__) if reached else None


def means_by_attack(results: Record, attacks: Sequence[str]) -> NDArray[np.float64]:
    """Interquartile mean over the agents, ``[methods, attacks]``."""

    def middle(method: str, attack: str) -> float:
        agents = agents_of(results, method)
        return bootstrap([float(np.mean(a["returns"][attack])) for a in agents]).estimate

    return np.array([[middle(name, one) for one in attacks] for name in titles(results)])
