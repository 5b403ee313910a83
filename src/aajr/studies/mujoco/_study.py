"""The yardstick's runs, each with files of its own, and what is gathered from them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from aajr.integrations.sb3 import load_agent
from aajr.report.files import write_json
from aajr.report.provenance import PACKAGES, machine_facts, version_facts
from aajr.studies._workers import Job, Workers
from aajr.studies.mujoco._attacks import FIVE, attacks, play, worst
from aajr.studies.mujoco._protocol import PUBLISHED, Method, Protocol
from aajr.studies.mujoco._training import reference_method, train

Record = dict[str, Any]
VALIDATION = ("mad", "critic", "push", "steer")
"""Attacks behind a choice, by the first part of a name."""

NATURAL_SHARE = 0.95
"""A candidate counts only with this share of the best natural return of its method."""


def study(protocol: Protocol, work: Path, workers: int | None = None) -> Record:
    """Run whatever of the study is not yet done, and gather its raw results.

    Args:
        protocol: the study.
        work: directory for agents and partial results.
        workers: processes; as many as cores by default.

    Returns:
        ``choices`` (every candidate's validation returns and the one chosen), ``agents`` (returns
        of every episode of every final agent under every attack), the protocol, and facts about
        machine and versions.
    """
    directory = work / f"yardstick-{protocol.name}-{protocol.fingerprint}"
    directory.mkdir(parents=True, exist_ok=True)
    with Workers(workers) as pool:
        pool.run("reference agent", [(train_reference, (protocol, directory))])
        pool.run("tuning", _tuning(protocol, directory))
        choices = {method.name: choose(protocol, directory, method) for method in protocol.methods}
        pool.run("final agents", _finals(protocol, directory, choices))
        pool.run("strength of the attacks", _checks(protocol, directory, choices))
    return _gathered(protocol, directory, choices)


def train_reference(protocol: Protocol, directory: Path) -> None:
    """Train the vanilla agent whose statistics of the observations serve all others."""
    train(
        protocol,
        reference_method(protocol),
        1.0,
        protocol.reference_seed,
        directory / "reference",
        None,
    )


def candidate(protocol: Protocol, directory: Path, method: Method, value: float, seed: int) -> None:
    """Train and attack one candidate of the tuning; a finished one is left alone."""
    _examine(protocol, directory, method, value, seed, "validation")


def final(protocol: Protocol, directory: Path, method: Method, value: float, seed: int) -> None:
    """Train and attack one agent of the figures; a finished one is left alone."""
    _examine(protocol, directory, method, value, seed, "final")


def check(protocol: Protocol, directory: Path, method: Method, value: float, seed: int) -> None:
    """Attack a final agent by long gradient ascent; a finished one is left alone."""
    _examine(protocol, directory, method, value, seed, "thorough")


def _examine(
    protocol: Protocol, directory: Path, method: Method, value: float, seed: int, kind: str
) -> None:
    place = agent_directory(directory, method, value, seed)
    path = place / f"{kind}.json"
    if path.exists():
        return
    train(protocol, method, value, seed, place, load_agent(directory / "reference").normalisation)
    agent = load_agent(place)
    found = attacks(
        agent,
        protocol,
        seed,
        thorough=kind == "thorough",
        names=VALIDATION if kind == "validation" else None,
    )
    episodes = protocol.episodes if kind == "final" else protocol.validation_episodes
    record: Record = {"method": method.name, "value": value, "seed": seed, "returns": {}}
    record["largest_perturbation"] = {}
    for name, adversary in ({"none": None} | found).items():
        played = play(agent, protocol.environment, adversary, episodes, seed)
        record["returns"][name] = played.returns
        record["largest_perturbation"][name] = played.largest
    write_json(path, record)


def choose(protocol: Protocol, directory: Path, method: Method) -> Record:
    """The candidate of the highest worst-case return, among those that still do their task."""
    tried = []
    for value in method.candidates:
        records = [
            _read(agent_directory(directory, method, value, seed) / "validation.json")
            for seed in protocol.validation_seeds
        ]
        tried.append(
            {
                "value": value,
                "natural": float(np.mean([np.mean(r["returns"]["none"]) for r in records])),
                "worst": float(np.mean([worst(r["returns"], VALIDATION)[0] for r in records])),
            }
        )
    enough = NATURAL_SHARE * max(entry["natural"] for entry in tried)
    able = [entry for entry in tried if entry["natural"] >= enough]
    best = max(able, key=lambda entry: entry["worst"])
    return {"knob": method.knob, "value": best["value"], "tried": tried}


def agent_directory(directory: Path, method: Method, value: float, seed: int) -> Path:
    """Where one run keeps its files."""
    return directory / f"{method.name}_{value:g}_{seed}"


def _tuning(protocol: Protocol, directory: Path) -> list[Job]:
    return [
        (candidate, (protocol, directory, method, value, seed))
        for seed in protocol.validation_seeds
        for method in protocol.methods
        for value in method.candidates
    ]


def _finals(protocol: Protocol, directory: Path, choices: Record) -> list[Job]:
    return [
        (final, (protocol, directory, method, choices[method.name]["value"], seed))
        for seed in protocol.final_seeds
        for method in protocol.methods
    ]


def _checks(protocol: Protocol, directory: Path, choices: Record) -> list[Job]:
    seed = protocol.final_seeds[0]
    return [
        (check, (protocol, directory, method, choices[method.name]["value"], seed))
        for method in protocol.methods
    ]


def _gathered(protocol: Protocol, directory: Path, choices: Record) -> Record:
    def records(kind: str, seeds: tuple[int, ...]) -> list[Record]:
        return [
            _read(agent_directory(directory, m, choices[m.name]["value"], seed) / f"{kind}.json")
            for m in protocol.methods
            for seed in seeds
        ]

    reference = load_agent(directory / "reference").normalisation
    if reference is None:
        raise ValueError(
            f"{directory / 'reference'} holds an agent without normalisation; train it again"
        )
    return {
        "preset": protocol.name,
        "command": f"aajr yardstick --preset {protocol.name}",
        "unit": "L∞ on observations divided by the reference agent's standard deviations",
        "standard_deviations": (reference.variance + reference.epsilon).sqrt().tolist(),
        "choices": choices,
        "agents": records("final", protocol.final_seeds),
        "thorough": records("thorough", protocol.final_seeds[:1]),
        "published": [dataclasses.asdict(p) for p in PUBLISHED[protocol.environment]],
        "protocol": dataclasses.asdict(protocol),
        "five": list(FIVE),
        "machine": machine_facts(),
        "versions": version_facts((*PACKAGES, "stable-baselines3", "gymnasium", "mujoco")),
    }


def _read(path: Path) -> Record:
    record: Record = json.loads(path.read_text())
    return record
