"""CPU time until something shows: imports and helps, in turn, each in a process of its own."""

import resource
import statistics
import subprocess
import sys

from aajr.cli._commands import COMMANDS
from benchmarks.recording import record

ROUNDS = 5
PROGRAMS = {
    "python": "",
    "import torch": "import torch",
    "import torch, aajr": "import torch, aajr",
    "aajr.Ball": "import torch, aajr; aajr.Ball",
    "every name": "import torch; from aajr import *",
    "aajr --help": "--help",
    "aajr --version": "--version",
    **{f"aajr {name} --help": f"{name} --help" for name in COMMANDS},
}
LIMITS = {"aajr --help": 0.3} | {f"aajr {name} --help": 1.5 for name in COMMANDS}
MAIN = "import sys; from aajr.cli import main; sys.argv = ['aajr', *sys.argv[1:]]; main()"


def cpu_seconds(name: str) -> float:
    """User and system time of one program, its start included."""
    words = ["-c", MAIN, *PROGRAMS[name].split()] if name.startswith("aajr ") else []
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *(words or ["-c", PROGRAMS[name]])], check=True, stdout=subprocess.DEVNULL
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_startup(benchmark):
    seconds: dict[str, list[float]] = {name: [] for name in PROGRAMS}

    def once() -> None:
        for name, found in seconds.items():
            found.append(cpu_seconds(name))

    benchmark.pedantic(once, rounds=ROUNDS, warmup_rounds=0)
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    for name, value in medians.items():
        print(f"{name:<28} {value:6.3f} s")
    beyond = {name: medians[name] - medians["import torch"] for name in ("aajr.Ball", "every name")}
    record("startup", {"cpu_seconds": medians, "beyond_torch": beyond})
    for name, limit in LIMITS.items():
        assert medians[name] <= limit, f"{name} takes {medians[name]:.2f} s, more than {limit} s"
    assert beyond["aajr.Ball"] <= 0.1
