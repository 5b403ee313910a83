"""What ``aajr attack`` attacks: agents, environment and ball from the words of the command."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from aajr.arena.agents.agent import Agent
from aajr.arena.attacks.action_threat import action_features
from aajr.arena.attacks.suites import Norm
from aajr.arena.environments.gymnasium import GymnasiumEnvironment
from aajr.arena.environments.named import resolve
from aajr.geometry import Ball
from aajr.integrations.envpool import ENVPOOL, EnvPoolEnvironment
from aajr.integrations.jax_ppo import CHECKPOINT

PIXELS = "pixel levels"
"""First words of the unit of images, whose valid inputs are 0 to 255."""


def environment_of(name: str, limit: int | None) -> Any:
    """The environment of a registered name, ``envpool:Name``, or ``package.module:factory``.

    The factory may make an environment of Gymnasium, of TorchRL, or one of the arena, which is
    returned as it is.

    Raises:
        ValueError: a limit for an environment of the arena.
    """
    if name.startswith(ENVPOOL):
        return EnvPoolEnvironment(name.removeprefix(ENVPOOL), 1, 0, limit=limit)
    if ":" in name and all(part.isidentifier() for part in name.replace(":", ".").split(".")):
        found = resolve(name)
        made = found() if callable(found) and not _of_torchrl(found) else found
        if _of_torchrl(made):
            from aajr.integrations.torchrl import TorchRLEnvironment

            return TorchRLEnvironment(name, 1, 0, limit=limit)
        if hasattr(made, "resized"):
            if limit is not None:
                raise ValueError(
                    f"limit={limit} is for environments that are not of the arena; set it in {name}"
                )
            return made
    return GymnasiumEnvironment(name, 1, 0, limit=limit)


def agents_of(
    names: Sequence[str],
    environment: Any,
    *,
    normalise: Path | None,
    frames: int | None,
    trust: bool,
) -> list[Agent]:
    """The agents that the words name.

    Raises:
        ValueError: no agent, a file that is no agent, an object that is none.
    """
    if not names:
        raise ValueError("agents is empty; give a zip, a directory or package.module:function")
    loaded = []
    for name in names:
        if Path(name).exists() or ":" not in name:
            loaded.append(_from_file(name, environment, normalise, frames, trust))
        else:
            loaded.append(_from_object(name, resolve(name), environment))
    return loaded


def ball_of(
    agents: Sequence[Agent],
    environment: Any,
    norm: Norm,
    epsilon: float,
    features: Sequence[str],
    low: float | None,
    high: float | None,
    *,
    actions: bool = False,
) -> Ball:
    """The ball of the command, of observations or actions; images of bytes stay valid images.

    Raises:
        ValueError: features without names or out of range.
    """
    mask = None
    if actions:
        mask = action_features(agents[0].head).selected(features) if features else None
        return Ball(norm, epsilon, mask=mask, low=low, high=high)
    if features:
        if not hasattr(environment, "features_named"):
            raise ValueError(f"features={features} but this environment names none; leave them out")
        mask = environment.features_named(features)
    if agents[0].unit.startswith(PIXELS):
        low, high = 0.0 if low is None else low, 255.0 if high is None else high
    return Ball(norm, epsilon, mask=mask, low=low, high=high)


def _from_file(
    name: str, environment: Any, normalise: Path | None, frames: int | None, trust: bool
) -> Agent:
    if not Path(name).exists() and not Path(f"{name}.zip").exists():
        raise ValueError(
            f"agent {name!r} does not exist; give a zip, a directory or package.module:function"
        )
    if Path(name).suffix == ".onnx":
        seen, acted = _spaces(environment, name)
        return Agent.from_onnx(name, seen, acted)
    if (Path(name) / CHECKPOINT).exists():
        return Agent.from_ppo(name)
    return Agent.from_sb3(name, normalise=normalise, frames=frames, trust=trust)


def _from_object(name: str, found: Any, environment: Any) -> Agent:
    """The agent of an object, or of what it returns if it is a function without arguments."""
    made = found() if _makes(found) else found
    if isinstance(made, Agent):
        made.source = made.source or name
        return made
    if not callable(made):
        raise ValueError(
            f"agent {name!r} is a {type(made).__name__}; return an Agent, a torch module, or a "
            "function of observations"
        )
    seen, acted = _spaces(environment, name)
    if hasattr(made, "in_keys"):  # a module on tensordicts
        return Agent.from_torchrl(made, acted, observation_space=seen, source=name)
    if isinstance(made, nn.Module):
        return Agent.from_module(made, acted, observation_space=seen, source=name)
    return Agent.from_callable(made, seen, acted, source=name)


def _makes(found: Any) -> bool:
    """Whether an object is a function or class that needs no arguments."""
    if isinstance(found, nn.Module) or not callable(found):
        return False
    free = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(found).parameters.values()
    return all(p.default is not p.empty or p.kind in free for p in parameters)


def _spaces(environment: Any, name: str) -> tuple[Any, Any]:
    """Spaces of the observations and the actions."""
    view, acted = (getattr(environment, part, None) for part in ("view", "action_space"))
    if view is None or acted is None:
        raise ValueError(
            f"agent {name!r} must return an Agent, since {type(environment).__name__} does not "
            "show the spaces of its observations and actions"
        )
    return view.space, acted


def _of_torchrl(found: Any) -> bool:
    """Whether an object is an environment of TorchRL; TorchRL is not loaded for that."""
    kinds = ((kind.__module__, kind.__name__) for kind in type(found).__mro__)
    return ("torchrl.envs.common", "EnvBase") in kinds
