"""Peak memory of attacks on a million rows, with and without a bound on the rows at once."""

import json
import subprocess
import sys

import pytest

from benchmarks.recording import record

ROWS = 1_000_000
ATTACKS = {
    "AutoPGD, last step": "AutoPGD(ball, objective, steps=20, record='last')",
    "AutoPGD, every point": "AutoPGD(ball, objective, steps=20)",
    "FAB": "FAB(ball, steps=20)",
}
PROGRAM = """
import json, resource, sys, time
import torch
from aajr import AutoPGD, Ball, FAB, Margin
from aajr.adversaries import rows_at_once

def gigabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20

rows, bound = int(sys.argv[1]), int(sys.argv[2])
g = torch.Generator().manual_seed(0)
torch.manual_seed(0)
sizes = ((8, 64), (64, 64), (64, 3))
layers = [layer for size in sizes for layer in (torch.nn.Linear(*size), torch.nn.Tanh())]
policy, x = torch.nn.Sequential(*layers[:-1]), torch.randn(rows, 8, generator=g)
ball, objective, data = Ball("linf", 0.1), Margin(), {"label": policy(x[:1]).argmax(1).expand(rows)}
before, began = gigabytes(), time.process_time()
with rows_at_once(bound):
    ATTACK(policy, x, g, data)
print(json.dumps({"gigabytes": gigabytes() - before, "cpu_seconds": time.process_time() - began}))
"""


def rise(attack: str, bound: int) -> dict[str, float]:
    """Rise of the peak memory, and CPU seconds, in a process of its own."""
    program = PROGRAM.replace("ATTACK", attack)
    words = [sys.executable, "-c", program, str(ROWS), str(bound)]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


@pytest.mark.timeout(1800)
def test_memory(benchmark):
    found: dict[str, dict[str, dict[str, float]]] = {}

    def once() -> None:
        for name, attack in ATTACKS.items():
            found[name] = {"bounded": rise(attack, 65_536), "unbounded": rise(attack, ROWS)}

    benchmark.pedantic(once, rounds=1, warmup_rounds=0)
    record("memory", {"rows": ROWS, "attacks": found})
    for name, rises in found.items():
        assert rises["bounded"]["gigabytes"] < rises["unbounded"]["gigabytes"], name
