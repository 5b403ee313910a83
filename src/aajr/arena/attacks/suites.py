"""The attack suites and their versions.

A change of a suite's attacks, their settings or its effort changes what its figures mean and raises
its version. Results hold the version; results of different versions are not compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from aajr._checks import check_choice
from aajr.adversaries import Adversary
from aajr.arena.attacks import builders as build
from aajr.arena.attacks.victim import Victim
from aajr.arena.settings import Effort, Learning
from aajr.arena.threats import Threat
from aajr.geometry import Ball

Norm = Literal["linf", "l2"]
Kind = Literal["noise", "gradient", "black_box", "structured", "learned"]

_OBSERVED: tuple[Threat, ...] = ("full", "others")
_REPORTS: tuple[Threat, ...] = ("reports",)
_ALL: tuple[Threat, ...] = (*_OBSERVED, "actions")


@dataclass(frozen=True)
class AttackSpec:
    """One attack of a suite.

    Attributes:
        name: name of the attack in results.
        kind: kind of the attack; a black-box attack that beats every gradient attack is reported
            as a finding.
        build: function from the ball of the threat and the victim to the adversary.
        threats: threat models for which it is used.
        unit: unit of its own budget; empty if its budget is ε.
        on_logits: whether it always shifts the action's logits instead of the observation.
        norms: norms of the balls in which it is defined.
        by_gradients: whether it needs gradients of the policy; None for those of kind ``gradient``.
        teammates: whether it needs teammates.
        package: package that it needs and that may be missing; empty for none.
        learning: how its attacker learns; None for an attack that does not, or where the suite
            says nothing of it.
    """

    name: str
    kind: Kind
    build: Callable[[Ball, Victim], Adversary]
    threats: tuple[Threat, ...] = _ALL
    unit: str = ""
    on_logits: bool = False
    norms: tuple[Norm, ...] = ("linf", "l2")
    by_gradients: bool | None = None
    teammates: bool = False
    package: str = ""
    learning: Learning | None = None

    @property
    def needs_gradients(self) -> bool:
        """Whether it needs gradients of the policy."""
        return self.kind == "gradient" if self.by_gradients is None else self.by_gradients

    @property
    def fixed(self) -> bool:
        """Whether it has its own budget, which does not grow with ε."""
        return bool(self.unit)


@dataclass(frozen=True)
class Suite:
    """Attacks that are run together, with their effort.

    Attributes:
        name: name of the suite.
        version: version, raised whenever the meaning of the figures changes.
        effort: effort of the attacks.
        attacks: the attacks, in the order of the tables.

    Raises:
        ValueError: no attacks, two attacks of one name, or one named ``none``.
    """

    name: str
    version: int
    effort: Effort
    attacks: tuple[AttackSpec, ...]

    def __post_init__(self) -> None:
        names = [attack.name for attack in self.attacks]
        if len(set(names)) < len(names) or not names or "none" in names:
            raise ValueError(f"attacks={names} is not allowed; give each a name of its own")

    def against(self, threat: Threat) -> tuple[AttackSpec, ...]:
        """The attacks for a threat model."""
        return tuple(attack for attack in self.attacks if threat in attack.threats)

    def facts(self) -> dict[str, Any]:
        """Name, version, effort and attacks, as JSON values."""
        facts = {"name": self.name, "version": self.version, "effort": asdict(self.effort)}
        return facts | {"attacks": [_facts(attack) for attack in self.attacks]}


def _facts(spec: AttackSpec) -> dict[str, Any]:
    facts = {"name": spec.name, "kind": spec.kind, "unit": spec.unit}
    return facts | ({} if spec.learning is None else {"learning": asdict(spec.learning)})


def _critic(index: int) -> AttackSpec:
    return AttackSpec(f"critic_{index}", "gradient", build.critic(index))


def _lying_critic(index: int) -> AttackSpec:
    search = build.liars("all", build.critic(index))
    return AttackSpec(f"liars_critic_{index}", "gradient", search, _REPORTS)


QUICK = Suite(
    "quick",
    version=2,  # since 2 Square's block sizes depend on the number of queries
    effort=Effort(steps=5, restarts=1, queries=50),
    attacks=(
        AttackSpec("noise", "noise", build.noise),
        AttackSpec("pgd_mad", "gradient", build.pgd_mad),
        _critic(0),
        AttackSpec("square", "black_box", build.square),
        AttackSpec("liars_noise", "noise", build.liars("random", build.noise), _REPORTS),
        AttackSpec("liars_mad", "gradient", build.liars("all", build.pgd_mad), _REPORTS),
        _lying_critic(0),
        AttackSpec("other_side", "gradient", build.other_side, _REPORTS),
    ),
)

STANDARD = Suite(
    "standard",
    version=3,  # since 3 an attacker learns to lie; since 2 Square's blocks depend on the queries
    effort=Effort(),
    attacks=(
        *QUICK.attacks,
        _critic(1),
        AttackSpec("apgd_mad", "gradient", build.apgd_mad),
        AttackSpec("rs_mad", "gradient", build.rs_mad(0.5)),
        AttackSpec("transfer", "black_box", build.transfer, _OBSERVED),
        AttackSpec("pa_ad", "learned", build.learned("pa_ad"), _OBSERVED),
        AttackSpec("sparse", "structured", build.sparse),
        AttackSpec("temporal", "structured", build.temporal),
        AttackSpec("dropped", "structured", build.dropped, _OBSERVED, unit=build.ITEMS),
        _lying_critic(1),
        AttackSpec("liars_rs_mad", "gradient", build.liars("all", build.rs_mad(0.5)), _REPORTS),
        AttackSpec("liars_random", "structured", build.liars("random", build.critic(0)), _REPORTS),
        AttackSpec("liars_ranked", "gradient", build.liars("gradient", build.critic(0)), _REPORTS),
        AttackSpec("liars_fixed", "structured", build.liars("given", build.critic(0)), _REPORTS),
        AttackSpec("drift", "structured", build.drift, _REPORTS),
        AttackSpec("liars_pa_ad", "learned", build.learned_liars("pa_ad"), _REPORTS),
        AttackSpec("any_lie", "structured", build.any_lie, _REPORTS, unit=build.CLAIMS),
    ),
)

THOROUGH = Suite(
    "thorough",
    version=3,  # since 3 attackers learn to lie; since 2 Square's blocks depend on the queries
    effort=Effort(
        steps=20,
        restarts=5,
        queries=400,
        sweeps=2,
        critic_episodes=1024,
        attacker_iterations=200,
        attacker_environments=128,
    ),
    attacks=(
        *STANDARD.attacks,
        _critic(2),
        AttackSpec("fgsm", "gradient", build.fast_gradient),
        AttackSpec("value", "gradient", build.value, _OBSERVED),
        AttackSpec("targeted", "gradient", build.targeted, _OBSERVED),
        AttackSpec("robust_sarsa_0.01", "gradient", build.robust_sarsa(0.01)),
        AttackSpec("robust_sarsa", "gradient", build.robust_sarsa(0.1)),
        AttackSpec("robust_sarsa_1", "gradient", build.robust_sarsa(1.0)),
        AttackSpec("rs_mad_0.25", "gradient", build.rs_mad(0.25)),
        AttackSpec("rs_mad_0.75", "gradient", build.rs_mad(0.75)),
        AttackSpec("smoothed", "gradient", build.smoothed),
        AttackSpec("random_search", "black_box", build.random_search),
        AttackSpec("nes", "black_box", build.nes),
        AttackSpec("spsa", "black_box", build.spsa),
        AttackSpec("cma_es", "black_box", build.cma_es),
        AttackSpec("sa_rl", "learned", build.learned("sa_rl"), _OBSERVED),
        AttackSpec("quantised", "structured", build.quantised),
        AttackSpec("episode_budget", "structured", build.episode_budget),
        AttackSpec("frozen", "structured", build.frozen, _OBSERVED, unit=build.ITEMS),
        AttackSpec("delayed", "structured", build.delayed, _OBSERVED, unit=build.VIEWS),
        AttackSpec("lying_teammates", "structured", build.lies, _OBSERVED, unit=build.CLAIMS),
        _lying_critic(2),
        AttackSpec(
            "liars_sarsa", "gradient", build.liars("all", build.robust_sarsa(0.1)), _REPORTS
        ),
        AttackSpec("liars_sa_rl", "learned", build.learned_liars("sa_rl"), _REPORTS),
        AttackSpec(
            "liars_pa_ad_fixed", "learned", build.learned_liars("pa_ad", stay=True), _REPORTS
        ),
        AttackSpec("actions", "gradient", build.actions, _OBSERVED, build.LOGITS, on_logits=True),
    ),
)

SUITES: dict[str, Suite] = {suite.name: suite for suite in (QUICK, STANDARD, THOROUGH)}
"""The suites by name; each contains the attacks of the one before."""


def suite_of(name: str) -> Suite:
    """Return a suite by its name.

    Example:
        >>> suite_of("quick").version
        2
    """
    check_choice("suite", name, tuple(SUITES))
    return SUITES[name]
