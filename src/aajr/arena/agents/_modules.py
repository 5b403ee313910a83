"""Agents made of torch modules that return logits, means, values or distributions."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributions, nn

from aajr.arena.agents.agent import RAW, Agent
from aajr.arena.spaces.gymnasium import features_of, head_of, spaces
from aajr.arena.spaces.heads import (
    CategoricalHead,
    DeterministicHead,
    GaussianHead,
    Head,
    SquashedGaussianHead,
)

Read = Callable[[Any, Tensor], Any]
"""Function of a module and observations ``[rows, *shape]``."""


def agent_of_module(
    module: nn.Module,
    action_space: spaces.Space[Any],
    *,
    observation_space: spaces.Space[Any] | None = None,
    outputs: Read | None = None,
    head: Head | None = None,
    value: Read | None = None,
    unit: str = RAW,
    sight: Callable[[np.ndarray], Tensor] | None = None,
    source: str = "",
) -> Agent:
    """The agent of a module; see :meth:`aajr.arena.Agent.from_module`, which calls it."""
    module = copy.deepcopy(module).eval().requires_grad_(False)
    read, shape = outputs or _own_map(module), _shape(module, observation_space)
    found = _tried(module, read, torch.zeros(2, *shape, dtype=_dtype(module)))
    head = head or _head(found, action_space, module)
    network = Mapped(module, read, shape, head)
    _check(parameters_of(found, head), head, action_space)
    own = value or ((lambda m, x: m.get_value(x)) if hasattr(module, "get_value") else None)
    known = None if own is None else Mapped(module, own, shape, head).value
    name = source or f"a module, {type(module).__module__}.{type(module).__qualname__}"
    return Agent(network, head, math.prod(shape), unit, known, sight=sight, source=name)


class Mapped(nn.Module):
    """A map from flat observations to the parameters of the head.

    Args:
        module: the user's module.
        read: function of the module and observations ``[rows, *shape]`` to what it returns.
        shape: shape of an observation.
        head: the head that reads the parameters.
    """

    def __init__(self, module: nn.Module, read: Read, shape: tuple[int, ...], head: Head) -> None:
        super().__init__()
        self.module, self.read, self.shape, self.head = module, read, shape, head

    def forward(self, observation: Tensor) -> Tensor:
        """Parameters ``[rows, outputs]`` at observations ``[rows, features]``."""
        return parameters_of(self._found(observation), self.head)

    def value(self, observation: Tensor) -> Tensor:
        """What a map to values returns, ``[rows]``."""
        found: Tensor = self._found(observation)
        return found.reshape(len(observation))

    def _found(self, observation: Tensor) -> Any:
        shaped = observation.reshape(-1, *self.shape).to(_dtype(self.module, observation.dtype))
        return self.read(self.module, shaped)


def parameters_of(found: Any, head: Head) -> Tensor:
    """What a module returned, as one tensor of the head's parameters, ``[rows, outputs]``.

    Args:
        found: a tensor, a distribution, (mean, log std), or one of these for each discrete action.
        head: the head that reads the parameters.

    Raises:
        ValueError: anything else.
    """
    if isinstance(found, distributions.Distribution):
        found = _of_distribution(found)
    if isinstance(found, Sequence):
        parts = [parameters_of(part, head) for part in found]
        if isinstance(head, GaussianHead):
            parts = [part.expand_as(parts[0]) for part in parts]
        return torch.cat(parts, -1)
    if not isinstance(found, Tensor):
        raise ValueError(
            f"the module returns a {type(found).__name__}; give outputs=, a function of the module "
            "and observations to logits, actions, (mean, log std) or a distribution"
        )
    flat = found.flatten(1)
    bits = isinstance(head, CategoricalHead) and set(head.sizes) == {2}
    if bits and 2 * flat.shape[1] == head.outputs:
        return torch.stack([torch.zeros_like(flat), flat], -1).flatten(1)
    return flat


def _of_distribution(found: distributions.Distribution) -> Any:
    if isinstance(found, distributions.Independent):
        found = found.base_dist
    if isinstance(found, distributions.Normal):
        return found.loc, found.scale.log()
    if isinstance(found, distributions.MultivariateNormal):
        return found.loc, 0.5 * found.variance.log()
    for kind in (
        distributions.Categorical,
        distributions.OneHotCategorical,
        distributions.Bernoulli,
    ):
        if isinstance(found, kind):
            return found.logits
    raise ValueError(
        f"the module returns a {type(found).__name__}, whose parameters no head reads; give "
        "outputs=, for instance lambda module, x: module(x).mean"
    )


def _own_map(module: nn.Module) -> Read:
    """How a module is called; CleanRL's agents have no ``forward``."""
    if hasattr(module, "actor_mean") and hasattr(module, "actor_logstd"):
        return lambda m, x: (m.actor_mean(x), m.actor_logstd)
    if "forward" in {name for kind in type(module).__mro__[:-2] for name in vars(kind)}:
        return lambda m, x: m(x)
    if hasattr(module, "actor") and not hasattr(module, "network"):
        return lambda m, x: m.actor(x)
    raise ValueError(
        f"module={type(module).__name__} has no forward; give outputs=, a function of the module "
        "and observations to logits, actions, (mean, log std) or a distribution, for instance "
        "lambda agent, x: agent.actor(agent.network(x / 255))"
    )


@torch.no_grad()
def _tried(module: nn.Module, read: Read, example: Tensor) -> Any:
    try:
        return read(module, example)
    except Exception as error:  # the module is the user's: it may raise anything
        raise ValueError(
            f"the module raised {type(error).__name__} at observations of shape "
            f"{tuple(example.shape)} ({error}); give the observation_space that it reads, or "
            "outputs=, a function of the module and observations"
        ) from error


def _head(found: Any, space: spaces.Space[Any], module: nn.Module) -> Head:
    """The head that fits what a module returned."""
    if not isinstance(space, spaces.Box):
        return head_of(space)
    if isinstance(found, Tensor):
        pair = found.flatten(1).shape[1] == 2 * math.prod(space.shape)
        return head_of(space, GaussianHead if pair else DeterministicHead)
    squashed = isinstance(found, tuple) and hasattr(module, "action_scale")  # CleanRL's SAC
    return head_of(space, SquashedGaussianHead if squashed else GaussianHead)


def _check(outputs: Tensor, head: Head, space: spaces.Space[Any]) -> None:
    if outputs.shape != (2, head.outputs):
        raise ValueError(
            f"the module returns {tuple(outputs.shape)} for two observations, but actions of "
            f"{space} with a {type(head).__name__} need (2, {head.outputs}); give outputs= or head="
        )
    if not bool(outputs.isfinite().all()):
        raise ValueError("the module returns NaN or infinite values at observations of zeros")


def _shape(module: nn.Module, space: spaces.Space[Any] | None) -> tuple[int, ...]:
    """Shape of an observation, by the space or by the first layer with weights."""
    if space is not None:
        box = isinstance(space, spaces.Box)
        return tuple(map(int, space.shape)) if box else (features_of(space).size,)
    weighted = (m for m in module.modules() if next(m.parameters(recurse=False), None) is not None)
    for first in weighted:
        if isinstance(first, nn.Linear):
            return (first.in_features,)
        if first is not module:
            break
    raise ValueError("observation_space=None, and no first linear layer tells its shape; give it")


def _dtype(module: nn.Module, other: torch.dtype = torch.float32) -> torch.dtype:
    return next((p.dtype for p in module.parameters() if p.is_floating_point()), other)
