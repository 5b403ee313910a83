"""Settings, cells and raw results of the study."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from aajr._seeds import derive
from aajr.arena.attacks.suites import Suite
from aajr.arena.attacks.victim import Victim
from aajr.arena.environments.episodes import Outcome, play
from aajr.arena.settings import Effort
from aajr.arena.threats import FARTHEST
from aajr.arena.training.checkpoints import load_checkpoint, save_checkpoint
from aajr.arena.training.ppo import PPOConfig
from aajr.hide_and_seek.training.config import AdversaryConfig, LearnerConfig, PenaltyConfig
from aajr.hide_and_seek.training.learner import Learner
from aajr.studies._store import Cell, Store
from aajr.studies._study import Stage, tuned
from aajr.studies.comparison.attacks import ATTACKS, outcomes_of, sensitivity
from aajr.studies.comparison.grids import ALL_OF_REPORTS, Method, middle
from aajr.studies.fleet._environment import Crossing
from aajr.studies.fleet._training import learner_of, measures, train
from aajr.studies.fleet._world import FleetConfig

Record = dict[str, Any]
Choice = tuple[Method, "float | None"]

METHODS = tuple(
    method
    for method in ALL_OF_REPORTS
    if method.name
    in (
        "plain",
        "plain_lies",
        "adversarial",
        "median",
        "aajr",
        "random_direction",
        "global_reports",
        "global",
        "sa",
    )
)
"""The methods of the comparison in hide-and-seek that this study repeats, with their weights."""

_POLICY = "policy.safetensors"


@dataclass(frozen=True)
class Settings:
    """Sizes of the study.

    Attributes:
        world: the world.
        methods: how to train, each with its weights.
        seeds: final seeds, on which nothing is chosen.
        validation: seeds on which weights are chosen; without any, the middle weight is taken.
        pretraining: iterations of the plain policy that all methods of a seed start from.
        iterations: iterations of every method.
        ppo: settings of PPO.
        adversary: adversary of training; a method says where it stands. ε is the reference radius.
        epsilons: bounds of the lies in the evaluation.
        episodes: episodes of every trial.
        effort: effort of the attacks.
        attacks: names of the attacks.
        kept: share of the best clean success that a chosen weight must keep.
    """

    world: FleetConfig = field(default_factory=FleetConfig)
    methods: tuple[Method, ...] = middle(METHODS, 3)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    validation: tuple[int, ...] = (100, 101)
    pretraining: int = 200
    iterations: int = 150
    ppo: PPOConfig = field(default_factory=lambda: PPOConfig(environments=32, entropy=0.003))
    adversary: AdversaryConfig = field(
        default_factory=lambda: AdversaryConfig(threat="reports", epsilon=1.0, ramp=0.6)
    )
    epsilons: tuple[float, ...] = (0.25, 0.5, 1.0, 2 * FARTHEST)
    episodes: int = 128
    effort: Effort = field(default_factory=lambda: Effort(steps=5, restarts=1, critic_episodes=128))
    attacks: tuple[str, ...] = ("hand_lie", "liars_mad", "liars_ranked", "liars_pa_ad")
    kept: float = 0.9

    @property
    def grid(self) -> list[Choice]:
        """Every method with every weight."""
        return [(method, weight) for method in self.methods for weight in method.weights or (None,)]

    def learner_config(self, method: Method, weight: float | None, seed: int) -> LearnerConfig:
        """The training run of a method."""
        penalty = PenaltyConfig(
            method.penalty, weight or 0.0, method.direction, within=method.within
        )
        adversary = dataclasses.replace(
            self.adversary, placement=method.placement, search=method.search
        )
        return LearnerConfig(self.iterations, seed, self.ppo, adversary, penalty)


_QUICK = Settings(
    methods=middle(METHODS, 1),
    seeds=(0, 1),
    validation=(),
    pretraining=120,
    iterations=60,
    epsilons=(0.5, 1.0, 2 * FARTHEST),
    episodes=64,
    effort=Effort(steps=3, restarts=1, critic_episodes=64),
)

PRESETS = {
    "smoke": dataclasses.replace(
        _QUICK,
        methods=tuple(m for m in _QUICK.methods if m.name in ("plain", "adversarial", "aajr")),
        seeds=(0,),
        pretraining=3,
        iterations=2,
        epsilons=(1.0,),
        episodes=16,
        ppo=PPOConfig(environments=8),
        effort=Effort(
            steps=1, restarts=1, critic_episodes=16, attacker_iterations=1, attacker_environments=8
        ),
    ),
    "quick": _QUICK,
    "standard": Settings(),
}


def stages(settings: Settings, store: Store) -> Iterator[Stage]:
    """Plain policies, all methods and weights, and all ε for the chosen weights."""
    seeds = (*settings.validation, *settings.seeds)
    yield "plain policies", [_plain(settings, store, seed) for seed in seeds]
    yield (
        "methods, trained and attacked",
        [_trained(settings, store, *choice, seed) for seed in seeds for choice in settings.grid],
    )
    chosen = choices(settings, store)
    yield (
        "success against ε",
        [_curve(settings, store, *choice, seed) for choice in chosen for seed in settings.seeds],
    )


def gather(settings: Settings, store: Store, facts: Record) -> Record:
    """Gather the raw results.

    Returns:
        ``runs``, the settings and the facts. A run is the record of :func:`train_method` with its
        method, weight, seed and split, and whether the weight was chosen; the scores of a chosen
        weight on a final seed hold all ε.
    """
    chosen, runs = choices(settings, store), []
    for method, weight in settings.grid:
        for seed in (*settings.validation, *settings.seeds):
            run = {
                "method": method.name,
                "family": method.family,
                "weight": weight,
                "seed": seed,
                "split": "final" if seed in settings.seeds else "validation",
                "selected": (method, weight) in chosen,
                **_trained(settings, store, method, weight, seed).value(),
            }
            if run["selected"] and run["split"] == "final":
                run["scores"] = (
                    run["scores"] + _curve(settings, store, method, weight, seed).value()
                )
            runs.append(run)
    plain = {seed: _plain(settings, store, seed).value() for seed in settings.seeds}
    return {"runs": runs, "plain": plain, "settings": dataclasses.asdict(settings), **facts}


def choices(settings: Settings, store: Store) -> list[Choice]:
    """Choose for each method the weight of best worst case on the validation seeds.

    Weights that lose too much clean success are not chosen, see ``kept``. Without validation seeds
    the middle weight is taken.
    """
    return [(method, _chosen(settings, store, method)) for method in settings.methods]


def pretrain(settings: Settings, store: Store, seed: int) -> Record:
    """Train the plain policy of a seed; returns its course."""
    config = LearnerConfig(settings.pretraining, derive(seed, "pretrained"), settings.ppo)
    learner = learner_of(settings.world, config)
    course = train(learner, settings.world)
    _save(learner, _plain(settings, store, seed))
    return course


def train_method(
    settings: Settings, store: Store, method: Method, weight: float | None, seed: int
) -> Record:
    """Train on from the plain policy and attack the result at the reference radius.

    Returns:
        ``scores``; ``zeroed``, the success with all reports set to zero; ``diagnostics`` of the
        Jacobian; ``critic_r2``; and ``history``, the course of the training.
    """
    learner = _learner(settings, method, weight, seed)
    _load(learner, _plain(settings, store, seed))
    history = train(learner, settings.world)
    _save(learner, _trained(settings, store, method, weight, seed))
    victim = _victim(settings, learner, seed)
    epsilon = settings.adversary.epsilon
    return {
        "scores": _scores(settings, victim, [epsilon], clean=True),
        "zeroed": _zeroed(victim),
        "diagnostics": sensitivity(victim, epsilon),
        "critic_r2": list(victim.preparation.values()),
        "history": history,
    }


def score_curve(
    settings: Settings, store: Store, method: Method, weight: float | None, seed: int
) -> list[Record]:
    """Attack a trained policy at all radii except the reference."""
    learner = _learner(settings, method, weight, seed)
    _load(learner, _trained(settings, store, method, weight, seed))
    epsilons = [e for e in settings.epsilons if e != settings.adversary.epsilon]
    return _scores(settings, _victim(settings, learner, seed), epsilons, clean=False)


def _chosen(settings: Settings, store: Store, method: Method) -> float | None:
    if not method.weights:
        return None
    if not settings.validation:
        return method.weights[len(method.weights) // 2]

    def records(weight: float) -> list[Any]:
        seeds = settings.validation
        return [_trained(settings, store, method, weight, seed).value() for seed in seeds]

    best, _ = tuned(
        method.weights,
        records,
        {"clean": lambda record: record["scores"][0]["success"], "worst": _worst},
        ("worst",),
        "clean",
        settings.kept,
    )
    return best


def _worst(record: Record) -> float:
    return float(min(score["success"] for score in record["scores"]))


def _learner(settings: Settings, method: Method, weight: float | None, seed: int) -> Learner:
    config = settings.learner_config(method, weight, seed)
    return learner_of(settings.world, config, method.front)


def _victim(settings: Settings, learner: Learner, seed: int) -> Victim:
    actor = learner.actor.requires_grad_(False).eval()
    match = Crossing(settings.world, settings.episodes, derive(seed, "evaluation"))
    return Victim(actor, match, "reports", settings.effort)


def _scores(
    settings: Settings, victim: Victim, epsilons: Sequence[float], *, clean: bool
) -> list[Record]:
    """Scores as JSON values, with the shares of vehicles that arrived and that collided."""
    attacks = tuple(ATTACKS[name] for name in settings.attacks)
    suite = Suite("fleet", 1, settings.effort, attacks)
    return [_score(outcome) for outcome in outcomes_of(victim, suite, epsilons, clean=clean)]


def _score(outcome: Outcome[Any]) -> Record:
    found = measures(outcome.record)
    return dataclasses.asdict(outcome.score) | {
        "success": found["unhurt"],
        "collided": found["collided"],
        "arrived": float(outcome.record.arrived.float().mean()),
        "won": outcome.score.success,
    }


def _zeroed(victim: Victim) -> float:
    actor, trusted = victim.actor, victim.match.sources < 0
    record = play(victim.match, lambda x, episodes: actor.head.act(actor(x * trusted)))
    return measures(record)["unhurt"]


def _save(learner: Learner, cell: Cell) -> None:
    networks = {"actor": learner.actor, "critic": learner.critic}
    tensors = {
        f"{name}.{key}": value
        for name, network in networks.items()
        for key, value in network.state_dict().items()
    }
    save_checkpoint(cell.directory / _POLICY, tensors, {})


def _load(learner: Learner, cell: Cell) -> None:
    tensors, _ = load_checkpoint(cell.directory / _POLICY)
    learner.load_initial(tensors)


def _plain(settings: Settings, store: Store, seed: int) -> Cell:
    return store.cell(f"plain_policies/{seed}", pretrain, settings, store, seed)


def _trained(
    settings: Settings, store: Store, method: Method, weight: float | None, seed: int
) -> Cell:
    name = f"methods/{method.label(weight, seed)}"
    return store.cell(name, train_method, settings, store, method, weight, seed)


def _curve(
    settings: Settings, store: Store, method: Method, weight: float | None, seed: int
) -> Cell:
    name = f"curves/{method.label(weight, seed)}"
    return store.cell(name, score_curve, settings, store, method, weight, seed)
