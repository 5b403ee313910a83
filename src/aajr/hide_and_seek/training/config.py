"""What a training run is made of. The same dataclasses are the command line's options."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from aajr._settings import StepRule, check_choice, check_count, check_number
from aajr.arena.ppo import PPOConfig
from aajr.arena.threats import Threat
from aajr.hide_and_seek.game import HideAndSeekConfig

PenaltyName = Literal[
    "none",
    "aajr",
    "global",
    "global_attackable",
    "spectral",
    "random_direction",
    "sa",
    "ernie",
    "input_gradient",
]


@dataclass(frozen=True)
class AdversaryConfig:
    """The adversary of training.

    Attributes:
        placement: ``none``; ``update``, the policy loss at x + δ*; ``rollout``, the agents act on
            perturbed observations while they collect, chosen against a Q learned online;
            ``mixed``, half of the episodes under attack and the mean of clean and attacked loss.
        threat: what the adversary may touch, see :mod:`aajr.hide_and_seek.game.threats`.
        objective: what it maximises at the update: ``mad`` is the change of the action
            distribution, ``surrogate`` minus the advantage-weighted log-probability, ``critic``
            minus the online Q.
        epsilon: L∞ radius in observation units (the arena's half width is 1).
        action_epsilon: L∞ radius, in logits, of a second attack on the actions while collecting;
            0 for none. With the threat ``actions`` it is ``epsilon`` that bounds the logits.
        steps: of projected gradient ascent.
        step_size: in units of ε; 0 takes 2.5 / steps.
        step_rule: ``fixed``, ``normalized``, or ``stable`` and ``backtracking``, which never lower
            the objective.
        ramp: share of training over which ε grows linearly from 0.
        liars: under the threat ``reports``, who lies to a hider at a step: ``random`` sources,
            which None takes, or those whose lie gains most by the ``gradient``.
        search: ``noise`` draws perturbations at random in place of the ascent; None ascends.
    """

    placement: Literal["none", "update", "rollout", "mixed"] = "none"
    threat: Threat = "others"
    objective: Literal["mad", "surrogate", "critic"] = "mad"
    epsilon: float = 0.1
    action_epsilon: float = 0.0
    steps: int = 1
    step_size: float = 0.0
    step_rule: StepRule = "fixed"
    ramp: float = 0.25
    liars: Literal["random", "gradient"] | None = None
    search: Literal["noise"] | None = None

    def __post_init__(self) -> None:
        check_choice("placement", self.placement, ("none", "update", "rollout", "mixed"))
        check_choice("threat", self.threat, get_args(Threat))
        check_choice("objective", self.objective, ("mad", "surrogate", "critic"))
        check_number("epsilon", self.epsilon)
        check_number("action_epsilon", self.action_epsilon)
        attacks_actions = self.threat == "actions" or self.action_epsilon > 0
        if attacks_actions and self.placement == "update":
            raise ValueError(
                f"placement={self.placement!r} cannot attack actions, which are perturbed while "
                "collecting; use placement='rollout' or 'mixed'"
            )
        if self.search is not None:
            check_choice("search", self.search, ("noise",))
        check_count("steps", self.steps)
        check_number("step_size", self.step_size)
        check_choice("step_rule", self.step_rule, get_args(StepRule))
        check_number("ramp", self.ramp, maximum=1.0)

    @property
    def needs_value(self) -> bool:
        """Whether a Q must be learned online."""
        return self.placement in ("rollout", "mixed") or self.objective == "critic"


@dataclass(frozen=True)
class PenaltyConfig:
    """The penalty of training.

    Attributes:
        name: which penalty; ``none`` for adversarial training alone.
        weight: λ.
        direction: of AAJR, ``unit``, ``step`` or ``gradient``; for ``random_direction``,
            ``gradient`` weights samples by ‖g‖².
        points: where the Jacobian is taken: the ``last`` point, the whole ``trajectory``, or the
            clean one, ``origin``.
        fraction: share of the rows that were attacked; 0 takes the penalty's own default. With the
            placement ``rollout`` an eighth of the rows is attacked again for the penalty, whatever
            its name, and 0 takes all of those.
        interval: updates between penalties.
        gamma: hinge of AAJR; 0 for none.
        constraint: γ of the constraint form, in which λ adapts from ``weight`` on, never below a
            hundredth of it, so that ``quantile`` of ‖Jv‖ stays at most γ; 0 for a fixed λ.
        quantile: of ‖Jv‖ that the constraint bounds.
        dual_rate: of the dual ascent; see :class:`aajr.DualAscent`.
        dual_damping: of the dual ascent. With both at 0 the quantile is measured and λ stays.
        within: which features ``global_attackable`` and ``random_direction`` are about: ``moved``,
            those that the adversary moved in the sample; None for all that it may touch.
    """

    name: PenaltyName = "none"
    weight: float = 0.0
    direction: Literal["unit", "step", "gradient"] = "unit"
    points: Literal["last", "trajectory", "origin"] = "last"
    fraction: float = 0.0
    interval: int = 1
    gamma: float = 0.0
    constraint: float = 0.0
    quantile: float = 0.9
    dual_rate: float = 0.2
    dual_damping: float = 2.0
    within: Literal["moved"] | None = None

    def __post_init__(self) -> None:
        check_number("weight", self.weight)
        check_number("fraction", self.fraction, maximum=1.0)
        check_number("gamma", self.gamma)
        check_number("constraint", self.constraint)
        check_number("quantile", self.quantile, exclusive=True, maximum=1.0)
        check_number("dual_rate", self.dual_rate)
        check_number("dual_damping", self.dual_damping)
        if self.constraint and not self.weight:
            raise ValueError(
                f"constraint={self.constraint} adapts λ by factors and cannot start at weight=0.0; "
                "give a small weight such as 0.001"
            )
        check_count("interval", self.interval)


@dataclass(frozen=True)
class TrainConfig:
    """One training run.

    Attributes:
        iterations: collections of ``ppo.environments`` whole episodes.
        seed: of everything.
        learners: teams that learn; the others are played by frozen opponents.
        env: the environment.
        ppo: the outer algorithm.
        adversary: the inner maximisation.
        penalty: the sensitivity to pay for.
        checkpoint_interval: iterations between checkpoints.
        report_filter: ``median`` puts the median of the reports in front of the hiders' network, in
            training and in use; None leaves the reports as they are.
    """

    iterations: int = 50
    seed: int = 0
    learners: tuple[Literal["hider", "seeker"], ...] = ("hider",)
    env: HideAndSeekConfig = field(default_factory=HideAndSeekConfig)
    ppo: PPOConfig = field(default_factory=PPOConfig)
    adversary: AdversaryConfig = field(default_factory=AdversaryConfig)
    penalty: PenaltyConfig = field(default_factory=PenaltyConfig)
    checkpoint_interval: int = 10
    report_filter: Literal["median"] | None = None

    def __post_init__(self) -> None:
        check_count("iterations", self.iterations)
        check_count("checkpoint_interval", self.checkpoint_interval)
        if not self.learners or set(self.learners) - {"hider", "seeker"}:
            raise ValueError(f"learners={self.learners} is not allowed; name 'hider' or 'seeker'")
        if not self.env.discrete:
            raise ValueError(
                "env.discrete=False has no action heads to train; use discrete actions"
            )
        if self.env.radio is None and (self.adversary.threat == "reports" or self.report_filter):
            raise ValueError(
                f"adversary.threat={self.adversary.threat!r} and "
                f"report_filter={self.report_filter!r} need reports; give env.radio"
            )
        if self.penalty.name != "none" and self.adversary.threat == "actions":
            raise ValueError(
                f"penalty.name={self.penalty.name!r} acts on the observation, which the threat "
                "'actions' leaves alone; use threat 'full' or 'others'"
            )
        if self.penalty.name != "none" and self.adversary.placement == "none":
            raise ValueError(
                f"penalty.name={self.penalty.name!r} needs the adversary's trajectory; set "
                "adversary.placement to 'update', 'rollout' or 'mixed'"
            )
