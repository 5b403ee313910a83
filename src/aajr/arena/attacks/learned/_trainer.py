"""Training of an attacker against a frozen victim."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from aajr._checks import check_choice, check_count, check_number
from aajr._seeds import derive
from aajr.adversaries import Adversary
from aajr.arena.attacks.learned._adversaries import (
    DirectedAdversary,
    LearnedAdversary,
    LearnedLiars,
    attackable_sources,
    commanded,
)
from aajr.arena.attacks.learned._collection import Commanded, play_commanded
from aajr.arena.attacks.learned._coverage import with_coverage
from aajr.arena.attacks.learned._learner import AttackLearner
from aajr.arena.attacks.learned._network import Attacker
from aajr.arena.environments.protocols import AgentLike, Environment, Recorded
from aajr.arena.training.advantages import critic_input, rows_of
from aajr.arena.training.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
from aajr.arena.training.ppo import PPOConfig
from aajr.geometry import Ball, Sparse

Kind = Literal["sa_rl", "pa_ad"]
"""Kind of the commands: perturbations (SA-RL) or directions of the output (PA-AD)."""

Metrics = dict[str, float]


@dataclass(frozen=True)
class AttackerConfig:
    """Settings of an attacker's training.

    Attributes:
        iterations: number of iterations, each of ``ppo.environments`` whole episodes.
        ppo: settings of PPO; the attacker's advantage is normalised per minibatch.
        deviation: initial standard deviation of the commands; a perturbation is squashed by tanh,
            so 1 explores most of the ball.
        steps: steps of projected gradient ascent towards a direction (``pa_ad`` only).
        checkpoint_interval: iterations between checkpoints.
        keep_liars: whether the liars named at an episode's first step stay to its end, in a threat
            set of sources.
        coverage: share, in [0, 1], of a reward for leading the victim to states where it seldom
            is, which explores where the victim's reward tells little; 1 for this reward alone.
    """

    iterations: int = 100
    ppo: PPOConfig = field(
        default_factory=lambda: PPOConfig(epochs=4, learning_rate=3e-3, entropy=0.0)
    )
    deviation: float = 1.0
    steps: int = 1
    checkpoint_interval: int = 10
    keep_liars: bool = False
    coverage: float = 0.0

    def __post_init__(self) -> None:
        for name in ("iterations", "steps", "checkpoint_interval"):
            check_count(name, getattr(self, name))
        check_number("deviation", self.deviation, exclusive=True)
        check_number("coverage", self.coverage, maximum=1.0)


class AttackerTrainer:
    """Training of an attacker, which can be stopped and continued exactly.

    The attacker sees every agent's true observation; its reward is the negative of the agent's.
    The randomness of iteration t depends on (seed, t) alone.

    Args:
        victim: agent of the protected team; its parameters do not change.
        match: the environment with its opponents; ``config`` sets the number of episodes.
        ball: the threat set; its mask is the same for every agent. In a
            :class:`~aajr.geometry.Sparse` set the attacker also chooses the groups that change.
        kind: ``sa_rl``: a command is a perturbation in the ball; ``pa_ad``: it is a direction in
            the victim's outputs, which projected gradient ascent follows.
        config: settings of the training.
        directory: directory of ``attacker.safetensors``; None to write no file.
        seed: seed of all randomness.

    Raises:
        ValueError: unknown kind, a victim of another environment, or ``keep_liars`` in a ball.
        CheckpointError: the directory holds the checkpoint of another run.
    """

    def __init__(
        self,
        victim: AgentLike,
        match: Environment[Any],
        ball: Ball | Sparse,
        kind: Kind,
        config: AttackerConfig,
        directory: Path | None = None,
        seed: int = 0,
    ) -> None:
        check_choice("kind", kind, ("sa_rl", "pa_ad"))
        if config.keep_liars and not isinstance(ball, Sparse):
            raise ValueError("keep_liars=True but a Ball has no liars; give Sparse with groups")
        self.victim, self.match, self.ball = victim, match, ball
        self.kind, self.config, self.seed = kind, config, seed
        with torch.random.fork_rng(devices=[]):
            self.learner = self._learner()
        self.iteration = 0
        self.history: list[Metrics] = []
        self.path = None if directory is None else directory / "attacker.safetensors"
        if self.path is not None and self.path.exists():
            self._restore(self.path)

    @property
    def adversary(self) -> Adversary:
        """The adversary of the current attacker, which acts by its mean command."""
        return build_attack(self.kind, self.ball, self.learner.attacker, self.config)

    def run(self) -> None:
        """Train to the end and write checkpoints at the configured interval."""
        while self.iteration < self.config.iterations:
            self.step()
            last = self.iteration == self.config.iterations
            if self.path is not None and (
                last or self.iteration % self.config.checkpoint_interval == 0
            ):
                self.save(self.path)

    def step(self) -> Metrics:
        """Run one iteration; return the victim's success and return."""
        seed = derive(self.seed, "attacker", self.iteration)
        generator = torch.Generator().manual_seed(seed)
        match = self.match.resized(self.config.ppo.environments, seed)
        commanded = Commanded(self.learner.attacker, self.adversary)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            data, record = play_commanded(match, self.victim, commanded, generator)
            if share := self.config.coverage:
                data["next", "team", "reward"] = with_coverage(record, share, generator)
            rows = rows_of(data, "team", self.learner.critic, self.config.ppo)
            played = record.played.unsqueeze(-1).expand_as(record.reward).flatten()
            self.learner.update(rows[played], generator)
        metrics = _metrics(record)
        self.iteration += 1
        self.history.append(metrics)
        return metrics

    def save(self, path: Path) -> None:
        """Write everything that is needed to continue exactly."""
        meta = {
            "run": self._identity(),
            "iteration": self.iteration,
            "history": self.history,
            "sources": self.learner.attacker.sources,
        }
        save_checkpoint(path, self.learner.state(), meta)

    def _learner(self) -> AttackLearner:
        victim, ppo = self.victim, self.config.ppo
        example = torch.zeros(1, self.match.agents, self.match.features)
        if example.shape[-1] != victim.features:
            raise ValueError(
                f"the victim reads {victim.features} features, the environment shows "
                f"{example.shape[-1]}; "
                "give the configuration that the victim was trained with"
            )
        x = example.flatten(0, 1)
        return AttackLearner(
            ppo,
            victim.features,
            commands_of(self.kind, self.ball, victim, x),
            critic_input(example, ppo.critic).shape[-1],
            self.config.deviation,
            self.seed,
            **_coalition(self.ball, x),
        )

    def _restore(self, path: Path) -> None:
        tensors, meta = load_checkpoint(path)
        if meta.get("run") != self._identity():
            raise CheckpointError(
                f"{path} belongs to another run; give another directory or remove it"
            )
        self.learner.load_state(tensors)
        self.iteration = meta["iteration"]
        self.history = meta["history"]

    def _identity(self) -> dict[str, Any]:
        """All settings that a checkpoint must share with the run, so all except its length."""
        settings = asdict(self.config)
        del settings["iterations"], settings["checkpoint_interval"]
        if not isinstance(self.ball, Sparse):
            del settings["keep_liars"]  # so that older checkpoints still continue
        if self.config.coverage == 0:
            del settings["coverage"]
        plain: dict[str, Any] = json.loads(
            json.dumps(
                {
                    "kind": self.kind,
                    "seed": self.seed,
                    "config": settings,
                    "game": self.match.facts,
                    "ball": _facts(self.ball),
                    "victim": _digest(list(self.victim.state_dict().values())),
                    "opponents": [
                        _digest(list(o.state_dict().values())) for o in self.match.opponents
                    ],
                }
            )
        )
        return plain


