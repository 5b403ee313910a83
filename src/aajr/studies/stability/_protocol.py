"""The study's runs: constraints at three γ, fixed λ, and step rules in a harsh inner loop."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from aajr.adversaries import StepRule
from aajr.hide_and_seek.training.config import AdversaryConfig, PenaltyConfig, TrainConfig
from aajr.studies.comparison.presets import PRESETS, Preset, PresetName

RULES: tuple[StepRule, ...] = ("fixed", "stable", "backtracking")


@dataclass(frozen=True)
class Method:
    """One method of training.

    Attributes:
        name: name in runs and results.
        penalty: settings of the penalty.
        harsh: whether the harsh inner loop is used.
        rule: step rule of the adversary.
    """

    name: str
    penalty: PenaltyConfig
    harsh: bool = False
    rule: StepRule = "fixed"


@dataclass(frozen=True)
class Protocol:
    """The study's fixed choices.

    Attributes:
        base: comparison whose opponents, plain policies, game and attacks are used.
        shares: γ as shares of the quantile of ‖Jv‖ in an unconstrained run on the validation seed.
        quantile: quantile of ‖Jv‖ that is bounded.
        start: initial λ of the constraint form.
        iterations: iterations of every run without the harsh inner loop.
        warmup: share of the iterations that is not measured, while ε and λ settle.
        harsh_adversary: an inner loop that overshoots: long steps in a large ball.
        harsh_learning_rate: outer learning rate with the harsh inner loop.
        harsh_iterations: iterations of every run with the harsh inner loop.
        harsh_weight: λ of AAJR with the harsh inner loop.
    """

    base: Preset
    shares: tuple[float, ...] = (0.15, 0.3, 0.5)
    quantile: float = 0.9
    start: float = 1e-3
    iterations: int = 40
    warmup: float = 0.4
    harsh_adversary: AdversaryConfig = field(
        default_factory=lambda: AdversaryConfig(
            placement="update", objective="critic", epsilon=0.3, steps=5, step_size=1.0
        )
    )
    harsh_learning_rate: float = 3e-3
    harsh_iterations: int = 15
    harsh_weight: float = 1e-3

    @property
    def validation_seed(self) -> int:
        """The seed on which γ and the fixed λ are chosen; it is not among the reported seeds."""
        return (*self.base.validation_seeds, 100)[0]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that are reported."""
        return self.base.final_seeds

    def unconstrained(self) -> Method:
        """AAJR with a negligible λ, which measures ‖Jv‖ in the same way as a constraint does."""
        return Method("unconstrained", self._measured(weight=1e-8, gamma=1.0))

    def constrained(self, gamma: float) -> Method:
        """AAJR in the constraint form."""
        penalty = PenaltyConfig(
            "aajr",
            self.start,
            constraint=gamma,
            quantile=self.quantile,
            second_attack=self.base.second_attack,
        )
        return Method(f"constraint_{gamma:g}", penalty)

    def fixed(self, gamma: float, weight: float) -> Method:
        """AAJR with a fixed λ: the one to which the constraint form settled on validation."""
        return Method(f"fixed_{gamma:g}", self._measured(weight, gamma))

    def harsh(self) -> tuple[Method, ...]:
        """Every step rule in the harsh inner loop, without a penalty and with AAJR."""
        penalties = {"none": PenaltyConfig(), "aajr": PenaltyConfig("aajr", self.harsh_weight)}
        return tuple(
            Method(f"harsh_{rule}_{name}", penalty, harsh=True, rule=rule)
            for name, penalty in penalties.items()
            for rule in RULES
        )

    def train_config(self, method: Method, seed: int) -> TrainConfig:
        """The training run of a method."""
        adversary, ppo, iterations = self.base.adversary, self.base.ppo, self.iterations
        if method.harsh:
            adversary, iterations = self.harsh_adversary, self.harsh_iterations
            ppo = dataclasses.replace(ppo, learning_rate=self.harsh_learning_rate)
        else:
            adversary = dataclasses.replace(adversary, placement="rollout")
        return TrainConfig(
            iterations=iterations,
            seed=seed,
            env=self.base.env,
            ppo=ppo,
            adversary=dataclasses.replace(
                adversary, threat=self.base.threat, step_rule=method.rule
            ),
            penalty=method.penalty,
        )

    def _measured(self, weight: float, gamma: float) -> PenaltyConfig:
        return PenaltyConfig(
            "aajr",
            weight,
            constraint=gamma,
            quantile=self.quantile,
            dual_rate=0.0,
            dual_damping=0.0,
            second_attack=self.base.second_attack,
        )


PROTOCOLS: dict[PresetName, Protocol] = {
    "smoke": Protocol(PRESETS["others-smoke"], shares=(0.5,), iterations=4, harsh_iterations=1),
    "quick": Protocol(PRESETS["others"]),
    "full": Protocol(PRESETS["others-full"], iterations=100, harsh_iterations=40),
}
"""The study's presets; each uses the game, seeds and budgets of a comparison's preset."""
