"""What ``aajr reproduce`` compares: methods, weights, seeds and budgets of every preset."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from aajr._settings import check_count, check_number, stated
from aajr.arena.settings import Effort
from aajr.arena.threats import FARTHEST, Threat
from aajr.arena.training.ppo import PPOConfig
from aajr.hide_and_seek.game import RADIO_GAME, HideAndSeekConfig, Radio
from aajr.hide_and_seek.training.config import AdversaryConfig, PenaltyConfig, TrainConfig
from aajr.studies.comparison.grids import (
    ALL_OF_OTHERS,
    ALL_OF_REPORTS,
    MAIN_OF_OTHERS,
    MAIN_OF_REPORTS,
    PRIMARY,
    RANDOM_LIES,
    Method,
    middle,
)

PresetName = Literal[
    "validation", "smoke", "quick", "standard", "full", "others-smoke", "others", "others-full"
]


LEARNED_ATTACKS = ("liars_pa_ad", "liars_sa_rl", "liars_pa_ad_fixed")
"""Attacks of the comparison that are trained on each policy at each ε."""


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
        opponents: self-play runs in each of the two leagues, training and test; 0 for chasers by
            hand, which need no training.
        threat: of training and evaluation.
        adversary: of training.
        ppo: the outer algorithm.
        env: the game.
        epsilons: radii of the curves.
        reference_epsilon: radius of the frontiers.
        episodes: per score.
        effort: of the attacks; they use steps, restarts and critic_episodes, and learned ones the
            iterations and environments of attackers.
        critics: freshly fitted critics, each attacked on its own.
        attacks: names of attacks in :data:`~.attacks.ATTACKS`; None for noise, MAD and the critics.
        kept: share of a family's best clean success that its chosen weight must keep.
        primary: rivals of AAJR whose tests are corrected together; None for every family.
        second_attack: see :class:`~aajr.hide_and_seek.training.PenaltyConfig`.
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
    attacks: tuple[str, ...] | None = None
    kept: float | None = None
    primary: tuple[str, ...] | None = None
    second_attack: bool = False

    def __post_init__(self) -> None:
        check_count("critics", self.critics, minimum=0)
        check_count("opponents", self.opponents, minimum=0)
        if self.kept is not None:
            check_number("kept", self.kept, maximum=1.0)
        if self.opponents == 0 and self.env.radio is None:
            raise ValueError("opponents=0 takes chasers, who need a radio; give env.radio")

    @property
    def shown_seed(self) -> int:
        """Seed of the replay and of the times."""
        return (*self.final_seeds, *self.validation_seeds)[0]

    @property
    def facts(self) -> dict[str, Any]:
        """Every choice that changes the results, as JSON values."""
        facts = dataclasses.asdict(self, dict_factory=stated)
        effort = facts.pop("effort") | {"critics": facts.pop("critics")}
        used = ["steps", "restarts", "critics", "critic_episodes"]
        if set(LEARNED_ATTACKS) & set(self.attacks or ()):
            used += ["attacker_iterations", "attacker_environments"]
        return facts | {"budget": {name: effort[name] for name in used}}

    def train_config(self, method: Method, weight: float | None, seed: int) -> TrainConfig:
        """The training run of a method."""
        penalty = PenaltyConfig(
            method.penalty,
            weight or 0.0,
            method.direction,
            points=method.points or "last",
            within=method.within,
            second_attack=self.second_attack,
        )
        adversary = replace(
            self.adversary,
            placement=method.placement,
            threat=self.threat,
            search=method.search,
        )
        return TrainConfig(
            iterations=self.iterations,
            seed=seed,
            env=self.env,
            ppo=self.ppo,
            adversary=adversary,
            penalty=penalty,
            report_filter=method.front,
        )


def decisive(preset: Preset) -> list[dict[str, Any]]:
    """All that decides the results; the trainer's defaults among it."""
    return [preset.facts, dataclasses.asdict(TrainConfig(), dict_factory=stated)]


_OTHERS_SMOKE = Preset(
    name="others-smoke",
    scope=(
        "Smoke test: it shows that learning, attack, comparison and report work together. One "
        "seed and a few iterations say nothing about which method is better."
    ),
    methods=middle(MAIN_OF_OTHERS, 1),
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
    second_attack=True,
)

_OTHERS = Preset(
    name="others",
    scope=(
        "Preset others, in which the adversary moves all that is perceived of others: three final "
        "seeds, one validation seed, three weights for each family and a few minutes of training. "
        "It can show a large effect and whether the machinery is sound. It cannot separate methods "
        "that lie within a few points of success: that takes the preset others-full, with ten "
        "seeds, all controls and stronger attacks."
    ),
    methods=middle(MAIN_OF_OTHERS, 3),
    final_seeds=(0, 1, 2),
    validation_seeds=(100,),
    league_iterations=30,
    pretrain_iterations=30,
    iterations=10,
    effort=Effort(steps=3, restarts=1),
    critics=1,
    second_attack=True,
)

