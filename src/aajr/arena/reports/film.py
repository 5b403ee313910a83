"""One episode to look at: without attack and under attack, side by side."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aajr._checks import check_count
from aajr._seeds import derive
from aajr.adversaries import Adversary
from aajr.arena.environments.acting import WithActions
from aajr.arena.environments.episodes import AttackedTeam, play
from aajr.arena.environments.gymnasium import GymnasiumEnvironment
from aajr.arena.environments.protocols import AgentLike, Environment
from aajr.arena.environments.sources import WithSources
from aajr.report.figures import Plot, blank_figure
from aajr.trajectory import Trajectory

TRACES = 4
"""Number of features that :meth:`Film.traces` shows."""


@dataclass(frozen=True, eq=False)
class Reel:
    """One agent's episode.

    Attributes:
        true: what the environment showed, ``[steps, features]``.
        shown: what the agent saw after the attack, ``[steps, features]``.
        reward: ``[steps]``.
        frames: rendered images at the start and after every ``every`` steps, bytes
            ``[frames, height, width, 3]``; none if the environment renders none.
        every: steps between two frames.
        problem: why there are no frames; empty if there are.
    """

    true: Tensor
    shown: Tensor
    reward: Tensor
    frames: np.ndarray
    every: int = 1
    problem: str = ""


@dataclass(frozen=True, eq=False)
class Film:
    """One episode without attack, and the same episode under attack.

    Attributes:
        clean: without attack.
        attacked: under attack; None if there was no adversary.
        names: names of the features.
    """

    clean: Reel
    attacked: Reel | None
    names: tuple[str, ...]

    @property
    def problem(self) -> str:
        """Why there are no images; empty if there are."""
        return next((reel.problem for reel in self._reels if reel.problem), "")

    @property
    def frames(self) -> np.ndarray:
        """Images of both episodes side by side, clean on the left, ``[frames, height, width, 3]``.

        An episode that is over stays at its last image, darkened.
        """
        if self.problem:
            return self.clean.frames[:0]
        every = max(reel.every for reel in self._reels)
        rows = [reel.frames[:: every // reel.every] for reel in self._reels]
        length = max(map(len, rows))
        return np.concatenate([_lengthened(row, length) for row in rows], 2)

    def gif(self, seconds: float = 0.08) -> bytes:
        """The frames as an animated GIF that repeats.

        Args:
            seconds: time for which a frame is shown.

        Raises:
            ImportError: Pillow is missing.
            ValueError: there are no frames.
        """
        try:
            from PIL import Image
        except ImportError as error:
            raise ImportError("a GIF needs Pillow: pip install pillow") from error
        if not len(self.frames):
            raise ValueError(f"there are no frames ({self.problem}); show the traces instead")
        first, *rest = (Image.fromarray(frame).quantize(64) for frame in self.frames)
        buffer, time = io.BytesIO(), round(1000 * seconds)
        settings: Any = {"save_all": True, "append_images": rest, "duration": time, "loop": 0}
        first.save(buffer, "GIF", **settings)
        return buffer.getvalue()

    def traces(self) -> Plot:
        """The features that the attack moved most: true and shown, at every step."""
        reel = self.attacked or self.clean
        moved = (reel.shown - reel.true).abs().mean(0) / reel.true.std(0, correction=0).clamp_min(
            1e-6
        )
        features = moved.topk(min(TRACES, len(moved))).indices.sort().values.tolist()
        figure = blank_figure(7.2, 1.2 * len(features))
        for axis, feature in zip(_axes(figure, len(features)), features, strict=True):
            axis.plot(reel.true[:, feature], color="black", linewidth=1, label="true")
            axis.plot(reel.shown[:, feature], color="#c0392b", linewidth=0.8, label="shown")
            axis.set_ylabel(self.names[feature])
        axis.set_xlabel("step")
        figure.axes[0].legend(loc="upper right", ncols=2)
        words = "What the environment showed, and what the agent saw under attack"
        return Plot("traces", f"{words}: the features that were moved most.", figure)

    def data_uri(self) -> str:
        """A picture for a page: the GIF if there are frames, else the traces."""
        if len(self.frames):
            return _uri("image/gif", self.gif())
        return _uri("image/png", self.traces().png)

    @property
    def _reels(self) -> list[Reel]:
        return [self.clean] if self.attacked is None else [self.clean, self.attacked]


def film(
    environment: Environment[Any],
    agent: AgentLike,
    adversary: Adversary | None = None,
    episode: int = 0,
    *,
    member: int = 0,
    on_logits: bool = False,
) -> Film:
    """Play all episodes twice, without attack and under attack, and keep one of them.

    All episodes are played, so that the film shows the very episode that an attack's score counts:
    :func:`~aajr.arena.examination.trials.attacked_match` draws the same numbers.

    Args:
        environment: the environment; one of Gymnasium also renders images.
        agent: the victim.
        adversary: the attack; None for the clean episode alone.
        episode: number of the episode.
        member: number of the agent in its team.
        on_logits: whether the adversary shifts the action's logits instead of the observation.

    Raises:
        ValueError: an episode or a member that is not there.
    """
    for name, value, count in (
        ("episode", episode, environment.episodes),
        ("member", member, environment.agents),
    ):
        check_count(name, value, minimum=0)
        if value >= count:
            raise ValueError(f"{name}={value} but there are {count}; count from 0")

    def reel(attack: Adversary | None) -> Reel:
        source = torch.Generator().manual_seed(derive(environment.seed, "attack"))
        team = _Watched(agent, attack, source, on_logits)
        team.row = episode * environment.agents + member
        record = play(_filmed(environment, episode), team)
        true = record.observation[episode, record.played[episode], member]
        shown = torch.stack(team.shown) if team.shown else true
        reward = record.reward[episode, : len(true), member]
        frames = getattr(record, "frames", None)
        if frames is None:
            return Reel(true, shown, reward, np.zeros((0, 1, 1, 3)), problem="no images here")
        return Reel(true, shown, reward, frames.frames, frames.every, frames.problem)

    attacked = None if adversary is None else reel(adversary)
    names = getattr(environment, "feature_names", None)
    return Film(reel(None), attacked, names or tuple(f"[{i}]" for i in range(environment.features)))


class _Watched(AttackedTeam):
    """An attacked team that keeps what one of its rows saw."""

    row = 0

    def _attack(
        self, adversary: Adversary, x: Tensor, memory: Tensor | None, rows: Tensor
    ) -> Trajectory:
        found = super()._attack(adversary, x, memory, rows)
        seen = x if self.on_logits else found.worst
        self.shown += list(seen[rows == self.row])
        return found

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.shown: list[Tensor] = []


def _filmed(environment: Environment[Any], episode: int) -> Environment[Any]:
    """The environment, with images of an episode where it can show them."""
    if isinstance(environment, WithActions | WithSources):
        return replace(environment, environment=_filmed(environment.environment, episode))
    if isinstance(environment, GymnasiumEnvironment):
        return replace(environment, record_frames=episode)
    return environment


def _lengthened(frames: np.ndarray, length: int) -> np.ndarray:
    """Frames with the last one repeated, darkened."""
    missing = length - len(frames)
    return np.concatenate([frames, np.repeat(frames[-1:] // 2, missing, 0)]) if missing else frames


def _axes(figure: Any, count: int) -> Sequence[Any]:
    found = figure.subplots(count, 1, sharex=True, squeeze=False)
    axes: Sequence[Any] = found[:, 0]
    return axes


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
