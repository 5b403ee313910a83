"""The attacks of the MuJoCo study, as a suite of the arena."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aajr._seeds import derive
from aajr.adversaries import (
    Adversary,
    AttackOn,
    LeastValue,
    Mixture,
    ProjectedGradientAscent,
    VertexSearch,
)
from aajr.arena.agents.agent import Agent
from aajr.arena.attacks import builders as attacks
from aajr.arena.attacks.critics import OnlineValue, fit_robust_sarsa
from aajr.arena.attacks.steering import Steered, best_director
from aajr.arena.attacks.suites import AttackSpec, Suite
from aajr.arena.attacks.victim import Victim
from aajr.arena.environments.episodes import AttackedTeam, Outcome, contest, explore
from aajr.arena.environments.gymnasium import GymnasiumEnvironment, Record
from aajr.arena.settings import Effort
from aajr.geometry import Ball
from aajr.integrations.envpool import ENVPOOL, EnvPoolEnvironment
from aajr.integrations.jax_ppo import adversary_from
from aajr.studies.mujoco._protocol import Protocol
from aajr.trajectory import Objective, Reference

Climb = Callable[[Ball, Objective], Adversary]

FIVE = ("random", "critic", "mad", "rs")
"""First parts of the names of the attacks that learn no policy."""

SIX = (*FIVE, "sa_rl", "pa_ad")
"""The same with learned attackers: the common worst case of the literature."""

SEVEN = (*SIX, "push", "steer")
"""The same with pushes in a direction that is constant, or a linear function of the state."""


@dataclass(frozen=True)
class Push:
    """ℓ(u) = ± the mean action: push the mean action in the same direction at every step.

    Attributes:
        sign: +1 or −1.
    """

    sign: float

    def __call__(self, output: Tensor, reference: Reference) -> Tensor:
        """Signed sum of the mean action, ``[batch]``."""
        return self.sign * output.chunk(2, -1)[0].sum(1)


def victim_of(directory: Path, protocol: Protocol, episodes: int, seed: int) -> Victim:
    """A trained agent as a victim, in its own normalised observations."""
    agent = Agent.from_ppo(directory)
    settings: Any = {"sight": agent.sight, "solved": protocol.solved}
    name = protocol.environment
    environment = (
        EnvPoolEnvironment(
            name.removeprefix(ENVPOOL), episodes, seed, settings={"num_threads": 1}, **settings
        )
        if name.startswith(ENVPOOL)
        else GymnasiumEnvironment(name, episodes, seed, **settings)
    )
    return Victim(agent, environment, "full", Effort(critic_episodes=10))


def played(
    victim: Victim, name: str = "none", adversary: Adversary | None = None
) -> Outcome[Record]:
    """Play the victim's episodes under an attack, or without an attack."""
    source = torch.Generator().manual_seed(victim.match.seed)
    size = 0.0 if adversary is None else float(adversary.ball.epsilon)
    return contest(victim.match, AttackedTeam(victim.actor, adversary, source), name, size)


def suite_of(
    protocol: Protocol, learned: Mapping[str, Path] | None = None, *, thorough: bool = False
) -> Suite:
    """The published protocol's attacks, learned attackers, and linear pushes.

    Args:
        protocol: gives the searches and the grids of Robust Sarsa.
        learned: directories of attackers that were trained against the victim, by name.
        thorough: whether to search by the longer projected gradient ascent alone.
    """
    specs = [AttackSpec("random", "noise", attacks.noise)]
    director = cache(partial(_director, protocol))
    for suffix, climb in _searches(protocol, thorough).items():
        found = _by_gradients(protocol, climb, director)
        specs += [replace(spec, name=spec.name + suffix) for spec in found]
    known = (*protocol.attackers, *protocol.beside)
    corners = {one.name for one in known if one.kind == "sa_rl"}
    for name, directory in (learned or {}).items():
        specs.append(AttackSpec(name, "learned", partial(_trained, directory)))
        if name in corners:
            corner = partial(_trained, directory, corner=True)
            specs.append(AttackSpec(f"{name}_corner", "learned", corner))
    kind = "thorough" if thorough else "usual"
    return Suite(f"{protocol.name}, {kind}", 3, Effort(), tuple(specs))