_OTHERS_FULL = Preset(
    name="others-full",
    scope=(
        "Preset others-full: ten final seeds, two validation seeds, all methods and controls, five "
        "weights for each family. It measures this game, these networks and these attacks; "
        "attacks can only show weakness, never prove its absence."
    ),
    methods=ALL_OF_OTHERS,
    final_seeds=tuple(range(10)),
    validation_seeds=(100, 101),
    league_iterations=150,
    pretrain_iterations=150,
    iterations=100,
    opponents=2,
    ppo=PPOConfig(environments=256),
    effort=Effort(steps=10, restarts=2, critic_episodes=1024),
    critics=3,
    second_attack=True,
)

ANY_LIE = 2 * FARTHEST
"""An ε that reaches every report in the valid box from every other one."""

ONE_LIAR = replace(RADIO_GAME, radio=Radio(liars=1))
"""The game of reports in which one of the five sources may lie to a hider."""

_QUICK = Preset(
    name="quick",
    scope=(
        "Quick preset of the game of reports: one seed, on which all methods start from one "
        "policy, and one weight for each family. It is a validation seed of the larger presets, so "
        "that their final seeds stay untouched. It shows how each method's policy responds to a "
        "lie. It separates nothing: that takes the preset standard or full, with ten seeds."
    ),
    methods=middle(MAIN_OF_REPORTS, 1),
    final_seeds=(100,),
    validation_seeds=(),
    league_iterations=0,
    pretrain_iterations=200,
    iterations=150,
    opponents=0,
    threat="reports",
    adversary=AdversaryConfig(objective="mad", epsilon=2.0, ramp=0.6),
    ppo=PPOConfig(environments=64),
    env=ONE_LIAR,
    epsilons=(1.0, 2.0),
    reference_epsilon=2.0,
    episodes=256,
    effort=Effort(steps=3, restarts=1, critic_episodes=128),
    critics=0,
    attacks=("hand_lie", "liars_mad", "liars_ranked", "liars_pa_ad"),
    kept=0.9,
    primary=PRIMARY,
)

_STANDARD = replace(
    _QUICK,
    name="standard",
    scope=(
        "Standard preset of the game of reports: ten final seeds, two validation seeds, AAJR, its "
        "main rivals and random lies, three weights for each family. One attacker learns, for "
        "82,000 steps of the game; attacks can only show weakness, never prove its absence."
    ),
    methods=middle((*MAIN_OF_REPORTS, RANDOM_LIES), 3),
    final_seeds=tuple(range(10)),
    validation_seeds=(100, 101),
    epsilons=(1.0, 2.0, ANY_LIE),
)

_VALIDATION = replace(
    _STANDARD,
    name="validation",
    scope=(
        "The preset standard on its validation seeds alone, with every control and five weights "
        "for each family: it shows which weights are worth trying before any final seed runs. It "
        "compares nothing, since weights were chosen on these very seeds."
    ),
    methods=ALL_OF_REPORTS,
    final_seeds=(),
)

_FULL = replace(
    _STANDARD,
    name="full",
    scope=(
        "Full preset of the game of reports: ten final seeds, two validation seeds, every control, "
        "five weights for each family, 300 iterations, every coalition searched by all objectives. "
        "Attackers learn for 164,000 steps of the game; attacks can only show weakness, never "
        "prove its absence."
    ),
    methods=ALL_OF_REPORTS,
    iterations=300,
    epsilons=(0.5, 1.0, 2.0, ANY_LIE),
    episodes=512,
    effort=Effort(steps=10, restarts=2, critic_episodes=1024, attacker_iterations=40),
    attacks=(
        "hand_lie",
        "liars_noise",
        "liars_mad",
        "liars_critic_0",
        "liars_critic_1",
        "liars_rs_mad",
        "liars_sarsa",
        "other_side",
        "sarsa_ranked",
        "liars_ranked",
        "liars_fixed",
        "drift",
        *LEARNED_ATTACKS,
    ),
)

_SMOKE = replace(
    _QUICK,
    name="smoke",
    scope=_OTHERS_SMOKE.scope,
    pretrain_iterations=6,
    iterations=2,
    epsilons=(2.0,),
    episodes=64,
    effort=Effort(steps=1, restarts=1, critic_episodes=64),
    attacks=("hand_lie", "liars_mad"),
)

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        _SMOKE,
        _QUICK,
        _VALIDATION,
        _STANDARD,
        _FULL,
        _OTHERS_SMOKE,
        _OTHERS,
        _OTHERS_FULL,
    )
}
