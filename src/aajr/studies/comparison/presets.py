"""What ``aajr reproduce`` compares: methods, weights, seeds and budgets of every preset."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from aajr._settings import check_count, stated
from aajr.arena.ppo import PPOConfig
from aajr.arena.settings import Effort
from aajr.arena.threats import Threat
from aajr.hide_and_seek.game import HideAndSeekConfig
from aajr.hide_and_seek.training.config import (
    AdversaryConfig,
    PenaltyConfig,
    PenaltyName,
    TrainConfig,
)

PresetName = Literal["smoke", "quick", "full"]


@dataclass(frozen=True)
class Method:
    """One way to train, over a grid of weights.

    Attributes:
        name: of the method; a penalised method's name is also that of its frontier family.
        penalty: which penalty.
        weights: grid of λ; empty for a method without a penalty.
        direction: of the penalty.
        placement: where the adversary stands in training.
    """

    name: str
    penalty: PenaltyName = "none"
    weights: tuple[float, ...] = ()
    direction: Literal["unit", "step", "gradient"] = "unit"
    placement: Literal["none", "update", "rollout", "mixed"] = "rollout"

    @property
    def family(self) -> str | None:
        """The frontier that its weights trace."""
        return self.name if self.weights else None


@dataclass(frozen=True)
class Preset:
    """A whole comparison.

    Attributes:
        name: of the preset.
        scope: what it can show and what it cannot.
        methods: what is compared.
        final_seeds: seeds of the figures.
        validation_seeds: seeds on which weights are chosen.
        league_iterations: self-play of the opponents.
        pretrain_iterations: plain training of the policy that all methods of a seed start from.
        iterations: further training, equal for all methods.
        opponents: self-play runs in each of the two leagues, training and test.
        threat: of training and evaluation.
        adversary: of training.
        ppo: the outer algorithm.
        env: the game.
        epsilons: radii of the curves.
        reference_epsilon: radius of the frontiers.
        episodes: per score.
        effort: of the attacks; steps, restarts and critic_episodes are all they use.
        critics: freshly fitted critics, each attacked on its own.
    """

    name: PresetName
    scope: str
    methods: tuple[Method, ...]
    final_seeds: tuple[int, ...]
    validation_seeds: tuple[int, ...]
    league_iterations: int
    pretrain_iterations: int
    iterations: int
    opponents: int = 1
    threat: Threat = "others"
    adversary: AdversaryConfig = field(
        default_factory=lambda: AdversaryConfig(objective="critic", epsilon=0.1)
    )
    ppo: PPOConfig = field(default_factory=PPOConfig)
    env: HideAndSeekConfig = field(default_factory=HideAndSeekConfig)
    epsilons: tuple[float, ...] = (0.05, 0.1, 0.15, 0.2, 0.3)
    reference_epsilon: float = 0.2
    episodes: int = 512
    effort: Effort = field(default_factory=Effort)
    critics: int = 2

    def __post_init__(self) -> None:
        check_count("critics", self.critics, minimum=0)

    @property
    def facts(self) -> dict[str, Any]:
        """Every choice that changes the results, as JSON values."""
        facts = dataclasses.asdict(self, dict_factory=stated)
        effort = facts.pop("effort") | {"critics": facts.pop("critics")}
        used = ("steps", "restarts", "critics", "critic_episodes")
        return facts | {"budget": {name: effort[name] for name in used}}

    def train_config(self, method: Method, weight: float | None, seed: int) -> TrainConfig:
        """The training run of a method."""
        penalty = PenaltyConfig(method.penalty, weight or 0.0, method.direction)
        adversary = replace(self.adversary, placement=method.placement, threat=self.threat)
        return TrainConfig(
            iterations=self.iterations,
            seed=seed,
            env=self.env,
            ppo=self.ppo,
            adversary=adversary,
            penalty=penalty,
        )


def decisive(preset: Preset) -> list[dict[str, Any]]:
    """All that decides the results; the trainer's defaults among it."""
    return [preset.facts, dataclasses.asdict(TrainConfig(), dict_factory=stated)]


_WEIGHTS = (0.0003, 0.001, 0.003)
_WIDE_WEIGHTS = (0.0001, 0.0003, 0.001, 0.003, 0.01)


def _main_methods(weights: tuple[float, ...]) -> tuple[Method, ...]:
    return (
        Method("plain", placement="none"),
        Method("adversarial"),
        Method("global", "global", weights),
        Method("aajr", "aajr", weights),
    )


def _all_methods(weights: tuple[float, ...]) -> tuple[Method, ...]:
    return (
        *_main_methods(weights),
        Method("aajr_step", "aajr", weights, "step"),
        Method("aajr_gradient", "aajr", weights, "gradient"),
        Method("random_direction", "random_direction", weights),
        Method("random_gradient", "random_direction", weights, "gradient"),
        Method("global_attackable", "global_attackable", weights),
        Method("spectral", "spectral", weights),
        Method("sa", "sa", weights),
        Method("ernie", "ernie", weights),
        Method("input_gradient", "input_gradient", weights),
        Method("adversarial_update", placement="update"),
        Method("adversarial_mixed", placement="mixed"),
    )


PRESETS: dict[str, Preset] = {
    "smoke": Preset(
        name="smoke",
        scope=(
            "Smoke test: it shows that learning, attack, comparison and report work together. One "
            "seed and a few iterations say nothing about which method is better."
        ),
        methods=_main_methods((0.001,)),
        final_seeds=(0,),
        validation_seeds=(),
        league_iterations=6,
        pretrain_iterations=6,
        iterations=2,
        epsilons=(0.2,),
        episodes=64,
        ppo=PPOConfig(environments=64),
        effort=Effort(steps=3, restarts=1, critic_episodes=64),
        critics=1,
    ),
    "quick": Preset(
        name="quick",
        scope=(
            "Quick preset: three final seeds, one validation seed, three weights for each family "
            "and a few minutes of training. It can show a large effect and whether the machinery "
            "is sound. It cannot separate methods that lie within a few points of success: that "
            "takes the full preset, with ten seeds, all controls and stronger attacks."
        ),
        methods=_main_methods(_WEIGHTS),
        final_seeds=(0, 1, 2),
        validation_seeds=(100,),
        league_iterations=30,
        pretrain_iterations=30,
        iterations=10,
        effort=Effort(steps=3, restarts=1),
        critics=1,
    ),
    "full": Preset(
        name="full",
        scope=(
            "Full preset: ten final seeds, two validation seeds, all methods and controls, five "
            "weights for each family. It measures this game, these networks and these attacks; "
            "attacks can only show weakness, never prove its absence."
        ),
        methods=_all_methods(_WIDE_WEIGHTS),
        final_seeds=tuple(range(10)),
        validation_seeds=(100, 101),
        league_iterations=150,
        pretrain_iterations=150,
        iterations=100,
        opponents=2,
        ppo=PPOConfig(environments=256),
        effort=Effort(steps=10, restarts=2, critic_episodes=1024),
        critics=3,
    ),
}
