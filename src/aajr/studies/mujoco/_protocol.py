"""Methods and presets of the MuJoCo study, and the published results."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from aajr.jax.ppo import PPOConfig
from aajr.studies.mujoco import _recipes as recipes
from aajr.studies.mujoco._recipes import Training

Knob = Literal["learning rate", "training radius", "weight"]


@dataclass(frozen=True)
class Method:
    """One way to train, with one tuned hyperparameter.

    Attributes:
        name: name in runs and results.
        title: name in tables.
        knob: the tuned hyperparameter: ``learning rate`` (a factor), ``training radius`` (a factor
            on ε), or ``weight`` (λ).
        candidates: values tried on the validation seeds; every tuned method has equally many.
        recipe: function of the protocol and a candidate that returns how to train.
    """

    name: str
    title: str
    knob: Knob
    candidates: tuple[float, ...]
    recipe: Training

    def facts(self) -> dict[str, Any]:
        """The settings as JSON values; of the function its name."""
        own = f"{self.recipe.__module__}.{self.recipe.__qualname__}"
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)} | {"recipe": own}


_RADII = (0.5, 1.0, 2.0)
_DIVERGENCE = (0.03, 0.1, 0.3)
_JACOBIAN = (0.001, 0.003, 0.01)
_RANDOM = tuple(10 * weight for weight in _JACOBIAN)

EVERY = (
    Method("plain", "PPO, tuned", "learning rate", (0.3, 1.0, 3.0), recipes.plain),
    Method("recipe", "PPO, as the recipe", "learning rate", (1.0,), recipes.plain),
    Method("noise", "uniform noise", "training radius", _RADII, recipes.noise),
    Method("adversarial", "adversarial", "training radius", _RADII, recipes.adversarial),
    Method("sa", "SA", "weight", _DIVERGENCE, recipes.sa),
    Method("sa_bound", "SA, interval bounds", "weight", (0.01, 0.1, 1.0), recipes.sa_bound),
    Method("global", "global Frobenius", "weight", _JACOBIAN, recipes.frobenius),
    Method("random_direction", "random direction", "weight", _RANDOM, recipes.random_direction),
    Method("aajr", "AAJR", "weight", _JACOBIAN, recipes.aajr),
    Method("aajr_value", "AAJR along V", "weight", _JACOBIAN, recipes.aajr_value),
    Method(
        "aajr_adversarial", "AAJR and adversarial", "weight", _JACOBIAN, recipes.aajr_adversarial
    ),
    Method("atla", "ATLA", "training radius", _RADII, recipes.atla),
    Method("atla_director", "ATLA by PA-AD", "training radius", _RADII, recipes.atla_director),
    Method("atla_sa", "ATLA and SA", "weight", _DIVERGENCE, recipes.atla_sa),
    Method("atla_aajr", "ATLA and AAJR", "weight", _JACOBIAN, recipes.atla_aajr),
)
"""All methods without a memory. The method ``recipe`` is not tuned. Among n inputs, ‖Jv‖² along a
random direction is on average 1/n of ‖J‖²_F; its weights are therefore larger. The weights are for
several actions; they were bracketed on Hopper."""


LSTM = (
    Method("lstm", "PPO, LSTM", "learning rate", (0.3, 1.0, 3.0), recipes.lstm),
    Method("lstm_atla_sa", "ATLA and SA, LSTM", "weight", _DIVERGENCE, recipes.lstm_atla_sa),
    Method("lstm_atla_aajr", "ATLA and AAJR, LSTM", "weight", _JACOBIAN, recipes.lstm_atla_aajr),
)
"""Policies with a memory, for ``--set extra=aajr.studies.mujoco:LSTM``."""


def _named(*names: str) -> tuple[Method, ...]:
    """Methods by their names, in the order of :data:`EVERY`."""
    return tuple(method for method in EVERY if method.name in names)


_PENDULUM_WEIGHTS: dict[str, tuple[float, ...]] = {
    "sa": (0.1, 0.3, 1.0),
    "global": (0.01, 0.03, 0.1),
    "random_direction": (0.1, 0.3, 1.0),
    "aajr": (0.01, 0.03, 0.1),
}

_SIMPLE = tuple(
    dataclasses.replace(method, candidates=_PENDULUM_WEIGHTS.get(method.name, method.candidates))
    for method in _named(
        *("plain", "recipe", "noise", "adversarial", "sa", "global", "random_direction", "aajr")
    )
)
"""Methods for one action, where J has one row and others would repeat these."""

METHODS = _named(
    *("recipe", "noise", "adversarial", "sa", "global", "random_direction", "aajr"),
    *("atla_sa", "atla_aajr"),
)
"""Methods for several actions: plain PPO and every kind of robust training."""

FURTHER = tuple(method for method in EVERY if method not in METHODS)
"""The others, for ``--set extra=aajr.studies.mujoco:FURTHER``."""


@dataclass(frozen=True)
class Attacker:
    """How an adversary of a finished agent learns.

    Attributes:
        name: name of the attack; it also decides the first policy.
        kind: ``sa_rl`` or ``pa_ad``.
        config: settings of PPO; their ``steps`` are replaced by the protocol's.
        coverage: share of a reward for leading the agent to states where it seldom is.
    """

    name: str
    kind: Literal["sa_rl", "pa_ad"]
    config: PPOConfig
    coverage: float = 0.0


_LINEAR = PPOConfig(
    learning_rate=1e-2, discount=0.995, trace=0.97, hidden=(), scale=2.0, log_std=-1.0
)
"""A linear director: it starts as a random function of the state, and learns fast."""

_DEEP = PPOConfig(learning_rate=1e-3, discount=0.995, trace=0.97, scale=1.0, log_std=-1.0)
_RECIPE = PPOConfig(learning_rate=1e-3)

ATTACKERS = (
    Attacker("pa_ad", "pa_ad", _LINEAR),
    Attacker("pa_ad_second", "pa_ad", _LINEAR),
    Attacker("sa_rl", "sa_rl", _LINEAR),
    Attacker("sa_rl_recipe", "sa_rl", _RECIPE),
)
"""Learned attackers of every final agent; only the worst of a kind counts."""

BESIDE = (
    Attacker("pa_ad_deep", "pa_ad", _DEEP),
    Attacker("sa_rl_deep", "sa_rl", _DEEP),
    Attacker("imap", "sa_rl", _LINEAR, coverage=0.5),
)
"""Further attackers of one agent of every method: whether others would have found more. The last is
no part of the common worst case."""


@dataclass(frozen=True)
class Protocol:
    """The study's fixed choices.

    Attributes:
        name: name of the preset.
        environment: name that Gymnasium knows, or ``envpool:`` before one that EnvPool knows.
        epsilon: L∞ radius in units of the agent's normalised observations: 1 is the standard
            deviation of the state in the agent's own running statistics.
        solved: natural return of a policy that solves the task.
        config: settings of PPO.
        ramp: share of the run in which the training radius grows from 0.
        inner_steps: number of steps of the search in training.
        fraction: share of the rows whose Jacobian is penalised.
        validation_seeds: seeds on which methods are tuned.
        final_seeds: seeds that are reported; nothing is chosen on them.
        episodes: number of episodes of each agent and attack on the final seeds.
        validation_episodes: the same number on the validation seeds.
        solvers: how the attacks search the worst point: by projected ``gradient`` ascent, at all
            ``vertices`` of the ball, or both, each as an attack of its own.
        attack_steps: number of steps of projected gradient ascent; their lengths sum to 2.5 ε.
        attack_restarts: number of restarts from random points.
        thorough_steps: number of steps of the longer ascent that checks the attacks, on one agent
            per method.
        thorough_restarts: number of restarts of the longer ascent.
        director_draws: number of random directors that the steered attack tries.
        director_episodes: number of episodes that estimate a director's return.
        kappas: weights κ of Robust Sarsa's robustness term.
        mixtures: weights of MAD in RS + MAD.
        critic_steps: environment steps from which a Robust Sarsa critic is fitted.
        attackers: attackers that learn against every final agent; the first one, for fewer steps,
            on the validation seeds.
        beside: attackers that learn against one agent of every method.
        attacker_steps: environment steps from which an attacker learns.
        validation_steps: the same on the validation seeds.
        methods: methods that are compared.
        extra: further methods, as ``package.module:NAME`` of one or of a tuple; empty for none.
    """

    name: str
    environment: str
    epsilon: float
    solved: float
    config: PPOConfig = PPOConfig()  # noqa: RUF009
    ramp: float = 0.75
    inner_steps: int = 2
    fraction: float = 0.25
    validation_seeds: tuple[int, ...] = (100, 101)
    final_seeds: tuple[int, ...] = tuple(range(11))
    episodes: int = 50
    validation_episodes: int = 20
    solvers: tuple[Literal["gradient", "vertices"], ...] = ("gradient",)
    attack_steps: int = 10
    attack_restarts: int = 2
    thorough_steps: int = 40
    thorough_restarts: int = 3
    director_draws: int = 24
    director_episodes: int = 6
    kappas: tuple[float, ...] = (0.1, 1.0)
    mixtures: tuple[float, ...] = (0.3, 0.7)
    critic_steps: int = 20_000
    attackers: tuple[Attacker, ...] = ATTACKERS
    beside: tuple[Attacker, ...] = BESIDE
    attacker_steps: int = 501_760
    validation_steps: int = 100_352
    methods: tuple[Method, ...] = METHODS
    extra: str = ""

    def facts(self) -> dict[str, Any]:
        """All settings as JSON values."""
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return own | {
            "config": dataclasses.asdict(self.config),
            "attackers": [dataclasses.asdict(one) for one in self.attackers],
            "beside": [dataclasses.asdict(one) for one in self.beside],
            "methods": [method.facts() for method in self.methods],
        }


_PENDULUM = Protocol(
    "standard",
    "envpool:InvertedPendulum-v5",
    0.3,
    1000.0,
    config=PPOConfig(steps=102_400, segment=10),
    solvers=("gradient", "vertices"),
    attack_steps=20,
    attackers=(ATTACKERS[0], ATTACKERS[2]),
    beside=(),
    attacker_steps=61_440,
    validation_steps=20_480,
    methods=_SIMPLE,
)

PROTOCOLS: dict[str, Protocol] = {
    "smoke": dataclasses.replace(
        _PENDULUM,
        name="smoke",
        environment="InvertedPendulum-v5",
        config=PPOConfig(steps=4096, environments=8, rollout=64, segment=4),
        validation_seeds=(100,),
        final_seeds=(0, 1, 2),
        episodes=4,
        validation_episodes=2,
        attack_steps=5,
        attack_restarts=1,
        thorough_steps=8,
        thorough_restarts=1,
        director_draws=2,
        director_episodes=2,
        kappas=(0.1,),
        mixtures=(0.5,),
        critic_steps=800,
        attacker_steps=2048,
        validation_steps=1024,
        methods=tuple(
            dataclasses.replace(method, candidates=method.candidates[:1])
            for method in _named("plain", "aajr", "atla")
        ),
    ),
    "standard": _PENDULUM,
    "hopper": Protocol("hopper", "envpool:Hopper-v5", 0.075, 3000.0),
    "walker": Protocol("walker", "envpool:Walker2d-v5", 0.05, 4000.0, final_seeds=tuple(range(5))),
    "cheetah": Protocol(
        "cheetah", "envpool:HalfCheetah-v5", 0.15, 4800.0, final_seeds=tuple(range(5))
    ),
    "ant": Protocol("ant", "envpool:Ant-v5", 0.15, 5000.0, final_seeds=tuple(range(5))),
}
"""``smoke`` takes a minute, ``standard`` an estimated hour on two cores, the others many hours."""


@dataclass(frozen=True)
class Published:
    """A published result, computed with other code.

    Attributes:
        method: name of the method in the publication.
        natural: return without attack.
        worst: return under the worst attack of the publication.
        attacks: which attacks these were: ``five``, ``six``, or ``own`` for a suite of its own.
        source: the publication.
    """

    method: str
    natural: float
    worst: float
    attacks: str
    source: str


_SA = "Zhang et al., 2020, https://arxiv.org/abs/2003.08938"
_ATLA = "Zhang et al., 2021, https://arxiv.org/abs/2101.08452"
_BAR = "BAR-PPO, ICLR 2026"
_FIVE, _OWN, _SIX = "five", "own", "six"

PUBLISHED: dict[str, tuple[Published, ...]] = {
    "InvertedPendulum": (
        Published("DDPG", 1000, 92, _FIVE, _SA),
        Published("SA-DDPG (SGLD)", 1000, 423, _FIVE, _SA),
        Published("SA-DDPG (convex)", 1000, 1000, _FIVE, _SA),
    ),
    "Hopper": (
        Published("PPO", 3167, 636, _OWN, _ATLA),
        Published("SA-PPO (convex)", 3705, 1076, _OWN, _ATLA),
        Published("ATLA-PPO (LSTM, SA)", 3291, 1772, _OWN, _ATLA),
        Published("BAR-PPO", 3684, 1340, _SIX, _BAR),
    ),
    "Walker2d": (
        Published("PPO", 4472, 1086, _OWN, _ATLA),
        Published("SA-PPO (convex)", 4487, 2908, _OWN, _ATLA),
        Published("ATLA-PPO (LSTM, SA)", 3842, 3663, _OWN, _ATLA),
        Published("BAR-PPO", 4732, 2699, _SIX, _BAR),
    ),
    "HalfCheetah": (
        Published("PPO", 7117, -661, _OWN, _ATLA),
        Published("SA-PPO (convex)", 3632, 3028, _OWN, _ATLA),
        Published("ATLA-PPO (LSTM, SA)", 6157, 5058, _OWN, _ATLA),
        Published("BAR-PPO", 4837, 3181, _SIX, _BAR),
    ),
    "Ant": (
        Published("PPO", 5687, -872, _OWN, _ATLA),
        Published("SA-PPO (convex)", 4292, 2511, _OWN, _ATLA),
        Published("ATLA-PPO (LSTM, SA)", 5359, 3765, _OWN, _ATLA),
        Published("BAR-PPO", 5024, 2825, _SIX, _BAR),
    ),
}
"""Published results by environment, from other code, older environments and other networks."""


def published(environment: str) -> tuple[Published, ...]:
    """Published results for an environment of whatever version; none for unknown ones."""
    return PUBLISHED.get(environment.rpartition(":")[2].rpartition("-")[0], ())
