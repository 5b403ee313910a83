"""The yardstick's methods and presets, and the published figures beside them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

PresetName = Literal["smoke", "standard", "hopper"]
Placement = Literal["adversarial", "clean"]


@dataclass(frozen=True)
class Method:
    """One way to train, with the one number that is tuned.

    Attributes:
        name: of its runs.
        title: in tables.
        knob: what is tuned: ``learning rate`` (a factor), ``training radius`` (a factor on ε), or
            ``weight`` (λ).
        candidates: values tried on the validation seeds; every tuned method has as many.
        penalty: name of the penalty, None for none.
        placement: where the surrogate is taken; None without an adversary.
    """

    name: str
    title: str
    knob: Literal["learning rate", "training radius", "weight"]
    candidates: tuple[float, ...]
    penalty: str | None = None
    placement: Placement | None = None


_WEIGHTS = (0.03, 0.1, 0.3)

METHODS = (
    Method("plain", "vanilla, tuned", "learning rate", (0.3, 1.0, 3.0)),
    Method("recipe", "vanilla, as the recipe", "learning rate", (1.0,)),
    Method(
        "adversarial", "adversarial", "training radius", (0.5, 1.0, 1.5), placement="adversarial"
    ),
    Method("global", "global Frobenius", "weight", _WEIGHTS, "frobenius", "clean"),
    Method(
        "random_direction",
        "random direction",
        "weight",
        (0.1, 0.3, 1.0),
        "random_direction",
        "clean",
    ),
    Method("sa", "SA (KL at the worst point)", "weight", (0.1, 0.3, 1.0), "sa", "clean"),
    Method("aajr", "AAJR", "weight", _WEIGHTS, "aajr", "clean"),
)
"""All methods; the recipe's own vanilla is not tuned.

The penalties stand beside SB3's own surrogate; a random direction of n inputs has 1/n of the square
of the whole Jacobian, whence its larger weights.
"""


@dataclass(frozen=True)
class Protocol:
    """The study's fixed choices.

    Attributes:
        name: of the preset.
        environment: Gymnasium's name.
        epsilon: L∞ radius in normalised units: 1 is the standard deviation of the state in the
            running statistics of a vanilla agent, trained on the reference seed.
        solved: natural return of a policy that does all that can be done.
        steps: environment steps of a training run.
        segments: parts of a run; after each it can be resumed.
        environments: stepped side by side.
        rollout: steps of each environment per update.
        batch: rows per minibatch.
        epochs: passes over a rollout.
        learning_rate: of Adam.
        discount: γ.
        ramp: shares of the run between which ε grows from 0 to the training radius.
        inner_steps: of the adversary in training.
        fraction: share of the rows whose Jacobian is penalised.
        reference_seed: of the agent whose statistics normalise all.
        validation_seeds: of the tuning.
        final_seeds: of the figures; no choice is made on them.
        episodes: for a figure.
        validation_episodes: for a choice.
        search: how the attacks look for the worst point: all ``vertices`` of the ball, or projected
            ``gradient`` ascent where the observation has too many features.
        attack_steps: of projected gradient ascent, 2.5 ε long together.
        attack_restarts: of it, from random points.
        thorough_steps: of the projected gradient ascent that checks the others' strength, on one
            agent a method.
        thorough_restarts: of it.
        director_draws: random directors of the steered attack.
        director_episodes: behind each one's return.
        kappas: weights of Robust Sarsa's bound.
        mixtures: weights of MAD in RS + MAD.
        critic_steps: environment steps behind a Robust Sarsa critic.
        methods: what is compared.
    """

    name: PresetName
    environment: str
    epsilon: float
    solved: float
    steps: int
    segments: int = 1
    environments: int = 8
    rollout: int = 256
    batch: int = 64
    epochs: int = 10
    learning_rate: float = 3e-4
    discount: float = 0.99
    ramp: tuple[float, float] = (0.25, 0.75)
    inner_steps: int = 3
    fraction: float = 0.25
    reference_seed: int = 1000
    validation_seeds: tuple[int, ...] = (100, 101)
    final_seeds: tuple[int, ...] = tuple(range(11))
    episodes: int = 50
    validation_episodes: int = 20
    search: Literal["vertices", "gradient"] = "vertices"
    attack_steps: int = 20
    attack_restarts: int = 2
    thorough_steps: int = 20
    thorough_restarts: int = 3
    director_draws: int = 24
    director_episodes: int = 6
    kappas: tuple[float, ...] = (0.1, 1.0)
    mixtures: tuple[float, ...] = (0.3, 0.7)
    critic_steps: int = 20_000
    methods: tuple[Method, ...] = METHODS


PROTOCOLS: dict[PresetName, Protocol] = {
    "smoke": Protocol(
        "smoke",
        "InvertedPendulum-v5",
        0.3,
        1000.0,
        steps=4096,
        segments=2,
        environments=4,
        validation_seeds=(100,),
        final_seeds=(0, 1, 2),
        episodes=4,
        validation_episodes=2,
        thorough_steps=4,
        thorough_restarts=2,
        director_draws=2,
        director_episodes=2,
        kappas=(0.1,),
        mixtures=(0.5,),
        critic_steps=800,
        methods=tuple(
            dataclasses.replace(method, candidates=method.candidates[:1]) for method in METHODS
        ),
    ),
    "standard": Protocol("standard", "InvertedPendulum-v5", 0.3, 1000.0, steps=65_536, segments=2),
    "hopper": Protocol(
        "hopper",
        "Hopper-v5",
        0.075,
        3000.0,
        steps=2_007_040,
        segments=20,
        ramp=(0.0, 0.75),
        search="gradient",
        thorough_steps=40,
    ),
}
"""``standard`` is InvertedPendulum in about an hour on two cores; ``hopper`` takes a night."""


@dataclass(frozen=True)
class Published:
    """A figure of others, from other code: the median of 11 agents.

    Attributes:
        method: theirs.
        natural: return without attack.
        worst: return under the worst of five attacks.
        source: where it stands.
    """

    method: str
    natural: float
    worst: float
    source: str


_SA = "Zhang et al., 2020, https://arxiv.org/abs/2003.08938"
PUBLISHED: dict[str, tuple[Published, ...]] = {
    "InvertedPendulum-v5": (
        Published("DDPG", 1000, 92, _SA),
        Published("SA-DDPG (SGLD)", 1000, 423, _SA),
        Published("SA-DDPG (convex)", 1000, 1000, _SA),
    ),
    "Hopper-v5": (
        Published("PPO", 3167, 636, _SA),
        Published("SA-PPO (convex)", 3705, 1076, _SA),
    ),
}
"""Not ours: other code, older environments, other networks."""
