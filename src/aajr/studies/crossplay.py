"""Cross-play: every team of hiders plays every team of seekers of a league.

A policy that is evaluated only against its training opponents may have overfitted to them. Here
every team meets every other. A pair from the same training run is played and shown, but left out of
the means.

Source: cross-play as in Hu et al., "Other-play" for zero-shot coordination, 2020,
https://arxiv.org/abs/2003.02979.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from pydantic.dataclasses import dataclass

from aajr.arena.environments.episodes import AttackedTeam, contest
from aajr.arena.records.fields import CLOSED, Count, Facts, Real, Share
from aajr.hide_and_seek.game.coordination import role_rates
from aajr.hide_and_seek.game.matches import Match
from aajr.hide_and_seek.training.trained_teams import TrainedTeam, common_game
from aajr.report.figures import Plot, blank_figure, heat_map, save
from aajr.report.files import write_json
from aajr.report.provenance import machine_facts, version_facts
from aajr.report.style import STYLE
from aajr.statistics.intervals import Interval, bootstrap


@dataclass(frozen=True, config=CLOSED)
class Side:
    """One team of the league.

    Attributes:
        checkpoint: path of its checkpoint.
        method: name of its training method.
        seed: seed of its training.
    """

    checkpoint: str
    method: str
    seed: int


@dataclass(frozen=True, config=CLOSED)
class Pairing:
    """The outcome of one match.

    Attributes:
        success: share of the episodes that the hiders won; the seekers won the others.
        mean_return: mean return of the hiders.
        roles: ``seen_rate`` and ``hidden_at_end`` of each hider, ``sighting_rate`` of each seeker.
    """

    success: Share
    mean_return: Real
    roles: Mapping[str, Sequence[float]]


@dataclass(frozen=True, kw_only=True, config=CLOSED)
class CrossPlay:
    """The results of a league's matches.

    Attributes:
        hiders: teams of hiders, the rows.
        seekers: teams of seekers, the columns.
        pairings: outcomes, ``[hiders][seekers]``.
        episodes: number of episodes of each match.
        seed: seed of the initial states, the same for all matches.
        machine: facts of the machine.
        versions: versions of the packages.
        schema_version: version of the file's layout.

    Raises:
        ValueError: the pairings do not fit the teams.
    """

    hiders: tuple[Side, ...]
    seekers: tuple[Side, ...]
    pairings: tuple[tuple[Pairing, ...], ...]
    episodes: Count
    seed: int
    machine: Facts = field(default_factory=dict)
    versions: Facts = field(default_factory=dict)
    schema_version: Count = 1

    def __post_init__(self) -> None:
        shape = {len(row) for row in self.pairings}
        if len(self.pairings) != len(self.hiders) or shape != {len(self.seekers)}:
            raise ValueError(
                f"pairings must be {len(self.hiders)} rows of {len(self.seekers)}, one for each "
                "team of hiders and of seekers"
            )

    def success(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Success of the hiders, ``[hiders, seekers]``."""
        return np.array([[pairing.success for pairing in row] for row in self.pairings])

    def foreign(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Whether hiders and seekers come from different training runs, ``[hiders, seekers]``."""
        return np.array([[h.checkpoint != s.checkpoint for s in self.seekers] for h in self.hiders])

    def against_league(self) -> dict[str, Interval]:
        """Success of each method of hiders against all foreign seekers.

        It is the interquartile mean over the method's seeds, with its bootstrap interval. Each seed
        enters with its mean over the seekers. Teams without foreign opponents are left out.
        """
        return _over_seeds(self.hiders, self.success(), self.foreign())

    def seekers_against_league(self) -> dict[str, Interval]:
        """Success of each method of seekers against all foreign hiders: the share of games won."""
        return _over_seeds(self.seekers, 1 - self.success().T, self.foreign().T)

    def cells(self) -> dict[tuple[str, str], Interval]:
        """Success for each method of hiders and method of seekers, over the hiders' seeds."""
        found: dict[tuple[str, str], Interval] = {}
        success, foreign = self.success(), self.foreign()
        for method in dict.fromkeys(side.method for side in self.seekers):
            columns = [i for i, side in enumerate(self.seekers) if side.method == method]
            part = _over_seeds(self.hiders, success[:, columns], foreign[:, columns])
            found |= {(name, method): interval for name, interval in part.items()}
        return found


def cross_play(
    hiders: Sequence[TrainedTeam],
    seekers: Sequence[TrainedTeam],
    episodes: int = 256,
    seed: int = 0,
) -> Iterator[tuple[int, int, Pairing]]:
    """Play every match without an attack; yield its row, its column and its outcome.

    Args:
        hiders: teams of hiders.
        seekers: teams of seekers.
        episodes: number of episodes of each match.
        seed: seed of the initial states.

    Raises:
        ValueError: there are no teams, or they were trained in different games.
    """
    if not hiders or not seekers:
        raise ValueError("hiders or seekers is empty; give at least one team of each")
    game = common_game([*hiders, *seekers])
    opponents = [one.actor("seeker") for one in seekers]
    for row, team in enumerate(hiders):
        actor = team.actor("hider")
        for column, opponent in enumerate(opponents):
            match = Match(game, [opponent], episodes, seed)
            outcome = contest(match, AttackedTeam(actor, None, torch.Generator()), "none", 0.0)
            roles = {
                name: rates
                for name, rates in role_rates(outcome.record, game).items()
                if isinstance(rates, list)
            }
            score = outcome.score
            yield row, column, Pairing(score.success, score.mean_return, roles)


def crossplay_of(
    hiders: Sequence[TrainedTeam],
    seekers: Sequence[TrainedTeam],
    pairings: Mapping[tuple[int, int], Pairing],
    episodes: int,
    seed: int,
) -> CrossPlay:
    """Build the record of the matches of :func:`cross_play`, given by row and column."""
    sides = [
        tuple(Side(str(one.path), one.method, one.seed) for one in team)
        for team in (hiders, seekers)
    ]
    columns = range(len(seekers))
    rows = tuple(tuple(pairings[row, column] for column in columns) for row in range(len(hiders)))
    return CrossPlay(
        hiders=sides[0],
        seekers=sides[1],
        pairings=rows,
        episodes=episodes,
        seed=seed,
        machine=machine_facts(),
        versions=version_facts(),
    )


def write_crossplay(league: CrossPlay, directory: Path) -> list[Path]:
    """Write ``crossplay.json`` and the heat-map; return the paths."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "crossplay.json"
    derived = {
        "against_league": {k: dataclasses.asdict(v) for k, v in league.against_league().items()},
        "seekers_against_league": {
            k: dataclasses.asdict(v) for k, v in league.seekers_against_league().items()
        },
        "cells": [
            {"hiders": pair[0], "seekers": pair[1], **dataclasses.asdict(interval)}
            for pair, interval in league.cells().items()
        ],
    }
    write_json(path, dataclasses.asdict(league) | derived)
    return [path, *save([crossplay_plot(league)], directory)]


def crossplay_plot(league: CrossPlay) -> Plot:
    """Draw the matrix as a heat-map; teams are labelled by method and seed."""
    rows, columns = len(league.hiders), len(league.seekers)
    with matplotlib.rc_context(STYLE):
        figure = blank_figure(3.2 + 0.6 * columns, 1.8 + 0.32 * rows)
        axis = figure.subplots()
        foreign = league.foreign()
        picture = heat_map(
            axis,
            100 * league.success(),
            [f"{side.method}, {side.seed}" for side in league.hiders],
            [f"{side.method}, {side.seed}" for side in league.seekers],
            rotation=60,
            mark=lambda row, column: "" if foreign[row, column] else "*",
        )
        axis.set(xlabel="seekers", ylabel="hiders")
        figure.colorbar(picture, ax=axis, label="hiders' success, %", shrink=0.8)
    caption = "Success of each team of hiders (method, seed) against each team of seekers."
    return Plot("crossplay", f"{caption} A star: both come from one training run.", figure)


def _over_seeds(
    sides: Sequence[Side],
    success: np.ndarray[Any, np.dtype[np.float64]],
    foreign: np.ndarray[Any, np.dtype[np.bool_]],
) -> dict[str, Interval]:
    """Interquartile mean over the rows of each method; each row enters with its foreign mean."""
    values: dict[str, list[float]] = {}
    for side, row, met in zip(sides, success, foreign, strict=True):
        if met.any():
            values.setdefault(side.method, []).append(float(row[met].mean()))
    return {name: bootstrap(column) for name, column in values.items()}
