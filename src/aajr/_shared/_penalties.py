"""The settings of penalties, and where on a trajectory they take the Jacobian."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar, get_args

from aajr._settings import check_choice, check_count, check_number

Points = Literal["origin", "last", "trajectory"]
Estimator = Literal[
    "forward_mode", "double_backward", "forward_difference", "central_difference", "secant"
]
"""How J v is estimated; see ``directional_derivative``."""

Self = TypeVar("Self", bound="Penalty")


@dataclass(frozen=True, eq=False, kw_only=True)
class Penalty:
    """A sensitivity, averaged over samples and estimated on part of the batch and of the updates.

    The weight λ is a setting of ``Minimax``, not of the penalty.

    Attributes:
        metric: geometry of the output.
        fraction: share of the batch's rows, drawn without replacement; the mean stays unbiased.
        interval: in training, the penalty acts at every ``interval``-th update and is multiplied
            by ``interval``, so that the sum over updates stays unbiased.
    """

    fraction: float = 1.0
    interval: int = 1

    def __post_init__(self) -> None:
        check_number("fraction", self.fraction, exclusive=True, maximum=1.0)
        check_count("interval", self.interval)

    def observe(self: Self, trajectory: Any) -> Self:
        """The penalty updated by the whole batch, before rows are drawn; unchanged by default."""
        return self


@dataclass(frozen=True, eq=False, kw_only=True)
class JacobianPenalty(Penalty, ABC):
    """A penalty on the Jacobian at points of the trajectory.

    Attributes:
        points: the clean input, the last point at which the adversary chose a direction, or the
            mean over all such points.
    """

    points: Points = "last"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("points", self.points, get_args(Points))

    def evaluation_points(self, trajectory: Any) -> Any:
        """Where to take the Jacobian, ``[points, batch, *event]``."""
        if self.points == "origin":
            return trajectory.origin[None]
        return along(trajectory.points[:-1], self.points)

    @abstractmethod
    def _squared_gradients(self, trajectory: Any) -> Any:
        """‖g_k‖² at the evaluation points, ``[points, batch]``."""


@dataclass(frozen=True, eq=False, kw_only=True)
class AAJR(JacobianPenalty):
    r"""Sensitivity only along the directions in which the adversary pushes.

    .. math:: R = \operatorname{mean}_{x,k} \|J(x + \delta_k)\, v_k\|_M^2

    v_k and δ_k are constants for θ. The write-up prints :math:`J^\top v`; with
    :math:`J = \partial\pi/\partial x` of shape outputs × inputs the quantity is :math:`J v`.

    Attributes:
        direction: v_k. ``unit`` is g_k/‖g_k‖₂; ``step`` is the direction really moved,
            projection and sign included; ``gradient`` is g_k itself, the write-up's formula,
            which gives samples with a large gradient more weight. Its penalty is divided by a
            running mean of ‖g‖² over whole batches, so that λ has the same meaning as with
            ``unit``; ``Minimax`` carries that mean to the next update.
        gamma: if given, the hinge (max(0, ‖Jv‖ - γ))², zero inside the admissible class.
        estimator: of J v. ``secant`` uses the whole step and needs ``direction="step"``.
        gradient_scale: the running mean for ``gradient``.
        points: where J is taken, see :class:`JacobianPenalty`; at the ``origin`` along the last
            direction.
        fraction: share of the rows, an eighth by default.
        interval: in training, acts at every ``interval``-th update, 8 by default: a difference on
            an eighth of the rows then costs about 1 % of a large adversarial update.

    Raises:
        ValueError: unknown names, γ ≤ 0, combinations that have no meaning.

    Source: Adversarially-aligned Jacobian regularization, https://arxiv.org/abs/2603.04378.
    """

    direction: Literal["unit", "step", "gradient"] = "unit"
    gamma: float | None = None
    estimator: Estimator = "forward_difference"
    gradient_scale: Any
    fraction: float = 1 / 8
    interval: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("direction", self.direction, ("unit", "step", "gradient"))
        check_choice("estimator", self.estimator, get_args(Estimator))
        if self.points == "origin" and self.estimator == "secant":
            raise ValueError(
                "points='origin' is not where estimator='secant' steps; use 'last' or 'trajectory'"
            )
        if self.gamma is not None:
            check_number("gamma", self.gamma, exclusive=True)
        if self.estimator == "secant" and self.direction != "step":
            raise ValueError(
                f"estimator='secant' spans the step made, direction={self.direction!r} does not; "
                "use direction='step'"
            )

    def observe(self: Self, trajectory: Any) -> Self:
        """The penalty with the running mean of ‖g‖² updated."""
        known: Any = self
        if known.direction != "gradient":
            return self
        scale = known.gradient_scale.update(known._squared_gradients(trajectory))
        return replace(known, gradient_scale=scale)

    def _directions(self, trajectory: Any) -> Any:
        """v_k at the evaluation points, ``[points, batch, *event]``."""
        source = trajectory.steps if self.direction == "step" else trajectory.gradients
        v = source if self.direction == "gradient" else trajectory.unit(source)
        return along(v, self.points)


@dataclass(frozen=True, eq=False, kw_only=True)
class RandomDirection(JacobianPenalty):
    r"""‖J r‖² with r uniform on the unit sphere; :math:`\mathbb{E}\|Jr\|^2 = \|J\|_F^2/n`.

    n is the number of features that the mask allows. If every agent has its own budget, r is one
    unit vector per agent, like v in AAJR, and n counts the features of one agent.

    Attributes:
        weight: ``one``, or ``gradient`` to weight samples by ‖g‖² over its running mean. This
            is the weighting of AAJR's ``gradient`` without its direction.
        mask: True for input features r may use, broadcastable to the event; all by default.
        estimator: of J r.
        gradient_scale: the running mean for ``weight="gradient"``.
        fraction: share of the rows, an eighth by default, as in AAJR.
        interval: acts at every ``interval``-th update, 8 by default, as in AAJR.

    Raises:
        ValueError: unknown names; ``weight="gradient"`` with ``points="origin"``.

    Source: the ablation of AAJR; without weights, the stochastic form of the Frobenius penalty.
    """

    weight: Literal["one", "gradient"] = "one"
    mask: Any = None
    estimator: Estimator = "forward_difference"
    gradient_scale: Any
    fraction: float = 1 / 8
    interval: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("weight", self.weight, ("one", "gradient"))
        check_choice("estimator", self.estimator, get_args(Estimator))
        if self.weight == "gradient" and self.points == "origin":
            raise ValueError("points='origin' has no gradient to weight by; use 'last'")

    def observe(self: Self, trajectory: Any) -> Self:
        """The penalty with the running mean of ‖g‖² updated."""
        known: Any = self
        if known.weight != "gradient":
            return self
        scale = known.gradient_scale.update(known._squared_gradients(trajectory))
        return replace(known, gradient_scale=scale)


@dataclass(frozen=True, eq=False, kw_only=True)
class Frobenius(JacobianPenalty):
    r"""‖J‖²_F by random output projections, :math:`\mathbb{E}_w\|J^\top w\|^2`.

    Attributes:
        projections: random projections per sample.
        mask: True for input features to count, broadcastable to the event. For a fair comparison
            with AAJR, give the attackable features if the adversary reaches only part of the input.

    Raises:
        ValueError: no projection.

    Source: Hoffman, Roberts and Yaida, Robust learning with Jacobian regularization, 2019,
    https://arxiv.org/abs/1908.02729.
    """

    projections: int = 1
    mask: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("projections", self.projections)


@dataclass(frozen=True, eq=False, kw_only=True)
class Spectral(JacobianPenalty):
    r"""‖J‖₂² by power iteration on :math:`J^\top M J`.

    Attributes:
        iterations: power iterations per call.
        mask: True for input features to count, broadcastable to the event; all by default.
        estimator: of J v.

    Raises:
        ValueError: no iteration, an unknown estimator.

    Source: Yoshida and Miyato, Spectral norm regularization, 2017,
    https://arxiv.org/abs/1705.10941.
    """

    iterations: int = 5
    mask: Any = None
    estimator: Estimator = "double_backward"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("iterations", self.iterations)
        check_choice("estimator", self.estimator, get_args(Estimator))


@dataclass(frozen=True, eq=False, kw_only=True)
class InputGradient(JacobianPenalty):
    """‖∇_x ℓ(π(x))‖² = ‖Jᵀ∇ℓ‖², over all input features.

    Attributes:
        objective: ℓ, usually the adversary's own.

    Source: Ross and Doshi-Velez, Improving the adversarial robustness and interpretability of
    deep neural networks by regularizing their input gradients, 2018,
    https://arxiv.org/abs/1711.09404.
    """

    objective: Any


@dataclass(frozen=True, eq=False, kw_only=True)
class StateAdversarial(Penalty):
    """D(π(x), π(x + δ*)), or the symmetric D(π(x), π(x + δ*)) + D(π(x + δ*), π(x)).

    The first is the regulariser of SA-MDP, the second that of SR²L for stochastic policies.

    Attributes:
        symmetric: add the reverse divergence.

    Source: Zhang et al., 2020, https://arxiv.org/abs/2003.08938; Shen et al., Deep RL with robust
    and smooth policy, 2020, https://arxiv.org/abs/2003.09534.
    """

    symmetric: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class ERNIE(Penalty):
    """max_δ √(2 D(π(x), π(x + δ))): the output's change, maximised by its own inner steps.

    With the Euclidean metric the value is ‖π(x + δ) - π(x)‖₂, the Lipschitz term of the paper.

    Attributes:
        ball: the set that the inner steps search, from a random start.
        steps: inner steps of length ε; one by default, as in the paper.

    Raises:
        ValueError: no step.

    Source: Bukharin et al., Robust multi-agent RL via adversarial regularization, 2023,
    https://arxiv.org/abs/2310.10810.
    """

    ball: Any
    steps: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("steps", self.steps)


def along(value: Any, points: Points) -> Any:
    """The entries of ``value`` ``[K, batch, ...]`` that belong to the evaluation points."""
    return value if points == "trajectory" else value[-1:]
