"""Agents of TorchRL and tensordict."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces
from torch import Tensor, nn

try:
    from tensordict import TensorDict
    from torchrl.modules import Delta, TanhDelta, TanhNormal
except ImportError as error:
    raise ImportError("aajr.integrations.torchrl needs TorchRL: pip install 'aajr[rl]'") from error

from aajr.arena.agents.agent import RAW, Agent
from aajr.arena.spaces.heads import SquashedGaussianHead


def agent_from(
    actor: nn.Module,
    action_space: spaces.Space[Any],
    *,
    observation_space: spaces.Space[Any] | None = None,
    value: nn.Module | None = None,
    unit: str = RAW,
    sight: Callable[[np.ndarray], Tensor] | None = None,
    source: str = "",
) -> Agent:
    """The agent of a module on tensordicts.

    See :meth:`aajr.arena.Agent.from_torchrl`, which calls it.
    """
    read = _Reader(_only_key(actor))
    settings: dict[str, Any] = {
        "observation_space": observation_space,
        "outputs": read,
        "value": None if value is None else _Value(value),
        "unit": unit,
        "sight": sight,
        "source": source or f"TorchRL, {type(actor).__name__}",
    }
    agent = Agent.from_module(actor, action_space, **settings)
    if read.bounds is None:
        return agent
    ends = (end.expand(agent.head.outputs // 2).float() for end in read.bounds)
    return Agent.from_module(actor, action_space, head=SquashedGaussianHead(*ends), **settings)


class _Reader:
    """The parameters of the action distribution, from an actor and observations.

    Attributes:
        bounds: bounds of the actions of the last TanhNormal; None if there was none.
    """

    def __init__(self, key: Any) -> None:
        self.key = key
        self.bounds: tuple[Tensor, Tensor] | None = None

    def __call__(self, actor: Any, x: Tensor) -> Any:
        entries = TensorDict({self.key: x}, batch_size=[len(x)])
        if hasattr(actor, "get_dist"):
            return self._parameters(actor.get_dist(entries))
        written = actor(entries)
        if "loc" in written and "scale" in written:
            return written["loc"], written["scale"].log()
        found = next((n for n in ("logits", "action_value", "action") if n in written), None)
        if found is None:
            raise ValueError(
                f"the actor writes {sorted(map(str, actor.out_keys))}; loc and scale, logits, "
                "action_value or action can be read"
            )
        return written[found]

    def _parameters(self, dist: Any) -> Any:
        if isinstance(dist, TanhNormal):
            self.bounds = dist.low, dist.high
            return dist.root_dist.mean, dist.root_dist.stddev.log()
        return dist.deterministic_sample if isinstance(dist, Delta | TanhDelta) else dist


class _Value:
    """V from a module that writes ``state_value``; a copy of it."""

    def __init__(self, module: nn.Module) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.key = _only_key(module)

    def __call__(self, actor: nn.Module, x: Tensor) -> Tensor:
        entries = TensorDict({self.key: x}, batch_size=[len(x)])
        value: Tensor = self.module(entries)["state_value"]
        return value


def _only_key(module: Any) -> Any:
    keys = list(getattr(module, "in_keys", ()))
    if len(keys) != 1:
        raise ValueError(
            f"{type(module).__name__} reads {keys or 'no entries'}; one entry, the observation, "
            "can be attacked here, without memory, masks or goals"
        )
    return keys[0]
