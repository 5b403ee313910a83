"""Methods and presets of the MuJoCo study, and the published results."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

PresetName = Literal["smoke", "standard", "hopper"]
Placement = Literal["adversarial", "clean"]


@dataclass(frozen=True)
class Method:
    """One way to train, with one tuned hyperparameter.

    Attributes:
        name: name in runs and results.
        title: name in tables.
        knob: the tuned hyperparameter: ``learning rate`` (a factor), ``training radius`` (a factor
            on ε), or ``weight`` (λ).
        candidates: values tried on the validation seeds; every tuned method has equally many.
        penalty: name of the penalty, None for none.
        placement: where the surrogate loss is taken; None without an adversary.
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
"""All methods. The method ``recipe`` is not tuned.

Penalties are added to SB3's own surrogate loss. With n inputs, ‖Jv‖² along a random direction is on
average 1/n of ‖J‖²_F; its weights are therefore larger.
"""


@dataclass(frozen=True)
class Protocol:
    """The study's fixed choices.

    Attributes:
        name: name of the preset.
        environment: name of the Gymnasium environment.
        epsilon: L∞ radius in normalised units: 1 is the standard deviation of the state in the
            running statistics of a vanilla agent, trained on the reference seed.
        solved: natural return of a policy that solves the task.
        steps: environment steps of a training run.
        segments: number of parts of a run; it can be resumed after each part.
        environments: number of environments that are stepped in parallel.
        rollout: steps of each environment per update.
        batch: rows per minibatch.
        epochs: passes over a rollout.
        learning_rate: learning rate of Adam.
        discount: γ.
        ramp: ε grows from 0 to the training radius between these two shares of the run.
        inner_steps: number of steps of the adversary in training.
        fraction: share of the rows whose Jacobian is penalised.
        reference_seed: seed of the agent whose statistics normalise the observations of all agents.
        validation_seeds: seeds on which methods are tuned.
        final_seeds: seeds that are reported; nothing is chosen on them.
        episodes: number of episodes of each agent and attack on the final seeds.
        validation_episodes: the same number on the validation seeds.
        search: how the attacks search the worst point: at all ``vertices`` of the ball, or by
            projected ``gradient`` ascent if the observation has too many features.
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
        methods: methods that are compared.
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
"""``standard`` trains InvertedPendulum, about an hour on two cores; ``hopper`` takes a night."""


@dataclass(frozen=True)
class Published:
    """A published result, computed with other code: the median of 11 agents.

    Attributes:
        method: name of the method in the publication.
        natural: return without attack.
        worst: return under the worst of five attacks.
        source: the publication.
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
"""Published results, from other code, older environments and other networks."""