def train_attacker(
    victim: AgentLike,
    match: Environment[Any],
    ball: Ball | Sparse,
    kind: Kind,
    config: AttackerConfig,
    directory: Path | None = None,
    seed: int = 0,
) -> Adversary:
    """Train an attacker to the end, or continue the run in ``directory``.

    Arguments and errors are those of :class:`AttackerTrainer`.

    Returns:
        The deterministic adversary, with frozen weights.

    Source: Zhang et al., 2021, https://arxiv.org/abs/2101.08452 (SA-RL); Sun et al., 2022,
    https://arxiv.org/abs/2106.05087 (PA-AD).
    """
    trainer = AttackerTrainer(victim, match, ball, kind, config, directory, seed)
    trainer.run()
    trainer.learner.attacker.requires_grad_(False).eval()
    return trainer.adversary


def load_attacker(path: Path, ball: Ball | Sparse) -> Adversary:
    """Load the adversary of a checkpoint that :class:`AttackerTrainer` wrote.

    Args:
        path: ``attacker.safetensors``.
        ball: the threat set with the same attackable features as in training; ε may differ.

    Raises:
        ValueError: a threat set with sources for an attacker without, or without for one with.
        CheckpointError: an unreadable file, or one of another kind.
    """
    tensors, meta = load_checkpoint(path)
    if "run" not in meta or "attacker.log_deviation" not in tensors:
        raise CheckpointError(f"checkpoint {path} holds no attacker; give one of train_attacker")
    prefix = "attacker."
    weights = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    sources = meta.get("sources", 0)
    if bool(sources) != isinstance(ball, Sparse):
        raise ValueError(
            f"the attacker of {path} scores {sources} sources but ball is {type(ball).__name__}; "
            "give Sparse to one with sources, and Ball to one without"
        )
    settings = meta["run"]["config"]
    ppo = PPOConfig(**settings.pop("ppo"))
    config = AttackerConfig(ppo=ppo, **settings)
    attacker = Attacker(
        weights["network.0.weight"].shape[1],
        len(weights["log_deviation"]),
        ppo.hidden,
        config.deviation,
        torch.Generator().manual_seed(0),
        sources,
        ball.budget if isinstance(ball, Sparse) else 0,
    )
    attacker.load_state_dict(weights)
    attacker.requires_grad_(False).eval()
    return build_attack(meta["run"]["kind"], ball, attacker, config)


