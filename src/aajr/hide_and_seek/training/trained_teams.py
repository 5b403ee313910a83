"""Read trained teams from checkpoints and name them after their training method."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from aajr.arena.agents.actors import Actor
from aajr.arena.examination.trials import Examination, Examinee
from aajr.arena.training.checkpoints import CheckpointError, load_checkpoint
from aajr.hide_and_seek.game import HideAndSeekConfig, Team
from aajr.hide_and_seek.game.chasers import Chasers
from aajr.hide_and_seek.game.config import game_of
from aajr.hide_and_seek.game.coordination import coordination
from aajr.hide_and_seek.game.matches import Match
from aajr.hide_and_seek.training.trainer import load_actor


@dataclass(frozen=True)
class TrainedTeam:
    """A checkpoint that holds one or two trained teams.

    Attributes:
        path: path of the checkpoint.
        method: short name of the training method.
        seed: seed of the training.
        game: the game of the training.
        teams: teams that learned.
        recipe: digest of the training configuration without its seed.
    """

    path: Path
    method: str
    seed: int
    game: HideAndSeekConfig
    teams: tuple[Team, ...]
    recipe: str

    @property
    def name(self) -> str:
        """Short name, from the checkpoint's directory or its file."""
        return self.path.parent.name if self.path.stem == "checkpoint" else self.path.stem

    def actor(self, team: Team) -> Actor:
        """The frozen actor of a team."""
        return load_actor(self.path, team)


def trained_teams(paths: Sequence[Path], team: Team) -> tuple[TrainedTeam, ...]:
    """Read every checkpoint in which the team learned; directories are searched.

    If methods of the same name were trained differently, four characters of their digests are
    added to the names.

    Args:
        paths: checkpoint files, or directories that hold some.
        team: team that must have learned. Checkpoints in directories are skipped if it did not.

    Raises:
        ValueError: there are no paths, or a directory holds no such checkpoint.
        CheckpointError: a given file cannot be read, or the team did not learn in it.

    Example:
        >>> trained_teams([], "seeker")
        Traceback (most recent call last):
        ...
        ValueError: no checkpoints of seekers were given; name files or directories
    """
    found: dict[Path, TrainedTeam] = {}
    for path in paths:
        for one in _inside(path, team) if path.is_dir() else [_named(path, team)]:
            found.setdefault(one.path.resolve(), one)
    if not found:
        raise ValueError(f"no checkpoints of {team}s were given; name files or directories")
    return _told_apart(list(found.values()))


def common_game(teams: Sequence[TrainedTeam]) -> HideAndSeekConfig:
    """Return the game in which all teams were trained.

    Raises:
        ValueError: the teams were trained in different games.
    """
    first = teams[0]
    for other in teams[1:]:
        if other.game != first.game:
            raise ValueError(
                f"{first.path} and {other.path} were trained in different games; give checkpoints "
                "of one game"
            )
    return first.game


def _chasers(game: HideAndSeekConfig) -> Chasers:
    try:
        return Chasers(game)
    except ValueError as error:
        raise ValueError(
            f"opponents is empty, and scripted seekers cannot play this game ({error}); give "
            "checkpoints of seekers as opponents"
        ) from None


def examinee(
    team: TrainedTeam, opponents: Sequence[TrainedTeam], plan: Examination, directory: Path
) -> Examinee:
    """Prepare a team of hiders for an evaluation against frozen seekers.

    Without opponents the seekers are :class:`~aajr.hide_and_seek.game.chasers.Chasers`.

    Raises:
        ValueError: hiders and seekers were trained in different games, or there are no opponents
            and the game does not suit chasers.
    """
    game = common_game([team, *opponents])
    seekers = [opponent.actor("seeker") for opponent in opponents] or [_chasers(game)]
    match = Match(game, seekers, plan.episodes, plan.seed)
    measure = partial(coordination, config=game)
    return Examinee(team, team.actor("hider"), match, plan, directory, measure)


def method_of(config: Mapping[str, Any]) -> str:
    """Name a training configuration: by its penalty and weight, or else by how it was trained.

    Example:
        >>> adversary = {"placement": "rollout"}
        >>> method_of({"penalty": {"name": "aajr", "weight": 0.01}, "adversary": adversary})
        'aajr 0.01'
        >>> method_of({"penalty": {"name": "none"}, "adversary": adversary})
        'adversarial'
    """
    penalty = config["penalty"]
    if len(config.get("learners", ())) == 2:
        return "self-play"
    front = f"{config['report_filter']}, " if config.get("report_filter") else ""
    if penalty["name"] != "none":
        return f"{front}{penalty['name']} {penalty['weight']:g}"
    plain = config["adversary"]["placement"] == "none"
    return front + ("plain" if plain else "adversarial")


def _named(path: Path, team: Team) -> TrainedTeam:
    one = _read(path)
    if team not in one.teams:
        raise CheckpointError(f"checkpoint {path} holds no {team} actor; its team did not learn")
    return one


def _inside(directory: Path, team: Team) -> list[TrainedTeam]:
    """Trained teams in a directory; other checkpoints and files are skipped."""
    found = []
    for path in sorted(directory.rglob("*.safetensors")):
        try:
            found.append(_named(path, team))
        except CheckpointError:
            continue
    if not found:
        raise ValueError(f"{directory} holds no checkpoint of {team}s; give one that does")
    return found


def _read(path: Path) -> TrainedTeam:
    tensors, meta = load_checkpoint(path)
    config = meta.get("config")
    if config is None:
        raise CheckpointError(f"checkpoint {path} holds no policy; give one of `aajr train`")
    recipe = {name: value for name, value in config.items() if name != "seed"}
    teams: tuple[Team, ...] = ("hider", "seeker")
    return TrainedTeam(
        path=path,
        method=method_of(config),
        seed=int(config["seed"]),
        game=game_of(config["env"]),
        teams=tuple(t for t in teams if any(k.startswith(f"{t}.actor.") for k in tensors)),
        recipe=hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest(),
    )


def _told_apart(found: list[TrainedTeam]) -> tuple[TrainedTeam, ...]:
    recipes: dict[str, set[str]] = {}
    for one in found:
        recipes.setdefault(one.method, set()).add(one.recipe)
    return tuple(
        replace(one, method=f"{one.method} ({one.recipe[:4]})")
        if len(recipes[one.method]) > 1
        else one
        for one in found
    )
