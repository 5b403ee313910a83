"""Tables of the measurements on SmolLM2, built only from their raw results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from aajr.report.study import StudyReport
from aajr.report.tables import Table
from aajr.studies.language_cost._cost import amortised
from aajr.studies.language_cost._runs import INTERVAL

Record = dict[str, Any]
Column = Callable[[Any], str]
INTERVALS = (1, 4, 8, 12)
_WHEN = ("before", "after")


def tables(results: Record) -> list[Table]:
    """Tables of all that was measured: price, costs, accuracy, sensitivity, sketches, trainings."""
    kinds = {name.partition(".")[0] for name in results["measured"]}
    made: dict[str, Callable[[Record], Table]] = {
        "time": _price_table,
        "cost": _cost_table,
        "differences": _accuracy_table,
        "sensitivity": _sensitivity_table,
        "sketches": _sketch_table,
        "run": _run_table,
    }
    return [table(results) for kind, table in made.items() if kind in kinds]


def _price_table(results: Record) -> Table:
    """CPU time and peak memory of a penalised step and of a step of the host."""
    found, interval = results["measured"], results["defaults"]["interval"]
    names = [n.split(".")[1] for n in found if n.startswith("memory.") and n.endswith(".host")]
    rows = tuple(_price_row(name, found, interval) for name in names)
    settings, defaults = results["settings"], results["defaults"]
    note = (
        f"{settings['batch']} rows (DPO: half as many pairs; GRPO: groups of at most "
        f"8, generation counted), a share {defaults['fraction']:g} of them penalised. Time: CPU "
        "time of the optimiser steps of one training in which every second step is penalised; "
        f"medians, and the range of the ratio over {settings['pairs']} pairs of consecutive steps. "
        "Memory: greatest number of bytes of tensors alive in a step, parameters included. "
        "'plain': no checkpointing."
    )
    columns = (
        "trainer",
        "host's step, s",
        "penalised\nstep",
        "range",
        f"mean,\nevery {interval}",
        "host's peak, MB",
        "peak of a\npenalised step",
    )
    return Table("Time and memory as multiples of the host's", columns, rows, (note,))


def _price_row(name: str, found: Record, interval: int) -> tuple[str, ...]:
    host, default = (found[f"memory.{name}.{kind}"]["bytes"] for kind in ("host", "default"))
    memory = (f"{host / 1e6:.0f}", f"{default / host:.3f}")
    title = name.replace("_", " ")
    times = found.get(f"time.{name}", {"host": []})
    if not times["host"]:
        return (title, "", "", "", "", *memory)
    usual, penalised = (float(np.median(times[kind])) for kind in ("host", "penalised"))
    ratios = np.divide(times["penalised"], times["host"])
    mean = amortised(usual, penalised, interval)
    span = f"{ratios.min():.3f} to {ratios.max():.3f}"
    return (title, f"{usual:.2f}", f"{penalised / usual:.3f}", span, f"{mean:.3f}", *memory)


def _cost_table(results: Record) -> Table:
    found, rows = results["measured"], []
    for name in found:
        kind, _, rest = name.partition(".")
        setup, _, variant = rest.partition(".")
        if kind != "cost" or variant == "host":
            continue
        host, cost = found[f"cost.{setup}.host"], found[name]
        shares = [amortised(host["flops"], cost["flops"], k) for k in INTERVALS]
        cells = (*shares, cost["bytes"] / host["bytes"])
        title = f"{setup.replace('_', ' ')}, {variant}"
        rows.append((title, *(f"{cell:.3f}" for cell in cells)))
    defaults = results["defaults"]
    note = (
        f"One optimiser step of {results['settings']['batch']} rows (DPO: half as many pairs) with "
        "the penalty over one without; generation is part of GRPO's steps. The default is every "
        f"{defaults['interval']}-th step with a share {defaults['fraction']:g} of the rows; "
        "'plain' is without checkpointing. Memory: greatest number of bytes of tensors alive, "
        "parameters included."
    )
    columns = ("trainer", *(f"FLOPs,\nevery {k}" for k in INTERVALS), "peak\nmemory")
    return Table("Cost as a multiple of the host's", columns, tuple(rows), (note,))


def _accuracy_table(results: Record) -> Table:
    found = results["measured"]["differences"]
    rows = [
        (
            f"step {step}",
            f"{np.median([r['error'] for r in records]):.1e}",
            f"{min(r['cosine'] for r in records):.5f}",
        )
        for step, records in found["steps"].items()
    ]
    rows.append(
        ("clean branch detached, step 0.0001", "", ", ".join(f"{c:.2f}" for c in found["detached"]))
    )
    for step in found["bfloat16"][0]:
        errors = [record[step] for record in found["bfloat16"]]
        rows.append((f"bfloat16 weights, step {step}", f"{np.median(errors):.1e}", ""))
    note = (
        f"{len(found['detached'])} prompts with answers, float32: the value's median relative "
        "error and the least cosine of its gradient with that of the exact penalty (forward mode)."
    )
    return Table("Accuracy", ("finite difference", "error", "cosine"), tuple(rows), (note,))


def _sensitivity_table(results: Record) -> Table:
    columns: dict[str, Column] = {
        "layer": lambda row: row[0],
        "median": lambda row: f"{np.median(row[1]):.0f}",
        "quartiles": lambda row: "{:.0f} to {:.0f}".format(*np.percentile(row[1], [25, 75])),
    }
    note = "R along the loss gradient over the mean R along random directions, per prompt."
    return Table.of(
        "Aligned over random", columns, results["measured"]["sensitivity"].items(), note
    )


def _sketch_table(results: Record) -> Table:
    found = results["measured"]["sketches"]
    ranks, cosines = found["rank_correlation"], found["gradient_cosine"]
    columns: dict[str, Column] = {
        "metric": lambda m: "whole hidden state" if m == "None" else f"{m} projections",
        "rank correlation\nover prompts": lambda m: f"{ranks[m]:.2f}",
        "mean cosine\nof gradients": lambda m: f"{np.mean(cosines[m]):.2f}",
        "least": lambda m: f"{min(cosines[m]):.2f}",
    }
    return Table.of("Sketches", columns, ranks, "metric='hidden' against the exact Fisher penalty.")


def _run_table(results: Record) -> Table:
    def change(measure: str) -> Column:
        return lambda row: "{:.3g} → {:.3g}".format(*(row[when][measure] for when in _WHEN))

    rows = [
        dict(zip(("host", "method", "seed"), name.split(".")[1:], strict=True)) | record
        for name, record in results["measured"].items()
        if name.startswith("run.")
    ]
    columns: dict[str, Column] = {
        "trainer": lambda row: row["host"].upper(),
        "method": lambda row: "host" if row["method"] == "host" else "AAJR",
        "seed": lambda row: row["seed"],
        "perplexity,\nanswers": change("answers"),
        "perplexity,\nprose": change("prose"),
        "sensitivity R": change("sensitivity"),
    }
    settings = results["settings"]
    note = (
        f"LoRA, λ = {settings['weight']}, {settings['steps']} steps, every {INTERVAL}-th of them "
        "penalised, before → after; "
        f"{settings['rows']} unseen prompts, and prose. {len(settings['seeds'])} seed: a check "
        "that training works, not a comparison."
    )
    return Table.of("Short trainings", columns, rows, note)


REPORT = StudyReport("SmolLM2-135M", tables)
