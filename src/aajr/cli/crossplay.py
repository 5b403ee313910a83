"""``aajr crossplay``: every team of hiders against every team of seekers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console
from rich.progress import track

from aajr.report.tables import Table

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
    """Play every team of hiders against every team of seekers and compare the methods.

    A method's success then does not depend on the opponents of its own training alone.

    For example:

    $ aajr crossplay runs/aajr runs/plain --opponents runs/league

    Args:
        checkpoints: checkpoints of the hiders: files, or directories with such files.
        opponents: the same for the seekers; by default the hiders' checkpoints.
        episodes: number of episodes of each match.
        seed: seed of the initial states, the same for all matches.
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
    for table in _tables(league):
        console.print(table.rich(), *table.notes)
    console.print(f"Results: {', '.join(str(path) for path in paths)}", soft_wrap=True)


def _tables(league: CrossPlay) -> Iterator[Table]:
    columns = [f"{side.method}, {side.seed}" for side in league.seekers]
    rows = []
    for side, pairings, foreign in zip(
        league.hiders, league.pairings, league.foreign(), strict=True
    ):
        cells = (
            f"{pairing.success:.1%}{'' if one else '*'}"
            for pairing, one in zip(pairings, foreign, strict=True)
        )
        rows.append((f"{side.method}, {side.seed}", *cells))
    note = "a star: both come from one training run, which the means leave out"
    title = "Hiders' success, rows against columns"
    yield Table(title, ("hiders, seed", *columns), tuple(rows), (note,))
    yield _summary("Hiders against the league", league.against_league())
    yield _summary("Seekers against the league", league.seekers_against_league())


def _summary(title: str, methods: Mapping[str, Interval]) -> Table:
    rows = []
    for method, one in methods.items():
        known = one.low is not None and one.high is not None
        interval = f"{one.low:.1%} to {one.high:.1%}" if known else ""
        rows.append((method, str(one.seeds), f"{one.estimate:.1%}", interval))
    columns = ("method", "seeds", "success", "95 % interval")
    return Table(f"{title}: interquartile mean over seeds", columns, tuple(rows))
