"""Agents made of functions that can only be asked: no gradients pass through them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from aajr._checks import check_choice
from aajr.arena.agents.agent import RAW, Agent
from aajr.arena.spaces.gymnasium import features_of, head_of, spaces
from aajr.arena.spaces.heads import CategoricalHead, DeterministicHead, Head

Returns = Literal["actions", "logits"]
SURE = 10.0
"""Logit of the chosen action; the others have 0."""

PROBES = 16
"""Observations at which a function is tried when its agent is made."""


def agent_of_callable(
    function: Callable[[Any], Any],
    observation_space: spaces.Space[Any],
    action_space: spaces.Space[Any],
    *,
    returns: Returns = "actions",
    batched: bool = True,
    unit: str = RAW,
    sight: Callable[[np.ndarray], Tensor] | None = None,
    source: str = "",
) -> Agent:
    """The agent of a function; see :meth:`aajr.arena.Agent.from_callable`, which calls it."""
    check_choice("returns", returns, ("actions", "logits"))
    head = head_of(action_space, DeterministicHead)
    if returns == "logits" and not isinstance(head, CategoricalHead):
        raise ValueError(f"returns='logits', but {action_space} is continuous; return actions")
    asked = Asked(function, observation_space, action_space, head, returns, batched)
    asked.try_out()
    name = source or f"a function, {_name(function)}"
    features = features_of(observation_space).size
    return Agent(
        asked, head, features, unit, sight=sight, differentiable=False, source=name
    ).requires_grad_(False)


class Asked(nn.Module):
    """A function of numpy's arrays as a map from flat observations to the head's parameters.

    Args:
        function: from observations to actions or logits.
        observation_space: the space that it reads; other spaces than Box are shown to it flat.
        action_space: the space of its actions.
        head: the head that reads the parameters.
        returns: what the function returns.
        batched: whether it takes many observations at once.
    """

    answers: Tensor

    def __init__(
        self,
        function: Callable[[Any], Any],
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        head: Head,
        returns: Returns,
        batched: bool,
    ) -> None:
        super().__init__()
        self.function, self.returns, self.batched = function, returns, batched
        self.observation_space, self.action_space, self.head = observation_space, action_space, head

    @torch.no_grad()
    def forward(self, observation: Tensor) -> Tensor:
        """Parameters ``[rows, outputs]`` at observations ``[rows, features]``; no gradients."""
        shown = self._shown(observation)
        told = self.function(shown) if self.batched else [self.function(row) for row in shown]
        found = torch.as_tensor(self._numbers(told, len(shown)))
        if isinstance(self.head, CategoricalHead) and self.returns == "actions":
            found = SURE * self.head.encode(found.long())
        return found.to(observation.device, torch.float32)

    def try_out(self) -> None:
        """Ask it twice, and keep the answers: they identify the agent among others.

        Raises:
            ValueError: it raises an error, returns another shape, or does not repeat itself.
        """
        probes = self._probes()
        try:
            first, second = self(probes), self(probes)
        except Exception as error:  # the function is the user's: it may raise anything
            raise ValueError(
                f"the function raised {type(error).__name__} at {PROBES} observations of "
                f"{self.observation_space} ({error}); batched={self.batched} says whether it takes "
                "many at once"
            ) from error
        if not torch.equal(first, second):
            raise ValueError(
                "the function answers the same observations in two ways; give one without chance "
                "and without a state of its own"
            )
        self.register_buffer("answers", first)

    def _probes(self) -> Tensor:
        source = torch.Generator().manual_seed(0)
        size = features_of(self.observation_space).size
        drawn = torch.randn(PROBES, size, generator=source)
        if isinstance(self.observation_space, spaces.Box):
            low, high = (self.observation_space.low, self.observation_space.high)
            ends = (torch.as_tensor(end.astype(np.float32)).flatten() for end in (low, high))
            return torch.minimum(torch.maximum(drawn, next(ends)), next(ends))
        return drawn

    def _shown(self, observation: Tensor) -> np.ndarray:
        """Observations in the space's shape and type; whole numbers are rounded."""
        rows = observation.detach().cpu().numpy()
        space = self.observation_space
        if not isinstance(space, spaces.Box):
            return rows
        if np.issubdtype(space.dtype, np.integer):
            info = np.iinfo(space.dtype)
            rows = np.clip(np.rint(rows), info.min, info.max)
        return rows.reshape(-1, *space.shape).astype(space.dtype)

    def _numbers(self, told: Any, rows: int) -> np.ndarray:
        """What the function told, ``[rows, numbers]``."""
        if self.returns == "logits":
            found, size = np.asarray(told), self.head.outputs
        else:
            found = numbers_of(self.action_space, told)
            size = self.head.act(torch.zeros(1, self.head.outputs)).shape[1]
        if found.shape != (rows, size):
            raise ValueError(
                f"{self.returns} have shape {found.shape} for {rows} observations, but "
                f"{self.action_space} needs ({rows}, {size})"
            )
        return found


def numbers_of(space: spaces.Space[Any], actions: Any) -> np.ndarray:
    """Actions of a space as numbers ``[rows, numbers]``, those that heads choose.

    It is the inverse of :func:`aajr.arena.spaces.gymnasium.native_action`.

    Args:
        space: the space.
        actions: an array ``[rows, *action]``, or a list of actions.

    Raises:
        ValueError: a choice that the space does not have.

    Example:
        >>> numbers_of(spaces.Discrete(3, start=5), [5, 7])
        array([[0],
               [2]])
    """
    if isinstance(space, spaces.Dict | spaces.Tuple):
        members = list(space.items() if isinstance(space, spaces.Dict) else enumerate(space))
        parts = [numbers_of(member, [one[key] for one in actions]) for key, member in members]
        return np.concatenate(parts, 1)
    found = np.stack([np.asarray(one) for one in actions])
    if isinstance(space, spaces.Box):
        return found.reshape(len(found), -1)
    start = getattr(space, "start", 0)
    sizes = np.asarray(getattr(space, "nvec", getattr(space, "n", 2)))
    if isinstance(space, spaces.MultiBinary):
        sizes = np.asarray(2)
    numbers = (found - start).reshape(len(found), -1)
    if not ((numbers >= 0) & (numbers < sizes.reshape(-1))).all():
        raise ValueError(f"actions={found.tolist()} are not all in {space}")
    return numbers


def _name(function: Callable[..., Any]) -> str:
    kind = function if hasattr(function, "__qualname__") else type(function)
    return f"{kind.__module__}.{kind.__qualname__}"
