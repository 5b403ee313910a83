"""Brackets the weights of `aajr study mujoco --preset hopper` on a validation seed.

    python results/pilots/hopper_weights.py runs/hopper_weights aajr=0.001 aajr=0.01 sa=0.1

Agents train for 501,760 steps. A line of JSON for every method and value: mean returns of 8
episodes, and the Jacobian at the agent's own states.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

from aajr.studies.mujoco import PROTOCOLS, _study
from aajr.studies.mujoco._attacks import played, suite_of, victim_of
from aajr.studies.mujoco._protocol import EVERY

SEED, EPISODES, ATTACKS = 100, 8, ("mad", "critic", "push_up", "push_down")
HOPPER = PROTOCOLS["hopper"]
SHORT = dataclasses.replace(HOPPER, config=dataclasses.replace(HOPPER.config, steps=501_760))


def line(directory: Path, name: str, value: float) -> dict:
    """What one method reaches with one value."""
    (method,) = (one for one in EVERY if one.name == name)
    place = directory / "agents" / f"{name}_{value:g}"
    _study.train_agent(SHORT, method, value, SEED, place)
    victim = victim_of(place, SHORT, EPISODES, SEED)
    ball, found = victim.ball(SHORT.epsilon), {"none": played(victim)}
    for spec in suite_of(SHORT).attacks:
        if spec.name in ATTACKS:
            found[spec.name] = played(victim, spec.name, spec.build(ball, victim))
    returns = {attack: round(float(one.record.returns.mean())) for attack, one in found.items()}
    known = _study._sensitivity(SHORT, victim)
    sensitivity = {name: round(known[name], 2) for name in ("aligned", "frobenius", "stable_rank")}
    return {"method": name, "value": value, "returns": returns, "sensitivity": sensitivity}


for argument in sys.argv[2:]:
    method, value = argument.split("=")
    print(json.dumps(line(Path(sys.argv[1]), method, float(value))), flush=True)
