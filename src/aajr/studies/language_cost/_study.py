"""The measurements on SmolLM2, each with its own file, and the gathered results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal, get_args

from aajr.integrations.trl import Robustness
from aajr.studies._quiet import quietly
from aajr.studies._store import Cell, Store
from aajr.studies._study import Stage
from aajr.studies.language_cost._accuracy import differences, sensitivity, sketches
from aajr.studies.language_cost._cost import measure, peak, seconds
from aajr.studies.language_cost._runs import run
from aajr.studies.language_cost._training import HostName, Setup

Record = dict[str, Any]
Job = Callable[[], Record]
PresetName = Literal["smoke", "price", "standard"]
Part = Literal["accuracy", "cost", "price", "runs"]


@dataclass(frozen=True)
class Preset:
    """Sizes of the study.

    Attributes:
        name: name of the preset.
        tiny: whether a random Llama of two layers replaces SmolLM2.
        rows: number of pairs for accuracy and sensitivity.
        layers: layers whose input is perturbed, for sensitivities and costs.
        draws: number of random directions per row.
        batch: rows of a measured step.
        steps: number of optimiser steps of the short training runs.
        seeds: seeds of the short training runs.
        weight: λ of the penalty.
        pairs: number of timed pairs of steps, one with and one without a penalty.
        parts: parts that are measured.
    """

    name: PresetName
    tiny: bool = False
    rows: int = 8
    layers: tuple[int, ...] = (0, 10, 20)
    draws: int = 4
    batch: int = 16
    steps: int = 16
    seeds: tuple[int, ...] = (0,)
    weight: float = 0.1
    pairs: int = 3
    parts: tuple[Part, ...] = ("accuracy", "cost", "runs")


EVERY: tuple[Part, ...] = get_args(Part)
PRESETS: dict[PresetName, Preset] = {
    "smoke": Preset(
        "smoke", True, rows=2, layers=(0, 1), draws=2, batch=8, steps=2, pairs=1, parts=EVERY
    ),
    "price": Preset("price", batch=8, parts=("price",)),
    "standard": Preset("standard"),
}


def decisive(preset: Preset) -> Any:
    """Everything that determines the measurements: the preset and the settings of the penalty."""
    return [asdict(preset), asdict(_penalty(preset))]


def stages(preset: Preset, store: Store) -> list[Stage]:
    """The only stage: all measurements."""
    return [("SmolLM2", _cells(preset, store))]


def gather(preset: Preset, store: Store, facts: Record) -> Record:
    """Gather the raw results: all measurements by name, the settings and the facts."""
    return {
        "preset": preset.name,
        "settings": asdict(preset),
        "defaults": asdict(Robustness(weight=preset.weight)),
        "measured": {cell.name: cell.value() for cell in _cells(preset, store)},
        **facts,
    }


def _cells(preset: Preset, store: Store) -> list[Cell]:
    makers = {"accuracy": _accuracies, "cost": _costs, "price": _prices, "runs": _runs}
    jobs = {name: job for part in preset.parts for name, job in makers[part](preset).items()}
    return [store.cell(name, _measured, job) for name, job in jobs.items()]


def _measured(job: Job) -> Record:
    with quietly():
        return job()


def _accuracies(preset: Preset) -> dict[str, Job]:
    tiny, rows = preset.tiny, preset.rows
    return {
        "differences": partial(differences, tiny, max(1, rows // 2)),
        "sensitivity": partial(sensitivity, tiny, rows, preset.layers, preset.draws),
        "sketches": partial(sketches, tiny, 2 * rows),
    }


def _costs(preset: Preset) -> dict[str, Job]:
    found: dict[str, Job] = {}
    for name, setup in setups(preset).items():
        found[f"cost.{name}.host"] = partial(measure, setup, None)
        found[f"cost.{name}.default"] = partial(measure, setup, _penalty(preset))
    first, penalty = setups(preset)["sft_lora"], _penalty(preset)
    for layer in preset.layers[1:]:
        found[f"cost.sft_lora.layer {layer}"] = partial(
            measure, first, replace(penalty, layer=layer)
        )
    sixteenth = replace(penalty, fraction=1 / 16)
    found["cost.sft_lora.fraction 1:16"] = partial(measure, first, sixteenth)
    return found


def _prices(preset: Preset) -> dict[str, Job]:
    """Jobs that measure memory, with and without checkpointing, and time."""
    found: dict[str, Job] = {}
    penalty = _penalty(preset)
    for name, setup in setups(preset).items():
        found[f"time.{name}"] = partial(seconds, setup, penalty, preset.pairs)
        plain = {} if name.endswith("_plain") else {f"{name}_plain": _plain(setup)}
        for title, kind in {name: setup, **plain}.items():
            found[f"memory.{title}.host"] = partial(peak, kind, None)
            found[f"memory.{title}.default"] = partial(peak, kind, penalty)
    return found


def _plain(setup: Setup) -> Setup:
    return replace(setup, checkpointing=False)


def setups(preset: Preset) -> dict[str, Setup]:
    """The training setups whose steps are measured."""
    sft = Setup(batch=preset.batch, tiny=preset.tiny)
    return {
        "sft_lora": sft,
        "sft_lora_plain": _plain(sft),
        "sft_full": replace(sft, lora=False),
        "dpo_lora": replace(sft, host="dpo", batch=preset.batch // 2),
        "grpo_lora": replace(sft, host="grpo"),
    }


def _runs(preset: Preset) -> dict[str, Job]:
    found: dict[str, Job] = {}
    hosts: tuple[tuple[HostName, int], ...] = (("sft", 8), ("dpo", 4), ("grpo", 8))
    for seed in preset.seeds:
        for host, batch in hosts:
            setup = Setup(host, checkpointing=False, batch=batch, tiny=preset.tiny)
            for method, weight in (("host", 0.0), ("aajr", preset.weight)):
                job = partial(run, setup, weight, preset.steps, seed, preset.rows)
                found[f"run.{host}.{method}.{seed}"] = job
    return found


def _penalty(preset: Preset) -> Robustness:
    return Robustness(weight=preset.weight, warmup=0.0)
