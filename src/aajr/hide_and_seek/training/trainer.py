"""The training loop: collect, estimate advantages, update, save a checkpoint."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor
from torchrl.envs import EnvBase

from aajr._seeds import derive
from aajr._settings import stated
from aajr.adversaries import Adversary
from aajr.arena.agents.actors import Actor, MedianReports
from aajr.arena.training.advantages import critic_input, rows_of
from aajr.arena.training.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
from aajr.arena.training.collection import FrozenTeam, Player, collect
from aajr.hide_and_seek.game import Team, hiders_success, make_torchrl_env
from aajr.hide_and_seek.game.actors import team_actor
from aajr.hide_and_seek.game.config import game_of
from aajr.hide_and_seek.game.items import reporting_sources
from aajr.hide_and_seek.game.threats import attackable_features
from aajr.hide_and_seek.training.builders import build_front, build_observation_adversary
from aajr.hide_and_seek.training.config import TrainConfig
from aajr.hide_and_seek.training.learner import Learner
from aajr.trajectory import Objective

Metrics = dict[str, float]
TEAMS: tuple[Team, ...] = ("hider", "seeker")


class TrainingDivergedError(RuntimeError):
    """NaN or infinite values stopped the run. Its last good checkpoint is kept."""


class Trainer:
    """A training run that can be stopped at any time and resumed from its last checkpoint.

    The resumed run goes on exactly. Iteration t derives the random numbers of its collection and
    its minibatches from (seed, t). A checkpoint holds the networks, the optimisers, the state of
    the robust loss, the metrics so far and the number of finished iterations.

    Args:
        config: configuration of the run.
        opponents: frozen actors of the team that does not learn.
        directory: directory of ``checkpoint.safetensors``; None to save nothing.
        initial: actor and critic weights to start from, by team; for instance a pre-trained policy.
        device: device of the computations.

    Raises:
        ValueError: opponents are missing, or given although both teams learn.
        CheckpointError: the directory holds a checkpoint of another configuration.
    """

    def __init__(
        self,
        config: TrainConfig,
        opponents: Sequence[Actor] = (),
        directory: Path | None = None,
        initial: Mapping[str, Mapping[str, Tensor]] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        frozen = [team for team in TEAMS if team not in config.learners]
        if bool(frozen) != bool(opponents):
            raise ValueError(
                f"opponents={len(opponents)} given but {frozen or 'no team'} must be played by "
                "frozen actors; give opponents exactly when a team does not learn"
            )
        self.config = config
        self.device = torch.device(device)
        self.opponents = [actor.to(self.device) for actor in opponents]
        self.path = None if directory is None else directory / "checkpoint.safetensors"
        self.iteration = 0
        self.history: list[Metrics] = []
        self.gradient_norms: dict[str, dict[str, list[float]]] = {
            team: {"outer": [], "inner": []} for team in config.learners
        }
        self.env: EnvBase = make_torchrl_env(
            config.env, num_envs=config.ppo.environments, seed=config.seed, device=device
        )
        self.learners: dict[str, Learner] = {
            team: self._learner(team) for team in TEAMS if team in config.learners
        }
        for team, weights in (initial or {}).items():
            self.learners[team].load_initial(weights)
        if self.path is not None and self.path.exists():
            self._restore(self.path)

    def run(self) -> Iterator[Metrics]:
        """Train to the end and yield the metrics of every iteration."""
        while self.iteration < self.config.iterations:
            metrics = self.step()
            last = self.iteration == self.config.iterations
            if self.path is not None and (
                last or self.iteration % self.config.checkpoint_interval == 0
            ):
                self.save(self.path)
            yield metrics

    def step(self) -> Metrics:
        """Run one iteration and return its metrics."""
        began = time.perf_counter()
        seed = derive(self.config.seed, "iteration", self.iteration)
        with torch.random.fork_rng(devices=_cuda_devices(self.device)):
            torch.manual_seed(seed)
            generator = torch.Generator(self.device).manual_seed(seed)
            data = collect(self.env, self._players(generator), self.config.env.max_steps, seed)
            collected = time.perf_counter()
            metrics: Metrics = {}
            for team, learner in self.learners.items():
                rows = rows_of(data, team, learner.critic, self.config.ppo)
                metrics |= self._update(team, learner, rows, generator)
        metrics |= _episode_metrics(data, self.config)
        seconds = time.perf_counter() - began
        self.iteration += 1
        self.history.append(metrics)
        timing = {
            "steps_per_second": data.shape[0] * data.shape[1] / seconds,
            "collect_seconds": collected - began,
            "update_seconds": seconds - (collected - began),
        }
        return {"iteration": float(self.iteration), **metrics, **timing}

    def save(self, path: Path) -> None:
        """Write everything that is needed to resume the run exactly."""
        tensors: dict[str, Tensor] = {}
        meta: dict[str, Any] = {
            "config": _as_json(self.config),
            "iteration": self.iteration,
            "history": self.history,
            "gradient_norms": self.gradient_norms,
        }
        for team, learner in self.learners.items():
            tensors |= {f"{team}.{name}": value for name, value in learner.state().items()}
        save_checkpoint(path, tensors, meta)

    def _restore(self, path: Path) -> None:
        tensors, meta = load_checkpoint(path, self.device)
        if meta.get("config") != _as_json(self.config):
            raise CheckpointError(
                f"{path} belongs to another configuration; give another directory or remove it"
            )
        for team, learner in self.learners.items():
            prefix = f"{team}."
            own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            learner.load_state(own)
        self.iteration = meta["iteration"]
        self.history = meta["history"]
        self.gradient_norms = meta["gradient_norms"]

    def _learner(self, team: Team) -> Learner:
        config = self.config
        features = self.env.observation_spec[team, "observation"].shape[-1]
        agents = self.env.observation_spec[team, "observation"].shape[-2]
        example = torch.zeros(1, agents, features)
        critic_features = critic_input(example, config.ppo.critic).shape[-1]
        mask = attackable_features(config.env, team, config.adversary.threat).to(self.device)
        front = build_front(config) if team == "hider" else None

        def actor(generator: torch.Generator) -> Actor:
            return team_actor(features, config.ppo.hidden, generator, front)

        def attack(objective: Objective, epsilon: float) -> Adversary:
            return build_observation_adversary(config, objective, mask, epsilon)

        return Learner(config, actor, critic_features, mask, attack, derive(config.seed, team))

    def _players(self, generator: torch.Generator) -> dict[str, Player]:
        players: dict[str, Player] = {}
        for team in TEAMS:
            if team in self.learners:
                players[team] = self.learners[team].player(self.iteration, generator)
            else:
                players[team] = FrozenTeam(self.opponents, generator)
        return players

    def _update(
        self, team: str, learner: Learner, rows: TensorDict, generator: torch.Generator
    ) -> Metrics:
        try:
            log = learner.update(rows, generator)
        except (FloatingPointError, ValueError) as error:
            raise TrainingDivergedError(
                f"iteration {self.iteration + 1} of {team}: {error}. "
                f"The last good checkpoint is {self.path or 'not kept; give a directory'}"
            ) from error
        for kind, norms in self.gradient_norms[team].items():
            norms += log.values.get(f"{kind}_gradient_norm", [])
        return {f"{team}/{name}": value for name, value in log.summary().items()}


def load_actor(path: Path, team: Team) -> Actor:
    """Load a team's actor from a checkpoint and freeze it.

    Args:
        path: checkpoint written by a :class:`Trainer`.
        team: team whose actor is loaded.

    Raises:
        CheckpointError: the file cannot be read, or the team did not learn in it.
    """
    tensors, meta = load_checkpoint(path)
    prefix = f"{team}.actor."
    weights = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    if not weights:
        raise CheckpointError(f"checkpoint {path} holds no {team} actor; its team did not learn")
    first = weights["network.0.weight"]
    config = meta["config"]
    filtered = team == "hider" and config.get("report_filter") == "median"
    front = MedianReports(reporting_sources(game_of(config["env"]))) if filtered else None
    actor = team_actor(first.shape[1], config["ppo"]["hidden"], front=front)
    actor.load_state_dict(weights)
    return actor.requires_grad_(False).eval()


def _cuda_devices(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []


def _as_json(config: TrainConfig) -> dict[str, Any]:
    """The configuration after a JSON round trip, without fields that do not affect the weights."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config, dict_factory=stated)))
    del plain["checkpoint_interval"]
    return plain


def _episode_metrics(data: TensorDict, config: TrainConfig) -> Metrics:
    seen = data["next", "hider", "info", "seen"][:, -1, :, 0]
    success = hiders_success(seen, config.env.hidden_for_success).float().mean()
    returns = data["next", "hider", "reward"].sum(1).mean()
    return {"hiders_success": float(success), "hiders_return": float(returns)}
