"""The machine and the package versions, on which a figure depends in addition to its command."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

PACKAGES = ("aajr", "torch", "torchrl", "tensordict", "vmas", "scipy", "numpy")
"""Packages whose versions may change a figure."""


def machine_facts() -> dict[str, Any]:
    """Processor, memory, Python and system of this machine, without host or user name."""
    facts: dict[str, Any] = {
        "processor": _processor(),
        "logical_cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "memory_gib": _memory_gib(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    return {name: value for name, value in facts.items() if value is not None}


def version_facts(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Version of each installed package; missing packages are left out."""
    found = {}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None
