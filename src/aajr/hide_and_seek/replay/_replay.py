"""Recorded episodes and their JSON form, ``replay.json``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aajr._settings import stated
from aajr.report.files import write_whole

REPLAY_VERSION = 1
"""Version of the layout of ``replay.json``; a file of another version is refused."""

Numbers = list[Any]
"""Nested lists of numbers; the shape is given where it is used."""


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One episode of T frames; frame 0 is the initial state.

    Lengths are in arena half widths, rounded to three decimals. Hiders come before seekers.

    Attributes:
        method: name of the hiders' method.
        attack: name of the attack, ``"none"`` for a clean episode.
        epsilon: radius of the attack.
        success: whether enough hiders were unseen at the end.
        box_half: half sizes of the boxes, ``[boxes][2]``.
        agents: positions, ``[T][agents][2]``.
        heading: unit vectors of the last motion, ``[T][agents][2]``.
        boxes: centres of the boxes, ``[T][boxes][2]``.
        holder: agent that holds a box, or −1, ``[T][boxes]``.
        lock: 0 unlocked, 1 locked by hiders, 2 by seekers, ``[T][boxes]``.
        sights: pairs (seeker, hider that it sees), indices within the teams, ``[T][pairs][2]``.
        observation: true observations of the hiders, ``[T][hiders][features]``.
        shown: perturbed observations that the hiders get, of the same shape; empty if the
            observations are not attacked. In the last frame nobody acts, and ``shown`` equals
            ``observation``.
        action: actions of the hiders, ``[T − 1][hiders][heads]``.
        intended: greedy actions on the true observations, of the same shape.
        believed: where each hider believes that the nearest seeker is, relative to itself,
            ``[T − 1][hiders][2]``; None without a radio that reports the nearest seeker.
    """

    method: str
    attack: str
    epsilon: float
    success: bool
    box_half: Numbers
    agents: Numbers
    heading: Numbers
    boxes: Numbers
    holder: Numbers
    lock: Numbers
    sights: Numbers
    observation: Numbers
    shown: Numbers
    action: Numbers
    intended: Numbers
    believed: Numbers | None = None

    @property
    def frames(self) -> int:
        """Number of frames, including the initial state."""
        return len(self.agents)


@dataclass(frozen=True, kw_only=True)
class Replay:
    """Episodes of one game from one initial state.

    Attributes:
        game: facts that all episodes share: ``walls``, the numbers of ``hiders`` and ``seekers``,
            the view ``radius``, the ``size`` of an agent, the number of ``preparation`` steps, and
            the number of hidden hiders ``needed`` for success. ``layout`` gives the start and stop
            index of each part of a hider's observation. With a radio, ``sources`` is the number of
            its sources.
        threat: what the adversary may change.
        seed: seed of the initial state.
        episodes: the episodes of several methods, clean and attacked.
        replay_version: version of the file's layout.

    Raises:
        ValueError: the version is not supported, or there is no episode.
    """

    game: Mapping[str, Any]
    threat: str
    seed: int
    episodes: tuple[Episode, ...] = field(default=())
    replay_version: int = REPLAY_VERSION

    def __post_init__(self) -> None:
        if self.replay_version != REPLAY_VERSION:
            raise ValueError(
                f"replay_version={self.replay_version!r} cannot be read, only {REPLAY_VERSION}; "
                "record the replay again with `aajr reproduce`"
            )
        if not self.episodes:
            raise ValueError("episodes is empty; give at least one episode")


def replay_json(replay: Replay) -> str:
    """The replay as compact JSON."""
    facts = dataclasses.asdict(replay, dict_factory=stated)
    return json.dumps(facts, separators=(",", ":"), allow_nan=False)


def write_replay(replay: Replay, path: Path) -> None:
    """Write ``replay`` as JSON. An interrupted write leaves no partial file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, replay_json(replay) + "\n")


def read_replay(path: Path) -> Replay:
    """Read what :func:`write_replay` wrote.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is truncated, has another version or has other fields.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        episodes = tuple(Episode(**episode) for episode in value["episodes"])
        return Replay(**(value | {"episodes": episodes}))
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path} is not a replay ({error}); record it again with `aajr reproduce`"
        ) from None
