"""The study's runs, each with its own file, and the gathered results."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import torch

from aajr._settings import stated
from aajr.hide_and_seek.training.trainer import Trainer
from aajr.studies._store import Cell, Store
from aajr.studies._study import Stage
from aajr.studies.comparison import STUDY as COMPARISON
from aajr.studies.comparison import jobs
from aajr.studies.comparison.attacks import scores_of, suite_of
from aajr.studies.comparison.jobs import TEST_LEAGUE, TRAIN_LEAGUE, Workspace
from aajr.studies.comparison.presets import decisive as decisive_of_base
from aajr.studies.stability._protocol import Method, Protocol

Record = dict[str, Any]


def stages(protocol: Protocol, store: Store) -> Iterator[Stage]:
    """The stages: opponents, plain policies, runs on the validation seed, and all other runs."""
    space, trial = workspace(protocol, store), protocol.validation_seed
    leagues = [space.leagues(base) for base in (TRAIN_LEAGUE, TEST_LEAGUE)]
    yield "opponents", [cell for league in leagues for cell in league]
    yield "plain policies", [space.pretrained(seed) for seed in (trial, *protocol.seeds)]
    free = protocol.unconstrained()
    yield "without constraint, validation seed", [_trained(protocol, store, free, trial)]
    *_, constraints = _choices(protocol, store)
    yield (
        "constraints, validation seed",
        [_trained(protocol, store, method, trial) for method in constraints],
    )
    methods = _methods(protocol, store)
    yield (
        "all runs",
        [_trained(protocol, store, method, seed) for seed in protocol.seeds for method in methods],
    )


def gather(protocol: Protocol, store: Store, facts: Record) -> Record:
    """Gather the raw results.

    Returns:
        Among others: ``gammas``, ``weights`` (the fixed λ of each γ), ``runs`` (one record for
        every method and every seed), the protocol and the facts.
    """
    level, gammas, _ = _choices(protocol, store)
    return {
        "preset": protocol.base.name,
        "gammas": gammas,
        "weights": _weights(protocol, store),
        "validation_quantile": level,
        "runs": [
            _trained(protocol, store, method, seed).value()
            for method in _methods(protocol, store)
            for seed in protocol.seeds
        ],
        "protocol": dataclasses.asdict(protocol, dict_factory=stated),
        **facts,
    }


def decisive(protocol: Protocol) -> Any:
    """Everything that determines the results: the protocol and its base comparison."""
    own = {name: value for name, value in dataclasses.asdict(protocol).items() if name != "base"}
    return [own, decisive_of_base(protocol.base)]


def workspace(protocol: Protocol, store: Store) -> Workspace:
    """The base comparison; its store lies in the same directory as this study's store."""
    return Workspace(protocol.base, COMPARISON.store(protocol.base, store.directory.parent))


def train_cell(protocol: Protocol, store: Store, method: Method, seed: int) -> Record:
    """Train, attack and measure one run."""
    space, directory = workspace(protocol, store), _trained(protocol, store, method, seed).directory
    trainer = Trainer(
        protocol.train_config(method, seed),
        space.seekers(TRAIN_LEAGUE),
        directory,
        initial=jobs.pretrained_weights(space, seed),
    )
    for _ in trainer.run():
        pass
    victim, suite = jobs.victim_of(space, directory, seed), suite_of(space.preset)
    reference = space.preset.reference_epsilon
    return {
        "cell": method.name,
        "seed": seed,
        "history": trainer.history,
        "fresh_quantile": None if method.harsh else fresh_quantile(space, protocol, trainer),
        "scores": [dataclasses.asdict(s) for s in scores_of(victim, suite, [reference])],
    }


def fresh_quantile(space: Workspace, protocol: Protocol, trainer: Trainer) -> float:
    """The quantile of ‖Jv‖ on new episodes against opponents that were not used in training."""
    learner = trainer.learners["hider"]
    minimax = learner.minimax
    if minimax is None or minimax.penalty is None:
        raise ValueError("trainer's hiders have no penalty, whose quantile is asked for")
    seed = trainer.config.seed
    rows = jobs.sample_rows(space, learner, TEST_LEAGUE, seed, attacked=True)
    generator = torch.Generator().manual_seed(seed)
    data = {"action": rows["action"], "advantage": rows["advantage"].squeeze(-1)}
    trajectory = minimax.adversary(learner.actor, rows["observation"], generator, data)
    squared = minimax.penalty.values(learner.actor, trajectory, generator, 0).detach()
    return float(torch.quantile(squared.clamp_min(0).sqrt(), protocol.quantile))


def settled(record: Record, warmup: float, name: str) -> list[float]:
    """Values of a logged quantity after the first ``warmup`` share of the iterations."""
    first = math.ceil(warmup * len(record["history"]))
    return [metrics[f"hider/{name}"] for metrics in record["history"][first:]]


def _settled_quantile(record: Record, protocol: Protocol) -> float:
    values = settled(record, protocol.warmup, "sensitivity_quantile")
    return sum(values) / len(values)


def _settled_weight(record: Record, protocol: Protocol) -> float:
    logs = [math.log(value) for value in settled(record, protocol.warmup, "weight")]
    return float(f"{math.exp(sum(logs) / len(logs)):.3g}")


def _trained(protocol: Protocol, store: Store, method: Method, seed: int) -> Cell:
    # the name needs the weight, because the fixed λ is only known after the validation seed
    name = f"{method.name}_{method.penalty.weight:g}_{seed}"
    return store.cell(name, train_cell, protocol, store, method, seed)


def _choices(protocol: Protocol, store: Store) -> tuple[float, list[float], list[Method]]:
    """The unconstrained quantile on the validation seed, the γ derived from it, the constraints."""
    free = _trained(protocol, store, protocol.unconstrained(), protocol.validation_seed)
    level = _settled_quantile(free.value(), protocol)
    gammas = [float(f"{share * level:.2g}") for share in protocol.shares]
    return level, gammas, [protocol.constrained(gamma) for gamma in gammas]


def _weights(protocol: Protocol, store: Store) -> list[float]:
    """The λ to which each constraint settled on the validation seed."""
    *_, constraints = _choices(protocol, store)
    found = [_trained(protocol, store, method, protocol.validation_seed) for method in constraints]
    return [_settled_weight(cell.value(), protocol) for cell in found]


def _methods(protocol: Protocol, store: Store) -> list[Method]:
    _, gammas, constraints = _choices(protocol, store)
    pairs = zip(gammas, _weights(protocol, store), strict=True)
    fixed = [protocol.fixed(gamma, weight) for gamma, weight in pairs]
    return [protocol.unconstrained(), *constraints, *fixed, *protocol.harsh()]
