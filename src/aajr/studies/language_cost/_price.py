"""The table of time and memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from aajr.report.tables import Table
from aajr.studies.language_cost._cost import amortised

Record = dict[str, Any]


def price_table(results: Record) -> Table:
    """CPU time and peak memory of a penalised step beside those of the host's."""
    found, interval = results["measured"], results["defaults"]["interval"]
    names = [n.split(".")[1] for n in found if n.startswith("memory.") and n.endswith(".host")]
    rows = tuple(_row(name, found, interval) for name in names)
    settings, defaults = results["settings"], results["defaults"]
    note = (
        f"{settings['batch']} rows (DPO: half as many pairs; GRPO: groups of at most "
        f"8, generation counted), a share {defaults['fraction']:g} of them penalised. Time: CPU "
        "time of optimiser steps of one training, penalised and not by turns; medians, and the "
        f"range of the ratio over {settings['pairs']} pairs of neighbours. Memory: greatest number "
        "of bytes of tensors alive in a step, parameters included. 'plain': no checkpointing."
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


def _row(name: str, found: Record, interval: int) -> tuple[str, ...]:
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
