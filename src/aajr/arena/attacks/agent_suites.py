"""The suites for any agent in any environment, and which of their attacks a case allows.

Their efforts suit tens of episodes of up to a thousand steps: critics are fitted to few episodes,
with a least number of gradient steps. As in :mod:`aajr.arena.attacks.suites`, a change of the
attacks or of the effort raises the version.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from aajr._checks import check_choice
from aajr.arena.attacks import builders as build
from aajr.arena.attacks.builders import Builder
from aajr.arena.attacks.learned import Kind as Commands
from aajr.arena.attacks.steering import steered
from aajr.arena.attacks.suites import AttackSpec, Kind, Norm, Suite
from aajr.arena.environments.acting import WithActions
from aajr.arena.environments.protocols import AgentLike, Environment
from aajr.arena.settings import USUAL, Effort, Learning
from aajr.arena.threats import Threat
from aajr.geometry import Ball

FEATURES = "features"

GRID = (Learning("slow", learning_rate=3e-4), Learning("far", discount=0.995))
"""Further settings of the attackers that learn in ``thorough``; the best attacker counts."""

EXPLORING = (Learning("coverage", coverage=0.5), Learning("reward_free", coverage=1.0))
"""Attackers that are also, or only, rewarded for new states of the victim, in ``thorough``."""

_SEEN: tuple[Threat, ...] = ("full", "others")
_REPORTS: tuple[Threat, ...] = ("reports",)
_CUBE: tuple[Norm, ...] = ("linf",)


def _lying(name: str, kind: Kind, search: Builder) -> AttackSpec:
    """A search over every coalition of k of the n sources."""
    return AttackSpec(name, kind, build.liars("all", search), _REPORTS, norms=_CUBE)


def _learned(kind: Commands, learning: Learning = USUAL) -> AttackSpec:
    """An attacker that learns."""
    return AttackSpec(
        learning.named(kind),
        "learned",
        build.learned(kind, learning),
        by_gradients=kind == "pa_ad",
        learning=learning,
    )


def _learned_liars(kind: Commands, learning: Learning = USUAL) -> AttackSpec:
    """An attacker that learns which sources lie, and what they report."""
    return AttackSpec(
        learning.named(f"liars_{kind}"),
        "learned",
        build.learned_liars(kind, learning=learning),
        _REPORTS,
        norms=_CUBE,
        by_gradients=kind == "pa_ad",
        learning=learning,
    )


AGENT_QUICK = Suite(
    "agent-quick",
    version=1,
    effort=Effort(steps=5, restarts=1, queries=50, critic_episodes=20, critic_updates=400),
    attacks=(
        AttackSpec("noise", "noise", build.noise),
        AttackSpec("pgd_mad", "gradient", build.pgd_mad, _SEEN),
        AttackSpec("critic_0", "gradient", build.critic(0)),
        AttackSpec("value", "gradient", build.value, _SEEN),
        AttackSpec("square", "black_box", build.square),
        AttackSpec(
            "liars_noise", "noise", build.liars("random", build.noise), _REPORTS, norms=_CUBE
        ),
        _lying("liars_mad", "gradient", build.pgd_mad),
        _lying("liars_critic_0", "gradient", build.critic(0)),
        _lying("liars_square", "black_box", build.square),
    ),
)

AGENT_STANDARD = Suite(
    "agent-standard",
    version=1,
    effort=Effort(
        critic_episodes=50, critic_updates=1000, attacker_iterations=20, attacker_environments=16
    ),
    attacks=(
        *AGENT_QUICK.attacks,
        AttackSpec("critic_1", "gradient", build.critic(1)),
        AttackSpec("apgd_mad", "gradient", build.apgd_mad, _SEEN),
        AttackSpec("robust_sarsa", "gradient", build.robust_sarsa(0.1)),
        AttackSpec("rs_mad", "gradient", build.rs_mad(0.5), _SEEN),
        AttackSpec("transfer", "black_box", build.transfer, _SEEN),
        AttackSpec("steered", "gradient", steered),
        _learned("pa_ad"),
        _learned("sa_rl"),
        AttackSpec("sparse", "structured", build.sparse, _SEEN, norms=_CUBE, by_gradients=True),
        AttackSpec("temporal", "structured", build.temporal, by_gradients=True),
        _lying("liars_rs_mad", "gradient", build.rs_mad(0.5)),
        _learned_liars("pa_ad"),
        AttackSpec("drift", "structured", build.drift, _REPORTS, norms=_CUBE, by_gradients=True),
    ),
)

AGENT_THOROUGH = Suite(
    "agent-thorough",
    version=2,  # since 2 attackers learn with several settings, some by exploring
    effort=Effort(
        steps=20,
        restarts=5,
        queries=400,
        sweeps=2,
        critic_episodes=200,
        critic_updates=4000,
        attacker_iterations=200,
        attacker_environments=32,
        director_draws=64,
        director_episodes=10,
    ),
    attacks=(
        *AGENT_STANDARD.attacks,
        AttackSpec("critic_2", "gradient", build.critic(2)),
        AttackSpec("fgsm", "gradient", build.fast_gradient),
        AttackSpec("targeted", "gradient", build.targeted),
        AttackSpec("robust_sarsa_0.01", "gradient", build.robust_sarsa(0.01)),
        AttackSpec("robust_sarsa_1", "gradient", build.robust_sarsa(1.0)),
        AttackSpec("rs_mad_0.25", "gradient", build.rs_mad(0.25), _SEEN),
        AttackSpec("rs_mad_0.75", "gradient", build.rs_mad(0.75), _SEEN),
        AttackSpec("smoothed", "gradient", build.smoothed),
        AttackSpec("random_search", "black_box", build.random_search),
        AttackSpec("nes", "black_box", build.nes),
        AttackSpec("spsa", "black_box", build.spsa),
        AttackSpec("cma_es", "black_box", build.cma_es, package="cma"),
        *(_learned("pa_ad", one) for one in GRID),
        *(_learned("sa_rl", one) for one in (*GRID, *EXPLORING)),
        *(_learned_liars("pa_ad", one) for one in GRID),
        AttackSpec("quantised", "structured", build.quantised, norms=("linf",)),
        AttackSpec("episode_budget", "structured", build.episode_budget, by_gradients=True),
        AttackSpec("dropped", "structured", build.dropped, _SEEN, FEATURES),
        AttackSpec("frozen", "structured", build.frozen, _SEEN, FEATURES),
        AttackSpec("delayed", "structured", build.delayed, _SEEN, build.VIEWS),
        AttackSpec(
            "lying_teammates",
            "structured",
            build.lies,
            _SEEN,
            build.CLAIMS,
            by_gradients=True,
            teammates=True,
        ),
    ),
)

AGENT_SUITES: dict[str, Suite] = {
    suite.name.removeprefix("agent-"): suite
    for suite in (AGENT_QUICK, AGENT_STANDARD, AGENT_THOROUGH)
}
"""The suites by their short names; each contains the attacks of the one before."""


def agent_suite(name: str) -> Suite:
    """Return a suite for any agent by its name.

    Example:
        >>> agent_suite("quick").version
        1
    """
    check_choice("suite", name, tuple(AGENT_SUITES))
    return AGENT_SUITES[name]


def threat_of(environment: Environment[Any]) -> Threat:
    """``actions`` if the environment shows actions, ``reports`` if sources may lie, or ``full``."""
    if isinstance(environment, WithActions):
        return "actions"
    return "reports" if environment.liars else "full"


def fitting(
    suite: Suite, agents: Sequence[AgentLike], environment: Environment[Any], ball: Ball
) -> tuple[Suite, dict[str, str]]:
    """The part of a suite that can run, and the other attacks with the reason of each.

    Attacks of another threat than :func:`threat_of` the environment are no part of it.

    Raises:
        ValueError: no attack can run.
    """
    attacks, left_out = suite.against(threat_of(environment)), {}
    for spec in attacks:
        reasons = (_reason(spec, agent, environment, ball) for agent in agents)
        if reason := next(filter(None, reasons), ""):
            left_out[spec.name] = reason
    if len(left_out) == len(attacks):
        raise ValueError(f"no attack of the suite {suite.name!r} can run: {left_out}")
    kept = tuple(spec for spec in attacks if spec.name not in left_out)
    return replace(suite, attacks=kept), left_out


def _reason(spec: AttackSpec, agent: AgentLike, environment: Environment[Any], ball: Ball) -> str:
    """Why an attack cannot run; empty if it can."""
    if spec.needs_gradients and not getattr(agent, "differentiable", True):
        return "needs gradients of the policy, and this agent gives none"
    if ball.norm not in spec.norms:
        return f"is defined in balls of the norm {' or '.join(spec.norms)} only"
    if spec.teammates and environment.agents < 2:
        return "needs teammates, and the environment has one agent"
    if spec.package and importlib.util.find_spec(spec.package) is None:
        return f"needs the package {spec.package}: pip install 'aajr[attacks]'"
    return ""
