"""Raw data of a benchmark, with the facts that decide it."""

import json
from pathlib import Path

from aajr.report.provenance import PACKAGES, machine_facts, version_facts

OTHERS = (
    *("jax", "jaxlib", "optax", "foolbox", "torchattacks"),
    *("stable-baselines3", "gymnasium", "mujoco", "envpool"),
)


def record(name: str, figures: dict, command: str = "make bench") -> None:
    """Write figures beside machine and versions under results/benchmarks."""
    path = Path("results/benchmarks") / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    versions = version_facts((*PACKAGES, *OTHERS))
    facts = {"command": command, "machine": machine_facts(), "versions": versions}
    path.write_text(json.dumps({**facts, **figures}, indent=1) + "\n")
    print(json.dumps(figures, indent=1))
