"""The configuration of a training run. Its dataclasses also define the command line's options."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from aajr._settings import StepRule, check_choice, check_count, check_number
from aajr.arena.threats import Threat
from aajr.arena.training.ppo import PPOConfig
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
        placement: where the attack enters training. ``none``: nowhere. ``update``: the policy loss
            is taken at x + δ*. ``rollout``: the agents act on perturbed observations during
            collection, chosen against a Q that is learned online. ``mixed``: half of the collected
            episodes are attacked, and the loss is the mean of the clean and the attacked loss.
        threat: what the adversary may change, see :mod:`aajr.hide_and_seek.game.threats`.
        objective: what the adversary maximises at the update. ``mad``: the change of the action
            distribution. ``surrogate``: minus the advantage-weighted log-probability. ``critic``:
            minus the online Q.
        epsilon: L∞ radius in observation units (the arena's half width is 1).
        action_epsilon: L∞ radius, in logits, of a second attack, on the actions during collection;
            0 for none. Under the threat ``actions``, ``epsilon`` is the radius in logits.
        steps: number of steps of projected gradient ascent.
        step_size: step size in units of ε; 0 for 2.5 / steps.
        step_rule: ``fixed``, ``normalized``, ``stable`` or ``backtracking``; the last two never
            lower the objective.
        ramp: share of training over which ε grows linearly from 0.
        liars: which sources lie to a hider at a step, under the threat ``reports``: ``random``
            ones, or those whose lies gain most according to the ``gradient``. None means
            ``random``.
        search: ``noise`` draws random perturbations instead of gradient ascent; None ascends.
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
        """Whether training must learn a Q online."""
        return self.placement in ("rollout", "mixed") or self.objective == "critic"


@dataclass(frozen=True)
class PenaltyConfig:
    """The penalty of training.

    Attributes:
        name: which penalty; ``none`` for adversarial training alone.
        weight: λ.
        direction: direction of AAJR: ``unit``, ``step`` or ``gradient``. For ``random_direction``,
            ``gradient`` weights samples by ‖g‖².
        points: where the Jacobian is taken: at the ``last`` point, on the whole ``trajectory``, or
            at the clean point, ``origin``.
        fraction: share of the attacked rows that is penalised; 0 for the penalty's own default.
            The placement ``rollout`` draws an eighth of the rows for the penalty; there, 0
            penalises all of these.
        second_attack: in attacked rollouts, the penalty is taken at what the agents
            perceived, along the perturbation that they met. If True, the rows are attacked once
            more, from what the agents perceived: perturbations then add up to 2ε, and 2k sources
            may lie.
        interval: a penalty is computed at every ``interval``-th update.
        gamma: hinge of AAJR; 0 for none.
        constraint: γ of the constraint form; 0 for a fixed λ. In the constraint form λ starts at
            ``weight`` and adapts so that ``quantile`` of ‖Jv‖ stays at most γ. λ never falls below
            ``weight`` / 100.
        quantile: quantile of ‖Jv‖ that the constraint bounds.
        dual_rate: rate of the dual ascent; see :class:`aajr.DualAscent`.
        dual_damping: damping of the dual ascent. If rate and damping are 0, the quantile is
            measured and λ stays fixed.
        within: features that ``global_attackable`` and ``random_direction`` use: ``moved`` for
            those that the adversary moved in the sample, None for all that it may change.
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
    second_attack: bool = False

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
class LearnerConfig:
    """How one team learns, in any game.

    Attributes:
        iterations: number of iterations; each collects ``ppo.environments`` whole episodes.
        seed: seed of all random numbers of the run.
        ppo: settings of PPO, the outer minimisation.
        adversary: settings of the adversary, the inner maximisation.
        penalty: settings of the penalty on the Jacobian.
    """

    iterations: int = 50
    seed: int = 0
    ppo: PPOConfig = field(default_factory=PPOConfig)
    adversary: AdversaryConfig = field(default_factory=AdversaryConfig)
    penalty: PenaltyConfig = field(default_factory=PenaltyConfig)

    def __post_init__(self) -> None:
        check_count("iterations", self.iterations)


@dataclass(frozen=True)
class TrainConfig(LearnerConfig):
    """One training run of hide-and-seek.

    Attributes:
        learners: teams that learn; frozen opponents play the other team.
        env: the game.
        checkpoint_interval: iterations between checkpoints.
        report_filter: ``median`` replaces every report by the median before the hiders' network, in
            training and afterwards; None leaves the reports unchanged.
    """

    learners: tuple[Literal["hider", "seeker"], ...] = ("hider",)
    env: HideAndSeekConfig = field(default_factory=HideAndSeekConfig)
    checkpoint_interval: int = 10
    report_filter: Literal["median"] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
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
