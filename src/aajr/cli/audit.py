"""``aajr audit``: proven bounds and measured attacks of a trained policy."""

from __future__ import annotations

import json
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from aajr._settings import check_count
from aajr.certification import AuditBudget
from aajr.hide_and_seek.game import HideAndSeekConfig, Team

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from aajr.certification import Audit

_UNIT = "observation units (the arena's half width is 1)"


def audit(
    checkpoint: tyro.conf.Positional[Path],
    opponents: tuple[Path, ...] = (),
    team: Team = "hider",
    epsilon: float = 0.05,
    norm: Literal["linf", "l2"] = "linf",
    threat: Literal["others", "full"] = "others",
    states: int = 512,
    gamma: float | None = None,
    seed: int = 0,
    budget: AuditBudget = AuditBudget(),  # noqa: B008 - frozen
    output: Path = Path("audit"),
) -> None:
    """Bound and attack a hide-and-seek policy on states of its episodes; write JSON and a page.

    For example:

    $ aajr audit runs/aajr/checkpoint.safetensors

    $ aajr audit runs/aajr/checkpoint.safetensors --opponents runs/league/checkpoint.safetensors
    --epsilon 0.1 --threat full --output runs/aajr/audit

    Args:
        checkpoint: policy to audit.
        opponents: checkpoints of the other team; without any, the other team moves at random.
        team: team whose policy is audited.
        epsilon: radius of the perturbations, in observation units.
        norm: norm of the ball.
        threat: features that the adversary may change: those about other agents, or all.
        states: number of states, drawn from episodes of the policy's most likely actions.
        gamma: γ; the audit counts the states with ‖Jv‖ ≤ γ and with ‖J‖ ≤ γ.
        seed: seed of the episodes, the choice of states and the attacks.
        budget: effort of the attacks.
        output: directory of audit.json and audit.html.
    """
    from rich.console import Console
    from rich.markup import escape

    from aajr.arena.training.checkpoints import load_checkpoint
    from aajr.certification import audit as audit_policy
    from aajr.certification import write_audit
    from aajr.cli._playing import played_states
    from aajr.geometry import Ball
    from aajr.hide_and_seek.game.config import game_of
    from aajr.hide_and_seek.game.threats import attackable_features
    from aajr.hide_and_seek.training.trainer import load_actor

    check_count("states", states)
    console = Console()
    actor = load_actor(checkpoint, team)
    _, meta = load_checkpoint(checkpoint)
    game = game_of(meta["config"]["env"])
    ball = Ball(norm, epsilon, mask=attackable_features(game, team, threat))
    with _stages(console) as begin:
        x = played_states(game, actor, team, opponents, states, seed)
        found = audit_policy(
            actor,
            x,
            ball,
            heads=actor.heads,
            gamma=gamma,
            budget=budget,
            seed=seed,
            epsilon_unit=_UNIT,
            description=_description(checkpoint, opponents, team, game) | {"threat_model": threat},
            progress=begin,
        )
    console.print(_table(found))
    for finding in found.findings:
        console.print(f"[bold]warning:[/bold] {escape(finding.text)}")
    console.print(f"page: {write_audit(found, output)}")


@contextmanager
def _stages(console: Console) -> Iterator[Callable[[str], None]]:
    """Show a progress bar over the stages; yield the function that begins the next stage."""
    from aajr.adversaries import MaskedGradientWarning
    from aajr.certification import STAGES, EpsilonUnitWarning
    from aajr.cli._bar import progress_bar

    with progress_bar(console) as bar, warnings.catch_warnings():
        for kind in (EpsilonUnitWarning, MaskedGradientWarning):
            warnings.simplefilter("ignore", kind)  # printed afterwards, as findings
        task = bar.add_task("playing episodes", total=1 + len(STAGES))
        yield lambda stage: bar.update(task, advance=1, description=stage)
        bar.update(task, advance=1, description="done")


def _description(
    checkpoint: Path, opponents: Sequence[Path], team: Team, game: HideAndSeekConfig
) -> dict[str, str]:
    rivals = ", ".join(map(str, opponents)) or "random actions"
    return {
        "checkpoint": str(checkpoint),
        "environment": "hide-and-seek " + json.dumps(vars(game)),
        "command": shlex.join(["aajr", *sys.argv[1:]]),
        "states_from": f"{team}s playing their most likely actions against {rivals}",
    }


def _table(audit: Audit) -> RenderableType:
    from aajr.certification import comparison_rows
    from aajr.report.tables import Table

    title = f"{audit.states} states, ε = {audit.threat['epsilon']:g}"
    if audit.not_certified:
        title += f"\nnothing is certified: {audit.not_certified}"
    return Table(title, ("", "measured", "certified"), tuple(comparison_rows(audit))).rich()
