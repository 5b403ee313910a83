"""``aajr evaluate``: attack trained policies."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from aajr.envs.hide_and_seek import HideAndSeekConfig
from aajr.evaluation.attacks import AttackBudget, prepare_suite
from aajr.evaluation.episodes import Match
from aajr.evaluation.records import Score
from aajr.training.checkpoints import load_checkpoint
from aajr.training.threats import Threat
from aajr.training.trainer import load_actor


def evaluate(
    checkpoints: tuple[Path, ...],
    opponents: tuple[Path, ...],
    epsilon: tuple[float, ...] = (0.05, 0.1, 0.15, 0.2, 0.3),
    threat: Threat = "others",
    episodes: int = 512,
    seed: int = 0,
    budget: AttackBudget = AttackBudget(),  # noqa: B008 - frozen
    output: Path | None = None,
) -> None:
    """Attack hiders and print their success, per attack and ε, with the worst over the attacks.

    For example:

    $ aajr evaluate --checkpoints runs/aajr/checkpoint.safetensors --opponents
    runs/league/checkpoint.safetensors --epsilon 0.1 0.2 --threat others

    Args:
        checkpoints: policies to attack.
        opponents: checkpoints whose seekers they play against.
        epsilon: L∞ radii, in observation units (in logits for the threat actions).
        threat: what the adversary may touch.
        episodes: per attack and ε.
        seed: of the starts; the same for all policies.
        budget: how hard the attacks try.
        output: JSON file for the scores.
    """
    seekers = [load_actor(path, "seeker") for path in opponents]
    console = Console()
    found: dict[str, list[dict[str, Any]]] = {}
    for path in track(checkpoints, description="attacking", console=console):
        _, meta = load_checkpoint(path)
        game = _game(meta["config"]["env"])
        suite = prepare_suite(
            load_actor(path, "hider"), Match(game, seekers, episodes, seed), threat, budget
        )
        scores = suite.scores(epsilon)
        found[str(path)] = [dataclasses.asdict(score) for score in scores]
        console.print(_table(str(path), scores, threat))
    if output is not None:
        output.write_text(json.dumps(found, indent=1))


def _game(fields: dict[str, Any]) -> HideAndSeekConfig:
    walls = tuple(tuple(wall) for wall in fields["walls"])
    return HideAndSeekConfig(
        **{**fields, "walls": walls, "box_half_size": tuple(fields["box_half_size"])}
    )


def _table(title: str, scores: list[Score], threat: str) -> Table:
    table = Table(title=f"{title}: hiders' success under attack (threat: {threat})")
    table.add_column("ε")
    attacks = list(dict.fromkeys(score.attack for score in scores if score.attack != "none"))
    for name in (*attacks, "worst"):
        table.add_column(name, justify="right")
    table.add_row("0", *[""] * len(attacks), f"{scores[0].success:.1%}")
    for epsilon in sorted({score.epsilon for score in scores if score.epsilon}):
        row = {s.attack: s.success for s in scores if s.epsilon == epsilon}
        cells = [f"{row[name]:.1%}" for name in attacks]
        table.add_row(f"{epsilon:g}", *cells, f"{min(row.values()):.1%}")
    return table
