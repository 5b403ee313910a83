"""The threat set Δ = {δ : ‖δ/s‖_p ≤ ε}, masked and boxed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from aajr._checks import (
    check_batch,
    check_choice,
    check_count,
    check_finite,
    check_number,
    check_same_shape,
)
from aajr._vectors import unit
from aajr.geometry._projection import project_box, project_ellipsoid_in_box, project_sphere

Norm = Literal["l2", "linf"]


@dataclass(frozen=True, eq=False)
class Ball:
    """Perturbations δ with ‖δ/s‖_p ≤ ε on the attackable features, and x + δ in a valid box.

    A sample's last ``event_dims`` dimensions share one budget. On ``[batch, agents, features]``,
    1 gives every agent a ball of its own and 2 one joint ball for the team; on images
    ``[batch, channels, height, width]``, 3 gives every image one ball. For ``linf`` they are the
    same set.

    Attributes:
        norm: ``"l2"`` or ``"linf"``.
        epsilon: radius ε in units of ``scale``.
        scale: s, input units per unit of ε, positive, broadcastable to the event; ones by default.
        mask: True where the adversary may change a feature, broadcastable to the event.
        coalition: True for the agents the adversary holds, ``[agents]`` or ``[batch, agents]``.
        low: least valid input; a clean input outside the box stays admissible.
        high: greatest valid input.
        event_dims: trailing dimensions that share one budget; by default 1 for
            ``[batch, features]`` and ``[batch, agents, features]``, and to be given for more.

    Example:
        >>> import torch
        >>> ball = Ball("linf", 0.1, mask=torch.tensor([True, False]))
        >>> ball.project(torch.tensor([[0.3, 0.3]]), torch.zeros(1, 2))
        tensor([[0.1000, 0.0000]])
    """

    norm: Norm
    epsilon: float
    scale: Tensor | None = None
    mask: Tensor | None = None
    coalition: Tensor | None = None
    low: Tensor | float | None = None
    high: Tensor | float | None = None
    event_dims: int | None = None

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, ("l2", "linf"))
        check_number("epsilon", self.epsilon)
        if self.event_dims is not None:
            check_count("event_dims", self.event_dims)
        for name in ("scale", "mask", "coalition"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, Tensor):
                raise ValueError(f"{name} is a {type(value).__name__}; give a torch.Tensor")
        for name in ("mask", "coalition"):
            value = getattr(self, name)
            if value is not None and value.dtype != torch.bool:
                raise ValueError(f"{name} has dtype {value.dtype}; give a boolean tensor")
        if self.scale is not None and not bool(((self.scale > 0) & self.scale.isfinite()).all()):
            raise ValueError(
                f"scale holds {self.scale.min():g}; give positive finite values, and protect "
                "features with mask"
            )
        self._check_box()

    @property
    def budget_dims(self) -> int:
        """Trailing dimensions that share one budget: ``event_dims``, and 1 for None."""
        return 1 if self.event_dims is None else self.event_dims

    def with_epsilon(self, epsilon: float) -> Ball:
        """The same set with another radius."""
        return replace(self, epsilon=epsilon)

    def attackable(self, x: Tensor) -> Tensor:
        """1 where the adversary may act and 0 elsewhere, in x's shape ``[batch, *event]``."""
        allowed = torch.ones_like(x)
        if self.mask is not None:
            allowed = allowed * _expanded("mask", self.mask.to(x), x)
        if self.coalition is not None:
            allowed = allowed * _expanded("coalition", self.coalition.to(x).unsqueeze(-1), x)
        return allowed

    def size(self, delta: Tensor) -> Tensor:
        """‖δ/s‖_p over the budget's dimensions: ``[batch, *event]`` to ``[batch, ...]``."""
        order = 2 if self.norm == "l2" else math.inf
        return torch.linalg.vector_norm(delta / self._scale(delta), ord=order, dim=self._dims)

    @torch.no_grad()
    def project(self, delta: Tensor, x: Tensor) -> Tensor:
        """Euclidean projection of δ on the set around x; both ``[batch, *event]``.

        Source: Boyd and Vandenberghe, Convex Optimization, section 8.1.
        """
        check_same_shape("delta", delta, "x", x)
        self._check_event(x)
        check_finite("delta", delta)
        delta = delta * self.attackable(x)
        if self.epsilon == 0:
            return torch.zeros_like(delta)
        low, high = self._faces(x)
        scale = self._scale(x)
        if self.norm == "linf":
            reach = self.epsilon * scale
            return project_box(delta, torch.maximum(low, -reach), torch.minimum(high, reach))
        if self.scale is None and self.low is None and self.high is None:
            return project_sphere(self._flat(delta), self.epsilon).reshape(delta.shape)
        rows = (self._flat(t) for t in (scale, low, high))
        flat_scale, flat_low, flat_high = rows
        return project_ellipsoid_in_box(
            self._flat(delta), self.epsilon, flat_scale, flat_low, flat_high
        ).reshape(delta.shape)

    @torch.no_grad()
    def project_scaled(self, delta: Tensor, x: Tensor) -> Tensor:
        """argmin_z ‖(z - δ)/s‖₂ in the set around x: the projection that suits steepest steps.

        In an l2 ball with unequal scales, steepest steps and the Euclidean projection come to rest
        where s²g, not g, is normal to the ball; that is no maximum. Otherwise both projections
        agree.
        """
        if self.norm == "linf" or self.scale is None:
            return self.project(delta, x)
        scale = self._scale(x)
        low, high = self._faces(x)
        boxed = self.low is not None or self.high is not None
        sphere = replace(
            self,
            scale=None,
            low=low / scale if boxed else None,
            high=high / scale if boxed else None,
        )
        return sphere.project(delta / scale, torch.zeros_like(x)) * scale

    @torch.no_grad()
    def sample(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """δ uniform in the set around x, ``[batch, *event]``.

        An l2 ball that a valid box cuts is sampled uniformly without the box, then projected.
        """
        self._check_event(x)
        allowed, scale = self.attackable(x), self._scale(x)
        low, high = self._faces(x)
        if self.norm == "linf":
            reach = self.epsilon * scale
            low, high = torch.maximum(low, -reach), torch.minimum(high, reach)
            uniform = torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)
            return (low + (high - low) * uniform) * allowed
        noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype) * allowed
        direction = self._flat(unit(noise, self._dims))
        rows = direction.shape[:1]
        uniform = torch.rand(rows, generator=generator, device=x.device, dtype=x.dtype)
        count = self._flat(allowed).sum(-1).clamp_min(1)
        inside = direction * (uniform ** (1 / count)).unsqueeze(-1)
        return self.project(inside.reshape(x.shape) * self.epsilon * scale, x)

    def steepest(self, gradient: Tensor) -> Tensor:
        """argmax_d ⟨g, d⟩ subject to ‖d/s‖_p ≤ 1: s²g/‖sg‖₂ or s·sign(g); zero stays zero."""
        scale = self._scale(gradient)
        if self.norm == "linf":
            return scale * gradient.sign()
        return scale * unit(scale * gradient, self._dims)

    def diameter(self, x: Tensor) -> Tensor:
        """sup ‖δ - δ'‖₂ without the valid box, for each budget of x, ``[batch, ...]``."""
        self._check_event(x)
        reach = 2 * self.epsilon * self._scale(x) * self.attackable(x)
        order = math.inf if self.norm == "l2" else 2
        return torch.linalg.vector_norm(reach, ord=order, dim=self._dims)

    def check(self, x: Tensor) -> None:
        """Raise ValueError unless x is a finite batch that this ball fits."""
        check_batch("x", x)
        self._check_event(x)
        self._scale(x), self._faces(x)
        if not bool(self.attackable(x).any()):
            raise ValueError("mask and coalition leave no attackable feature; allow at least one")

    def _check_event(self, x: Tensor) -> None:
        event = x.ndim - 1
        if self.event_dims is None and event > 2:
            raise ValueError(
                f"x has shape {tuple(x.shape)} but event_dims=None leaves open what "
                f"shares one budget; give event_dims={event} for one budget per sample, as for "
                "images, or event_dims=1 for one per last dimension"
            )
        if event < self.budget_dims:
            raise ValueError(
                f"x has shape {tuple(x.shape)} but event_dims={self.event_dims}; a sample has "
                f"{event} dimensions, so give event_dims of at most {event}"
            )

    def _scale(self, x: Tensor) -> Tensor:
        if self.scale is None:
            return torch.ones_like(x)
        return _expanded("scale", self.scale.to(x), x)

    def _faces(self, x: Tensor) -> tuple[Tensor, Tensor]:
        low = self._face("low", -math.inf, x) - x
        high = self._face("high", math.inf, x) - x
        return low.clamp_max(0.0), high.clamp_min(0.0)

    def _face(self, name: str, default: float, x: Tensor) -> Tensor:
        value = getattr(self, name)
        if isinstance(value, Tensor):
            return _expanded(name, value.to(x), x)
        return torch.full_like(x, default if value is None else value)

    def _check_box(self) -> None:
        low = torch.as_tensor(-math.inf if self.low is None else self.low)
        high = torch.as_tensor(math.inf if self.high is None else self.high)
        if bool(low.isnan().any() | high.isnan().any()):
            raise ValueError("low or high holds NaN; give numbers, or infinity for no bound")
        try:
            crossed = bool((low > high).any())
        except RuntimeError:
            raise ValueError(
                f"low of shape {tuple(low.shape)} and high of shape {tuple(high.shape)} do not "
                "broadcast; give both the shape of one sample"
            ) from None
        if crossed:
            raise ValueError(f"low={self.low} exceeds high={self.high} somewhere; swap them")

    @property
    def _dims(self) -> tuple[int, ...]:
        return tuple(range(-self.budget_dims, 0))

    def _flat(self, value: Tensor) -> Tensor:
        return value.reshape(-1, math.prod(value.shape[-self.budget_dims :]))


def _expanded(name: str, value: Tensor, x: Tensor) -> Tensor:
    try:
        return value.expand_as(x)
    except RuntimeError:
        raise ValueError(
            f"{name} of shape {tuple(value.shape)} does not fit x of shape {tuple(x.shape)}; "
            "give a shape that broadcasts to one sample"
        ) from None
