"""``aajr crossplay``: every team of hiders against every team of seekers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table

if TYPE_CHECKING:
    from aajr.statistics.intervals import Interval
    from aajr.studies.crossplay import CrossPlay


def crossplay(
    checkpoints: Annotated[tuple[Path, ...], tyro.conf.Positional],
    opponents: tuple[Path, ...] = (),
    episodes: int = 256,
    seed: int = 0,
    output: Path = Path("results/crossplay"),
) -> None:
    """Play all against all, so that no method is judged by the opponents it trained with alone.

    For example:

    $ aajr crossplay runs/aajr runs/plain --opponents runs/league

    Args:
        checkpoints: hiders; files, or directories of them.
        opponents: seekers, likewise; by default those of the checkpoints.
        episodes: of each match.
        seed: of the starts, the same for all matches.
        output: directory of crossplay.json and of the heat-map.
    """
    from aajr.hide_and_seek.training.trained_teams import trained_teams
    from aajr.studies.crossplay import cross_play, crossplay_of, write_crossplay

    hiders = trained_teams(checkpoints, "hider")
    seekers = trained_teams(opponents or checkpoints, "seeker")
    console = Console()
    matches = track(
        cross_play(hiders, seekers, episodes, seed),
        description="playing",
        total=len(hiders) * len(seekers),
        console=console,
    )
    pairings = {(row, column): pairing for row, column, pairing in matches}
    league = crossplay_of(hiders, seekers, pairings, episodes, seed)
    paths = write_crossplay(league, output)
    console.print(_matrix(league))
    console.print(_summary("Hiders against the league", league.against_league()))
    console.print(_summary("Seekers against the league", league.seekers_against_league()))
    console.print(f"Results: {', '.join(str(path) for path in paths)}", soft_wrap=True)


def _matrix(league: CrossPlay) -> Table:
    table = Table(
        title="Hiders' success, rows against columns",
        caption="a star: both come from one training run, which the means leave out",
    )
    table.add_column("hiders, seed")
    for side in league.seekers:
        table.add_column(f"{side.method}, {side.seed}", justify="right")
    foreign = league.foreign()
    for row, (side, pairings) in enumerate(zip(league.hiders, league.pairings, strict=True)):
        cells = [
            f"{pairing.success:.1%}{'' if foreign[row, column] else '*'}"
            for column, pairing in enumerate(pairings)
        ]
        table.add_row(f"{side.method}, {side.seed}", *cells)
    return table


def _summary(title: str, methods: Mapping[str, Interval]) -> Table:
    table = Table(title=f"{title}: interquartile mean over seeds")
    for name in ("method", "seeds", "success", "95 % interval"):
        table.add_column(name, justify="left" if name == "method" else "right")
    for method, one in methods.items():
        known = one.low is not None and one.high is not None
        interval = f"{one.low:.1%} to {one.high:.1%}" if known else ""
        table.add_row(method, str(one.seeds), f"{one.estimate:.1%}", interval)
    return table
