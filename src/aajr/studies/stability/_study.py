"""The study's runs, each with a file of its own, and what is gathered from them."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from aajr.hide_and_seek.training.trainer import Trainer
from aajr.report.files import write_json
from aajr.report.provenance import machine_facts, version_facts
from aajr.studies._workers import Job, Workers
from aajr.studies.comparison import jobs
from aajr.studies.comparison.attacks import scores_of, suite_of
from aajr.studies.comparison.jobs import TEST_LEAGUE, TRAIN_LEAGUE, Workspace
from aajr.studies.stability._protocol import Cell, Protocol

Record = dict[str, Any]


def study(protocol: Protocol, work: Path, workers: int | None = None) -> Record:
    """Run whatever of the study is not yet done, and gather its raw results.

    Args:
        protocol: the study.
        work: directory for checkpoints and partial results, shared with ``aajr reproduce``.
        workers: processes; as many as cores by default.

    Returns:
        ``gammas``, ``weights`` (the fixed λ of each γ), ``runs`` (one record for every cell and
        seed), the protocol, and facts about machine and versions.
    """
    base = protocol.base
    space = Workspace(base, work / f"{base.name}-{base.fingerprint}")
    directory = space.directory / f"stability-{protocol.fingerprint}"
    directory.mkdir(parents=True, exist_ok=True)
    trial = protocol.validation_seed
    with Workers(workers) as pool:
        pool.run("opponents", _league_jobs(space))
        seeds = (trial, *protocol.seeds)
        pool.run("plain policies", [(jobs.pretrain, (space, seed)) for seed in seeds])

        def train(title: str, cells: Iterable[Cell], seeds: tuple[int, ...]) -> None:
            work = [(space, protocol, directory, cell, seed) for seed in seeds for cell in cells]
            pool.run(title, [(train_cell, arguments) for arguments in work])

        train("without constraint, validation seed", [protocol.unconstrained()], (trial,))
        level = _settled_quantile(_read(directory, protocol.unconstrained(), trial), protocol)
        gammas = [float(f"{share * level:.2g}") for share in protocol.shares]
        constraints = [protocol.constrained(gamma) for gamma in gammas]
        train("constraints, validation seed", constraints, (trial,))
        weights = [_settled_weight(_read(directory, c, trial), protocol) for c in constraints]
        fixed = [protocol.fixed(g, w) for g, w in zip(gammas, weights, strict=True)]
        cells = [protocol.unconstrained(), *constraints, *fixed, *protocol.harsh()]
        train("all runs", cells, protocol.seeds)
    runs = [_read(directory, cell, seed) for cell in cells for seed in protocol.seeds]
    return {
        "preset": base.name,
        "command": f"aajr stability --preset {base.name}",
        "gammas": gammas,
        "weights": weights,
        "validation_quantile": level,
        "runs": runs,
        "protocol": dataclasses.asdict(protocol),
        "machine": machine_facts(),
        "versions": version_facts(),
    }


def train_cell(
    space: Workspace, protocol: Protocol, directory: Path, cell: Cell, seed: int
) -> None:
    """Train, attack and measure one run; a finished one is left alone."""
    path = _path(directory, cell, seed)
    if path.exists():
        return
    trainer = Trainer(
        protocol.train_config(cell, seed),
        space.seekers(TRAIN_LEAGUE),
        path.parent,
        initial=jobs.pretrained_weights(space, seed),
    )
    for _ in trainer.run():
        pass
    victim, suite = jobs.victim_of(space, path.parent, seed), suite_of(space.preset)
    reference = space.preset.reference_epsilon
    record = {
        "cell": cell.name,
        "seed": seed,
        "history": trainer.history,
        "fresh_quantile": None if cell.harsh else fresh_quantile(space, protocol, trainer),
        "scores": [dataclasses.asdict(s) for s in scores_of(victim, suite, [reference])],
    }
    write_json(path, record)


def fresh_quantile(space: Workspace, protocol: Protocol, trainer: Trainer) -> float:
    """The bounded quantile on new episodes against opponents that training never met."""
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
    """A logged quantity at every iteration after the warm-up, a share of all."""
    first = math.ceil(warmup * len(record["history"]))
    return [metrics[f"hider/{name}"] for metrics in record["history"][first:]]


def _settled_quantile(record: Record, protocol: Protocol) -> float:
    values = settled(record, protocol.warmup, "sensitivity_quantile")
    return sum(values) / len(values)


def _settled_weight(record: Record, protocol: Protocol) -> float:
    logs = [math.log(value) for value in settled(record, protocol.warmup, "weight")]
    return float(f"{math.exp(sum(logs) / len(logs)):.3g}")


def _league_jobs(space: Workspace) -> list[Job]:
    return [
        (jobs.train_league, (space, base, index))
        for base in (TRAIN_LEAGUE, TEST_LEAGUE)
        for index in range(space.preset.opponents)
    ]


def _path(directory: Path, cell: Cell, seed: int) -> Path:
    # the weight is part of the name: a fixed λ depends on what the validation seed showed
    return directory / f"{cell.name}_{cell.penalty.weight:g}_{seed}" / "record.json"


def _read(directory: Path, cell: Cell, seed: int) -> Record:
    record: Record = json.loads(_path(directory, cell, seed).read_text())
    return record
