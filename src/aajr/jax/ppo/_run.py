"""A run of updates: its log, its checkpoints, and exact resumption."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from aajr.jax.ppo._checkpoint import read_facts, read_state, write_state
from aajr.jax.ppo._config import PPOConfig
from aajr.jax.ppo._learner import Learner
from aajr.jax.ppo._play import Match
from aajr.jax.ppo._player import CHECKPOINT
from aajr.jax.ppo._tables import Tables

Line = dict[str, float | None]
"""Numbers of one update: ``steps``, ``seconds``, ``return``, and the means of its minibatches."""

Progress = Callable[[Line], None]
"""Called after every update with its line."""

Learners = dict[str, Learner]
"""Those who learn, by name: ``agent``, ``adversary`` or both."""

Turned = tuple[Learners, dict[str, Any]]
"""The learners after an update, and its named numbers."""

Turn = Callable[[dict[str, Match], Learners, int], Turned]
"""One update, from the matches, the learners and its number."""


class Run:
    """A run between two checkpoints.

    Args:
        directory: where it is kept; a checkpoint there is continued.
        settings: JSON values that determine the run.
        config: number of updates, and updates between checkpoints.
        learners: those who learn, before the first update.

    Raises:
        ValueError: the checkpoint is damaged, or of other settings.
    """

    def __init__(
        self, directory: Path, settings: dict[str, Any], config: PPOConfig, learners: Learners
    ) -> None:
        self.directory, self.config, self.learners = directory, config, learners
        players = {
            name: (one.player.features, one.player.actions, one.player.memories)
            for name, one in learners.items()
        }
        self.settings = json.loads(json.dumps({**settings, "players": players}))
        self.log: list[Line] = []
        directory.mkdir(parents=True, exist_ok=True)
        if self.checkpoint.exists():
            self._resume()

    @property
    def checkpoint(self) -> Path:
        """File of the latest checkpoint."""
        return self.directory / CHECKPOINT

    def finish(self, tables: Tables, turn: Turn, progress: Progress | None) -> Learners:
        """Run to the end, with a checkpoint after every segment; return the learners."""
        while len(self.log) < self.config.updates:
            with tables.matches(len(self.log), self.learners) as matches:
                self._segment(partial(turn, matches), progress)
            self._keep()
        return self.learners

    def _segment(self, turn: Callable[[Learners, int], Turned], progress: Progress | None) -> None:
        done = len(self.log)
        before = (self.log[-1]["seconds"] or 0.0) if self.log else 0.0
        began = time.perf_counter()
        for number in range(done, min(done + self.config.segment, self.config.updates)):
            self.learners, told = turn(self.learners, number)
            seconds = before + time.perf_counter() - began
            known = {name: _number(value) for name, value in told.items()}
            self._note({"steps": (number + 1) * self.config.rows, "seconds": seconds, **known})
            if progress is not None:
                progress(self.log[-1])
        self.learners = {
            name: replace(one, discounted=0 * one.discounted)  # all episodes begin anew
            for name, one in self.learners.items()
        }

    def _note(self, line: Line) -> None:
        """Add a line to the log; FloatingPointError if anything is NaN or infinite."""
        finite = {name: math.isfinite(value or 0.0) for name, value in line.items()}
        for name, one in self.learners.items():
            leaves = jax.tree.leaves(one.params)
            finite[f"weights of the {name}"] = all(np.isfinite(leaf).all() for leaf in leaves)
        if not all(finite.values()):
            bad = ", ".join(name for name, good in finite.items() if not good)
            raise FloatingPointError(
                f"update {len(self.log)}: {bad} became NaN or infinite; the last good state, if "
                f"any, is in {self.checkpoint}. Lower learning_rate, ε or the penalty's weight"
            )
        self.log.append(line)

    def _keep(self) -> None:
        facts = {"settings": self.settings, "log": self.log}
        write_state(self.checkpoint, self.learners, facts)
        draft = self.directory / "log.jsonl.tmp"
        draft.write_text("".join(json.dumps(line) + "\n" for line in self.log), encoding="utf-8")
        draft.replace(self.directory / "log.jsonl")

    def _resume(self) -> None:
        facts = read_facts(self.checkpoint)
        if facts["settings"] != self.settings:
            raise ValueError(
                f"{self.checkpoint} holds a run of other settings, {facts['settings']}; give "
                "another directory or remove it"
            )
        self.learners, self.log = read_state(self.checkpoint, self.learners), facts["log"]


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
