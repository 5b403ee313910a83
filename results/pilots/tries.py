"""Variants of the comparison in the game of reports, on validation seeds.

    python results/pilots/tries.py OUTPUT.jsonl PENALTY[:WEIGHT[:NAME=VALUE,...]] ...

trains a plain policy (200 iterations), goes on with the method (its=150 iterations) and attacks it
at the ε of training with the four attacks of the preset standard and 256 episodes. Options: seed, k
(liars), eps, its, hidden (units of each layer), ramp (share of the iterations over which ε grows),
gamma (dual ascent holds the 90 % quantile of ‖Jv‖ at gamma).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from aajr._seeds import derive
from aajr.arena.attacks.victim import Victim
from aajr.arena.training.checkpoints import load_checkpoint
from aajr.hide_and_seek.game import RADIO_GAME
from aajr.hide_and_seek.game.chasers import Chasers
from aajr.hide_and_seek.game.matches import Match
from aajr.hide_and_seek.training.config import TrainConfig
from aajr.hide_and_seek.training.trainer import Trainer, load_actor
from aajr.studies.comparison.attacks import outcomes_of, silenced_success, suite_of
from aajr.studies.comparison.grids import Method
from aajr.studies.comparison.presets import PRESETS, Preset

WORK = Path("runs/tries")


def plain_policy(preset: Preset, seed: int) -> Path:
    """The checkpoint of a plain policy, which meets no liars; it is trained once."""
    place = WORK / f"plain_{seed}_{preset.ppo.hidden[0]}"
    config = TrainConfig(
        iterations=preset.pretrain_iterations,
        seed=derive(seed, "pretrained"),
        env=RADIO_GAME,
        ppo=preset.ppo,
    )
    for _ in Trainer(config, [Chasers(RADIO_GAME)], place).run():
        pass
    return place / "checkpoint.safetensors"


def preset_of(options: dict[str, str]) -> Preset:
    """The preset standard, with the options."""
    preset, hidden = PRESETS["standard"], int(options.get("hidden", 64))
    epsilon, ramp = float(options.get("eps", 1)), float(options.get("ramp", 0.6))
    adversary = replace(preset.adversary, epsilon=epsilon, ramp=ramp)
    radio = replace(preset.env.radio, liars=int(options.get("k", 2)))
    return replace(
        preset,
        pretrain_iterations=200,
        iterations=int(options.get("its", 150)),
        adversary=adversary,
        env=replace(preset.env, radio=radio),
        ppo=replace(preset.ppo, hidden=(hidden, hidden)),
    )


def tried(penalty: str, weight: str, options: dict[str, str]) -> dict[str, object]:
    """Train and attack one variant; ``plain`` attacks the plain policy."""
    preset, seed = preset_of(options), int(options.get("seed", 100))
    checkpoint, begin, last = plain_policy(preset, seed), time.process_time(), {}
    if penalty != "plain":
        checkpoint, last = trained(checkpoint, preset, penalty, weight, options)
    seconds = time.process_time() - begin
    actor = load_actor(checkpoint, "hider")
    match = Match(preset.env, [Chasers(preset.env)], 256, derive(seed, "evaluation"))
    victim = Victim(actor, match, preset.threat, preset.effort)
    outcomes = outcomes_of(victim, suite_of(preset), [preset.adversary.epsilon])
    return {
        "penalty": penalty,
        "weight": weight,
        "options": options,
        "train_cpu_seconds": seconds,
        "silenced": silenced_success(victim),
        "success": {outcome.score.attack: outcome.score.success for outcome in outcomes},
        "mean_return": {outcome.score.attack: outcome.score.mean_return for outcome in outcomes},
        "weight_at_the_end": last.get("hider/weight"),
    }


def trained(
    start: Path, preset: Preset, penalty: str, weight: str, options: dict[str, str]
) -> tuple[Path, dict[str, float]]:
    """Go on from a checkpoint; the new checkpoint and the last metrics."""
    seed = int(options.get("seed", 100))
    tensors, _ = load_checkpoint(start)
    kept = ("hider.actor.", "hider.critic.")
    initial = {k.removeprefix("hider."): v for k, v in tensors.items() if k.startswith(kept)}
    method = Method("tried", penalty, within="moved" if penalty == "random_direction" else None)
    config = preset.train_config(method, float(weight) if weight else None, seed)
    if "gamma" in options:
        dual = replace(config.penalty, constraint=float(options["gamma"]))
        config = replace(config, penalty=dual)
    words = "_".join([penalty, weight, *(f"{k}{v}" for k, v in options.items())])
    trainer = Trainer(config, [Chasers(preset.env)], WORK / words, initial={"hider": initial})
    (*_, last) = trainer.run()
    return WORK / words / "checkpoint.safetensors", last


def main(run: Callable[[str, str, dict[str, str]], dict[str, object]]) -> None:
    """Run every variant of the command line and append its row to the output."""
    torch.set_num_threads(1)
    for word in sys.argv[2:]:
        name, value, given, *_ = [*word.split(":"), "", ""]
        row = run(name, value, dict(pair.split("=") for pair in given.split(",") if pair))
        with open(sys.argv[1], "a") as file:
            file.write(json.dumps(row) + "\n")
        print(word, row["success"], flush=True)


if __name__ == "__main__":
    main(tried)