def _trained(directory: Path, ball: Ball, victim: Victim, *, corner: bool = False) -> Adversary:
    return adversary_from(directory, ball, corner=corner)


def _by_gradients(
    protocol: Protocol, climb: Climb, director: Callable[[Victim], Steered]
) -> list[AttackSpec]:
    """The attacks that one search carries out."""

    def mixed(weight: float) -> attacks.Builder:
        def build(ball: Ball, victim: Victim) -> Adversary:
            sarsa, mad = _sarsa(protocol, protocol.kappas[0], victim), victim.divergence
            scales = victim.scale(sarsa, ball), victim.scale(mad, ball)
            return climb(ball, Mixture(sarsa, mad, weight, *scales))

        return build

    def critic(ball: Ball, victim: Victim) -> Adversary:
        return AttackOn(victim.state_value, climb(ball, LeastValue()))

    def steer(ball: Ball, victim: Victim) -> Adversary:
        return climb(ball, director(victim))

    def gradient(name: str, objective: Callable[[Victim], Objective]) -> AttackSpec:
        return AttackSpec(name, "gradient", lambda ball, v: climb(ball, objective(v)))

    return [
        AttackSpec("critic", "gradient", critic),
        gradient("mad", lambda victim: victim.divergence),
        gradient("push_up", lambda victim: Push(1.0)),
        gradient("push_down", lambda victim: Push(-1.0)),
        AttackSpec("steer", "gradient", steer),
        *(gradient(f"rs_{kappa:g}", partial(_sarsa, protocol, kappa)) for kappa in protocol.kappas),
        *(
            AttackSpec(f"rs_mad_{weight:g}", "gradient", mixed(weight))
            for weight in protocol.mixtures
        ),
    ]


def _searches(protocol: Protocol, thorough: bool) -> dict[str, Climb]:
    """The searches for the point that maximises an objective, by the suffix of their names."""
    steps = protocol.thorough_steps if thorough else protocol.attack_steps
    restarts = protocol.thorough_restarts if thorough else protocol.attack_restarts
    ascent: Any = partial(ProjectedGradientAscent, steps=steps, restarts=restarts, select="best")
    if thorough:
        return {"": ascent}
    known: dict[str, tuple[str, Climb]] = {
        "gradient": ("", ascent),
        "vertices": ("_vertices", VertexSearch),
    }
    return dict(known[name] for name in protocol.solvers)


def _director(protocol: Protocol, victim: Victim) -> Steered:
    """Find the best director on separate episodes, by attacks of one step."""
    seed = victim.match.seed
    few = replace(
        victim, match=victim.match.resized(protocol.director_episodes, derive(seed, "director"))
    )

    def returns(director: Steered) -> float:
        step = ProjectedGradientAscent(victim.ball(protocol.epsilon), director, steps=1)
        return float(played(few, "steer", step).record.returns.mean())

    actions = victim.actor.head.outputs // 2
    return best_director(returns, victim.actor.features, actions, protocol.director_draws, seed)


def _sarsa(protocol: Protocol, kappa: float, victim: Victim) -> Objective:
    """The objective that prefers actions of low value in Robust Sarsa's Q."""

    def fit() -> tuple[OnlineValue, float]:
        episodes, seed = 50 if protocol.critic_steps >= 5000 else 10, victim.match.seed
        apart: Any = victim.match.resized(episodes, derive(seed, "critic"))
        cut = replace(apart, limit=protocol.critic_steps // episodes)
        low, high = limits = victim.actor.head.limits
        return fit_robust_sarsa(
            explore(cut, victim.actor, share=0.0),
            torch.Generator().manual_seed(seed),
            radius=0.1 * (high - low),
            weight=kappa,
            discount=protocol.config.discount,
            batch=512,
            limits=limits,
        )

    return victim.least(victim.fitted(f"rs_{kappa:g}", fit))


def worst(returns: dict[str, Sequence[float]], names: Sequence[str]) -> tuple[float, str]:
    """Lowest mean return, and its attack, over attacks whose names start with one of ``names``."""
    means = {
        attack: float(np.mean(values))
        for attack, values in returns.items()
        if attack != "none" and attack.startswith(tuple(names))
    }
    attack = min(means, key=means.__getitem__)
    return means[attack], attack