def build_attack(
    kind: Kind,
    ball: Ball | Sparse,
    attacker: Callable[[Tensor], Tensor],
    config: AttackerConfig,
    *,
    squash: bool = True,
) -> Adversary:
    """The adversary that carries out an attacker's commands.

    Args:
        kind: what a command is.
        ball: the threat set.
        attacker: map from observations ``[batch, features]`` to commands ``[batch, commands]``.
        config: gives the steps towards a direction, and whether liars stay.
        squash: whether perturbations are squashed by tanh (``sa_rl`` only).
    """
    features = ball.ball if isinstance(ball, Sparse) else ball
    adversary: LearnedAdversary | DirectedAdversary = (
        LearnedAdversary(features, attacker, squash=squash)
        if kind == "sa_rl"
        else DirectedAdversary(features, attacker, config.steps)
    )
    if isinstance(ball, Sparse):
        return LearnedLiars(adversary, ball.groups, ball.budget, config.keep_liars)
    return adversary


def commands_of(kind: Kind, ball: Ball | Sparse, victim: AgentLike, example: Tensor) -> int:
    """Size of a command: attackable features for ``sa_rl``, the victim's outputs for ``pa_ad``."""
    ball.check(example)
    return int(commanded(ball, example).sum()) if kind == "sa_rl" else victim.head.outputs


def _coalition(ball: Ball | Sparse, example: Tensor) -> dict[str, int]:
    """How many sources the attacker scores, and how many of them lie."""
    if not isinstance(ball, Sparse):
        return {}
    return {"sources": scored_sources(ball, example), "liars": ball.budget}


def scored_sources(ball: Ball | Sparse, example: Tensor) -> int:
    """Number of sources of which an attacker gives a score: none in a ball."""
    return int(attackable_sources(ball, example).sum()) if isinstance(ball, Sparse) else 0


def _facts(ball: Ball | Sparse) -> list[Any]:
    """All settings of a threat set, as JSON values."""
    if isinstance(ball, Sparse):
        groups = [] if ball.groups is None else [ball.groups]
        return [*_facts(ball.ball), ball.budget, _digest(groups)]
    parts = (ball.scale, ball.mask, ball.coalition, ball.low, ball.high)
    digest = _digest([torch.as_tensor(part) for part in parts if part is not None])
    return [ball.norm, ball.epsilon, ball.budget_dims, digest]


def _metrics(record: Recorded) -> Metrics:
    returns = record.reward.sum(1).mean()
    return {"success": float(record.won.float().mean()), "return": float(returns)}


def _digest(tensors: Sequence[Tensor]) -> str:
    total = hashlib.sha256()
    for tensor in tensors:
        total.update(str((tuple(tensor.shape), tensor.dtype)).encode())
        total.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()
