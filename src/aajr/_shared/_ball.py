"""The settings of the threat set Δ = {δ : ‖δ/s‖_p ≤ ε}, masked and boxed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, Literal, TypeVar

from aajr._settings import check_choice, check_count, check_number

Norm = Literal["l2", "linf"]
Radius = TypeVar("Radius", bound=Any)
Array = TypeVar("Array", bound=Any)
Self = TypeVar("Self", bound="Ball[Any, Any]")


@dataclass(frozen=True, eq=False)
class Ball(Generic[Radius, Array]):
    """Perturbations δ with ‖δ/s‖_p ≤ ε on the attackable features, and x + δ in a valid box.

    A sample's last ``event_dims`` dimensions share one budget. On ``[batch, agents, features]``,
    1 gives every agent a ball of its own and 2 one joint ball for the team; on images, with three
    dimensions per sample, 3 gives every image one ball. For ``linf`` all these sets are the same.

    Attributes:
        norm: ``"l2"`` or ``"linf"``.
        epsilon: radius ε in units of ``scale``.
        scale: s, input units per unit of ε, positive, broadcastable to the event; ones by default.
        mask: True where the adversary may change a feature, broadcastable to the event.
        coalition: True for the agents that are attacked, ``[agents]`` or ``[batch, agents]``.
        low: least valid input; a clean input outside the box is allowed.
        high: greatest valid input.
        event_dims: number of trailing dimensions that share one budget; by default 1 for
            ``[batch, features]`` and ``[batch, agents, features]``. Inputs with more dimensions
            need it.

    Raises:
        ValueError: an unknown norm, ε < 0, a scale that is not positive, a mask that is not
            boolean, crossed bounds.
    """

    norm: Norm
    epsilon: Radius
    scale: Array | None = None
    mask: Array | None = None
    coalition: Array | None = None
    low: Array | float | None = None
    high: Array | float | None = None
    event_dims: int | None = None
    _arrays: ClassVar[Any]
    _wanted: ClassVar[str]

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, ("l2", "linf"))
        check_number("epsilon", self.epsilon)
        if self.event_dims is not None:
            check_count("event_dims", self.event_dims)
        for name in ("scale", "mask", "coalition"):
            value = getattr(self, name)
            if value is None:
                continue
            if not isinstance(value, self._arrays):
                raise ValueError(f"{name} is a {type(value).__name__}; give a {self._wanted}")
            if name != "scale" and str(value.dtype).removeprefix("torch.") != "bool":
                raise ValueError(f"{name} has dtype {value.dtype}; give a boolean {self._wanted}")
        self._check_scale()
        self._check_box()

    @property
    def budget_dims(self) -> int:
        """Number of trailing dimensions that share one budget: ``event_dims``, or 1 if None."""
        return 1 if self.event_dims is None else self.event_dims

    def with_epsilon(self: Self, epsilon: Any) -> Self:
        """The same set with another radius."""
        return replace(self, epsilon=epsilon)

    def _check_scale(self) -> None:
        raise NotImplementedError

    def _check_box(self) -> None:
        raise NotImplementedError

    def _check_event(self, x: Array) -> None:
        event = x.ndim - 1
        if self.event_dims is None and event > 2:
            raise ValueError(
                f"x has shape {tuple(x.shape)} but event_dims=None does not say "
                f"which dimensions share one budget; give event_dims={event} for one budget per "
                "sample, as for images, or event_dims=1 for one budget per last dimension"
            )
        if event < self.budget_dims:
            raise ValueError(
                f"x has shape {tuple(x.shape)} but event_dims={self.event_dims}; a sample has "
                f"{event} dimensions, so give event_dims of at most {event}"
            )

    @property
    def _dims(self) -> tuple[int, ...]:
        return tuple(range(-self.budget_dims, 0))
