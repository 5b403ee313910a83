"""The settings of projected gradient ascent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from aajr._settings import StepRule, check_choice, check_count, check_number

Recorded = Literal["trajectory", "last"]
RECORDED = ("trajectory", "last")
StepDirection = Literal["steepest", "raw", "sign"]
STEP_DIRECTIONS = ("steepest", "raw", "sign")
STEP_RULES = ("fixed", "normalized", "stable", "backtracking")


@dataclass(frozen=True, eq=False)
class ProjectedGradientAscent:
    """δ_{k+1} = P_Δ(δ_k + η S(g_k)) with g_k = ∇ℓ(π(x + δ_k)) on the attackable features.

    P_Δ is the Euclidean projection; for steepest steps, distances are in units of the ball's scale.

    Attributes:
        ball: the threat set Δ.
        objective: ℓ, (output, reference) to losses ``[batch]``.
        steps: number K of steps.
        step_size: η, 2.5 ε / K by default; with steepest steps this is enough to cross the ball.
        step_direction: S. ``steepest`` is the steepest direction of the ball's norm, s·sign(g) for
            linf and s²g/‖sg‖₂ for l2. Its size is ‖S/s‖_p = 1, so η is in units of ε. The others
            do not depend on the norm: ``raw`` is g, and ``sign`` is s·sign(g), which may not
            converge to a maximum in an l2 ball.
        step_rule: length of the step of each sample. ``fixed`` is η; ``normalized`` is
            η/‖S(g)/s‖_p, equal lengths; ``stable`` shortens the step to ⟨g, d⟩/L_eff with the
            effective smoothness L_eff measured along it; ``backtracking`` halves it until the
            increase suffices. The last two never lower the objective; their extra passes are
            counted.
        random_start: start at random in the ball instead of at δ = 0.
        restarts: independent searches; the worst point of all is kept, per sample.
        select: ``last`` returns the last point, ``best`` the point with the highest loss, which
            takes one more forward pass. More than one restart needs ``best``.
        keep_outputs: keep π at every point with its graph, for the secant estimator.
        record: ``trajectory`` keeps every point; ``last`` keeps only the last gradient, its point
            and the result, for large inputs.

    Raises:
        ValueError: unknown names, non-positive steps or sizes.

    Source: Madry et al., Towards deep learning models resistant to adversarial attacks, 2018,
    https://arxiv.org/abs/1706.06083.
    """

    ball: Any
    objective: Any
    steps: int = 3
    step_size: Any = None
    step_direction: StepDirection = "steepest"
    step_rule: StepRule = "fixed"
    random_start: bool = True
    restarts: int = 1
    select: Literal["last", "best"] = "last"
    keep_outputs: bool = False
    record: Recorded = "trajectory"

    def __post_init__(self) -> None:
        check_choice("record", self.record, RECORDED)
        if self.keep_outputs and self.record == "last":
            raise ValueError("keep_outputs=True keeps every point; use record='trajectory'")
        check_count("steps", self.steps)
        check_count("restarts", self.restarts)
        check_choice("step_direction", self.step_direction, STEP_DIRECTIONS)
        check_choice("step_rule", self.step_rule, STEP_RULES)
        check_choice("select", self.select, ("last", "best"))
        if self.step_size is not None:
            check_number("step_size", self.step_size, exclusive=True)
        if self.restarts > 1 and self.select == "last":
            raise ValueError(f"restarts={self.restarts} must be compared; use select='best'")
        if self.restarts > 1 and not self.random_start:
            raise ValueError(
                f"restarts={self.restarts} would all give the same result; use random_start=True"
            )

    @property
    def _step_size(self) -> Any:
        """η."""
        return 2.5 * self.ball.epsilon / self.steps if self.step_size is None else self.step_size
