"""Tables of the measurements on SmolLM2, from their raw results alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from aajr.report.study import StudyReport
from aajr.report.tables import Table
from aajr.studies.language_cost._cost import amortised
from aajr.studies.language_cost._price import price_table
from aajr.studies.language_cost._runs import INTERVAL

Record = dict[str, Any]
INTERVALS = (1, 4, 8, 12)


def tables(results: Record) -> list[Table]:
    """Price, costs, accuracy, sensitivity, sketches and short trainings: what was measured."""
    found = results["measured"]
    kinds = {name.partition(".")[0] for name in found}
    made: dict[str, Callable[[], Table]] = {
        "time": lambda: price_table(results),
        "cost": lambda: _cost_table(results),
        "differences": lambda: _accuracy_table(found["differences"]),
        "sensitivity": lambda: _sensitivity_table(found["sensitivity"]),
        "sketches": lambda: _sketch_table(found["sketches"]),
        "run": lambda: _run_table(results),
    }
    return [table() for kind, table in made.items() if kind in kinds]


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


def _accuracy_table(found: Record) -> Table:
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


def _sensitivity_table(found: Record) -> Table:
    rows = []
    for layer, ratios in found.items():
        low, middle, high = np.percentile(ratios, [25, 50, 75])
        rows.append((layer, f"{middle:.0f}", f"{low:.0f} to {high:.0f}"))
    note = "R along the loss gradient over the mean R along random directions, per prompt."
    return Table("Aligned over random", ("layer", "median", "quartiles"), tuple(rows), (note,))


def _sketch_table(found: Record) -> Table:
    rows = []
    for size, rank in found["rank_correlation"].items():
        cosines = found["gradient_cosine"][size]
        name = "whole hidden state" if size == "None" else f"{size} projections"
        rows.append((name, f"{rank:.2f}", f"{np.mean(cosines):.2f}", f"{min(cosines):.2f}"))
    note = "metric='hidden' against the exact Fisher penalty."
    columns = ("metric", "rank correlation\nover prompts", "mean cosine\nof gradients", "least")
    return Table("Sketches", columns, tuple(rows), (note,))


def _run_table(results: Record) -> Table:
    rows = []
    for name, record in results["measured"].items():
        if not name.startswith("run."):
            continue
        _, host, method, seed = name.split(".")
        cells = [
            f"{record['before'][m]:.3g} → {record['after'][m]:.3g}"
            for m in ("answers", "prose", "sensitivity")
        ]
        rows.append((host.upper(), "host" if method == "host" else "AAJR", seed, *cells))
    columns = (
        "trainer",
        "method",
        "seed",
        "perplexity,\nanswers",
        "perplexity,\nprose",
        "sensitivity R",
    )
    settings = results["settings"]
    note = (
        f"LoRA, λ = {settings['weight']}, {settings['steps']} steps, every {INTERVAL}-th of them "
        "penalised, before → after; "
        f"{settings['rows']} unseen prompts, and prose. {len(settings['seeds'])} seed: a check "
        "that training works, not a comparison."
    )
    return Table("Short trainings", columns, tuple(rows), (note,))


REPORT = StudyReport("SmolLM2-135M", tables)
