"""Evaluation under attack during SB3's training, which keeps the most robust checkpoint."""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback

from aajr._checks import check_choice, check_count, check_number
from aajr.arena.agents.agent import Agent
from aajr.arena.attacks.action_threat import on_actions
from aajr.arena.attacks.agent_suites import (
    AGENT_SUITES,
    AGENT_THOROUGH,
    agent_suite,
    fitting,
    threat_of,
)
from aajr.arena.attacks.balls import ball_facts
from aajr.arena.attacks.suites import AttackSpec, Suite
from aajr.arena.attacks.victim import Victim
from aajr.arena.environments.seeing import seen_by
from aajr.arena.examination.trials import attacked_match
from aajr.arena.records.evaluation import CLEAN
from aajr.arena.threats import Threat
from aajr.geometry import Ball
from aajr.integrations.sb3._agents import agent_from
from aajr.report.files import write_json


class RobustnessCallback(BaseCallback):  # type: ignore[misc]
    """Attack the agent every so many steps of its training, and keep the most robust one.

    An evaluation plays the same episodes each time, without attack and under each attack, with a
    copy of the agent. It neither draws from the training's random numbers nor touches its
    environments, so that training goes on as it would without it. The worst case is the least mean
    return among no attack and all attacks; the agent of the greatest worst case is kept.

    ``directory`` holds ``most_robust/agent.zip``, with ``vecnormalize.pkl`` beside it if
    observations are normalised, and ``robustness.json``, all evaluations. A run that is started
    again with the same directory goes on where its file ends.

    SB3's logger gets ``robustness/clean``, ``robustness/worst`` and the mean return of every
    attack.

    Args:
        environment: what :func:`aajr.arena.examine` takes; without VecNormalize, whose statistics
            are the agent's.
        ball: the threat set, in the unit of the policy's input, or of the action where ``threat``
            is ``actions``; if ``environment`` is one of sources, only its radius counts.
        attacks: a suite or its name, an attack or its name. The default ascends the change of the
            action; it needs no critic and costs a few seconds. A robust-looking agent may still
            fall to other attacks: examine the one that is kept.
        threat: what the adversary changes: what the agent sees, or what it does. The default attack
            has no meaning for ``actions``; give ``critic_0`` or a suite.
        every: steps of the training between evaluations.
        episodes: episodes of each attack.
        seed: seed of their initial states.
        directory: where to keep results; None to keep none.
        verbose: 1 to print every evaluation.

    Attributes:
        history: evaluations so far: ``timesteps``, ``returns`` by attack, ``worst``, and
            ``left_out``.
        best: the evaluation of the agent that was kept; None before the first.
        left_out: attacks that did not run in the latest evaluation, with the reason of each.

    Raises:
        ValueError: unknown attacks, none that fits, numbers out of range, or a directory with the
            evaluations of other settings.

    Example:
        >>> from stable_baselines3 import PPO
        >>> watch = RobustnessCallback("CartPole-v1", Ball("linf", 0.1), every=64, episodes=2)
        >>> model = PPO("MlpPolicy", "CartPole-v1", n_steps=64, batch_size=64, device="cpu")
        >>> _ = model.learn(128, callback=watch)
        >>> [one["timesteps"] for one in watch.history], sorted(watch.best["returns"])
        ([64, 128], ['none', 'pgd_mad'])
    """

    def __init__(
        self,
        environment: Any,
        ball: Ball,
        attacks: str | Suite | AttackSpec = "pgd_mad",
        *,
        threat: Literal["observations", "actions"] = "observations",
        every: int = 10_000,
        episodes: int = 20,
        seed: int = 0,
        directory: str | Path | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(verbose)
        for name, value in (("every", every), ("episodes", episodes)):
            check_count(name, value)
        check_count("seed", seed, minimum=0)
        check_number("ball.epsilon", ball.epsilon, exclusive=True)
        check_choice("threat", threat, ("observations", "actions"))
        self.threat = threat
        self.environment, self.ball, self.suite = environment, ball, _suite(attacks)
        self.every, self.episodes, self.seed = every, episodes, seed
        self.directory = None if directory is None else Path(directory)
        self.history: list[dict[str, Any]] = []
        self.left_out: dict[str, str] = {}

    @property
    def best(self) -> dict[str, Any] | None:
        """The evaluation of the greatest worst case."""
        return max(self.history, key=lambda one: one["worst"], default=None)

    def evaluate(self, agent: Agent) -> dict[str, float]:
        """Mean return by attack; ``none`` is the return without attack.

        An attack that stops with an error is left out with a warning, so that it does not end the
        training.

        Raises:
            ValueError: no attack fits the agent, or the agent does not fit the environment.
        """
        match, ball = seen_by(agent, self.environment, self.episodes, self.seed), self.ball
        if self.threat == "actions":
            agent, match, ball = on_actions(agent, match, ball)
        threat = threat_of(match)
        self._check_attacked(threat)
        fit, reasons = fitting(self.suite, [agent], match, ball)
        victim = Victim(agent, match, threat, self.suite.effort, template=ball)
        found = {CLEAN: attacked_match(victim).score.mean_return}
        for spec in fit.attacks:
            try:
                adversary = spec.build(victim.ball(self.ball.epsilon), victim)
                found[spec.name] = attacked_match(victim, spec, adversary).score.mean_return
            except Exception as error:
                reasons[spec.name] = f"{type(error).__name__}: {error}"
                warnings.warn(f"{spec.name} was left out, {reasons[spec.name]}", stacklevel=2)
        self.left_out = reasons
        return found

    def _check_attacked(self, threat: Threat) -> None:
        """Raise ValueError if no attack is one on what the adversary changes."""
        if not self.suite.against(threat):
            able = [spec.name for spec in AGENT_SUITES["standard"].against(threat)]
            raise ValueError(
                f"attacks={[a.name for a in self.suite.attacks]} do not attack {threat!r}, "
                f"which is examined here; give a suite, or one of {', '.join(able)}"
            )

    def _on_training_start(self) -> None:
        if self.directory is not None:
            self.directory.mkdir(parents=True, exist_ok=True)
            self.history = self._kept(self.directory / "robustness.json")

    def _on_step(self) -> bool:
        last = self.history[-1]["timesteps"] if self.history else 0
        if self.num_timesteps // self.every > last // self.every:
            self._look()
        return True

    def _on_training_end(self) -> None:
        if not self.history or self.history[-1]["timesteps"] < self.num_timesteps:
            self._look()

    def _look(self) -> None:
        state = np.random.get_state()  # SB3 draws from the global generators
        with torch.random.fork_rng(devices=[]):
            returns = self.evaluate(agent_from(self.model))
        np.random.set_state(state)
        worst, before = min(returns.values()), self.best
        self.history.append(
            {
                "timesteps": self.num_timesteps,
                "returns": returns,
                "worst": worst,
                "left_out": self.left_out,
            }
        )
        self._tell(returns, worst)
        if self.directory is not None:
            if before is None or worst > before["worst"]:
                _save(self.model, self.directory / "most_robust")
            write_json(
                self.directory / "robustness.json",
                {"settings": self._settings(), "evaluations": self.history},
            )

    def _tell(self, returns: Mapping[str, float], worst: float) -> None:
        named = {("clean" if name == CLEAN else name): value for name, value in returns.items()}
        for name, value in {**named, "worst": worst}.items():
            self.logger.record(f"robustness/{name}", value)
        if self.verbose:
            words = ", ".join(f"{name} {value:.4g}" for name, value in named.items())
            print(f"{self.num_timesteps} steps, mean return: {words}")

    def _settings(self) -> dict[str, Any]:
        settings = {
            "ball": ball_facts(self.ball),
            "threat": self.threat,
            "suite": [a.name for a in self.suite.attacks],
            "effort": dataclasses.asdict(self.suite.effort),
            "episodes": self.episodes,
            "seed": self.seed,
        }
        plain: dict[str, Any] = json.loads(json.dumps(settings))
        return plain

    def _kept(self, path: Path) -> list[dict[str, Any]]:
        if not path.exists():
            return []
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["settings"] != self._settings():
            raise ValueError(
                f"{path} holds evaluations of other settings, {kept['settings']}; give another "
                "directory or remove it"
            )
        found: list[dict[str, Any]] = kept["evaluations"]
        return found


def _suite(attacks: str | Suite | AttackSpec) -> Suite:
    if isinstance(attacks, Suite):
        return attacks
    if isinstance(attacks, AttackSpec):
        return Suite("callback", 1, AGENT_SUITES["quick"].effort, (attacks,))
    known = {spec.name: spec for spec in AGENT_THOROUGH.attacks}
    if attacks in known:
        return _suite(known[attacks])
    if attacks not in AGENT_SUITES:
        raise ValueError(
            f"attacks={attacks!r} is neither a suite ({', '.join(AGENT_SUITES)}) nor an attack "
            f"({', '.join(known)})"
        )
    return agent_suite(attacks)


def _save(model: Any, directory: Path) -> None:
    """Write the model and its statistics, so that both appear whole."""
    directory.mkdir(parents=True, exist_ok=True)
    normalise = model.get_vec_normalize_env()
    if normalise is not None:
        draft = directory / "vecnormalize.pkl.tmp"
        normalise.save(str(draft))
        draft.replace(directory / "vecnormalize.pkl")
    draft = directory / "draft.zip"
    model.save(draft)
    draft.replace(directory / "agent.zip")
