"""Running episodes of one agent: what is kept of every step, whoever plays it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from aajr.arena.environments._camera import Camera
from aajr.arena.environments.frames import Frames
from aajr.arena.environments.protocols import Latest


class Single(Protocol):
    """An environment of one agent, as its running episodes read it."""

    @property
    def episodes(self) -> int:
        """Number of episodes."""

    @property
    def limit(self) -> int | None:
        """Steps after which every episode is cut; None for the environment's own limit."""

    @property
    def solved_at(self) -> float:
        """Return from which an episode counts as won."""


@dataclass(frozen=True, eq=False)
class Record:
    """The record of played episodes; those that ended early are padded with zeros.

    Attributes:
        returns: return of every episode, float64 ``[episodes]``.
        won: whether the return reaches the threshold, boolean ``[episodes]``.
        observation: clean observations, ``[episodes, steps, 1, features]``.
        action: ``[episodes, steps, 1, actions]``.
        reward: ``[episodes, steps, 1]``.
        played: steps that were played, boolean ``[episodes, steps]``.
        terminated: whether the episode came to its own end, boolean ``[episodes]``.
        truncated: whether a limit of time cut it instead, boolean ``[episodes]``.
        frames: the camera of the episode ``record_frames``; None without one.
    """

    returns: Tensor
    won: Tensor
    observation: Tensor
    action: Tensor
    reward: Tensor
    played: Tensor
    terminated: Tensor
    truncated: Tensor
    frames: Camera | None = None


class RunningAgent(ABC):
    """Episodes of one agent that are being played; a subclass plays the steps.

    Attributes:
        running: numbers of the running episodes, ``[running]``.
        observation: what the agent reads in these, ``[running, 1, features]``; the subclass sets
            the first.
    """

    observation: Tensor

    def __init__(self, environment: Single) -> None:
        count = environment.episodes
        self._of, self._frames = environment, Frames()
        self._returns = torch.zeros(count, dtype=torch.float64)
        self._terminated = torch.zeros(count, dtype=torch.bool)
        self._latest: Latest | None = None
        self.running = torch.arange(count)

    @abstractmethod
    def _played(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Play one step of every running episode.

        Args:
            action: ``[running, actions]``.

        Returns:
            Rewards in float64, whether an episode came to its own end, and whether a limit of time
            cut it, each ``[running]``.
        """

    @abstractmethod
    def _seen(self) -> Tensor:
        """What the agent reads in the running episodes, ``[running, 1, features]``."""

    @property
    def latest(self) -> Latest:
        """What the latest step brought."""
        if self._latest is None:
            raise ValueError("no step has been played; call step first")
        return self._latest

    def step(self, action: Tensor) -> None:
        """Play one step of every running episode with actions ``[running, 1, actions]``."""
        gained, ended, cut = self._played(action[:, 0])
        rows, reward = self.running, gained[:, None].float()
        self._returns[rows] += gained
        self._terminated[rows] = ended
        self._frames.add(rows, self.observation, action, reward)
        cut = (cut | (len(self._frames) == self._of.limit)) & ~ended
        seen = self._seen()
        self._latest = Latest(seen, reward, ended, cut)
        going = ~(ended | cut)
        self.running, self.observation = rows[going], seen[going]

    def record(self) -> Record:
        """The record of the episodes."""
        played, (observation, action, reward) = self._frames.padded(self._of.episodes)
        won, ended = self._returns >= self._of.solved_at, self._terminated
        return Record(self._returns, won, observation, action, reward, played, ended, ~ended)
