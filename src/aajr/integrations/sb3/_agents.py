"""SB3's agents in the arena."""

from __future__ import annotations

import copy
import math
import os
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.vec_env import VecFrameStack, VecNormalize, VecTransposeImage
from torch import Tensor, nn

from aajr._checks import check_count
from aajr.arena.agents.agent import RAW, Agent
from aajr.arena.spaces.gymnasium import head_of
from aajr.arena.spaces.heads import DeterministicHead, Head
from aajr.integrations.sb3._files import load_agent
from aajr.integrations.sb3._maps import ActorCriticMap, check_observations
from aajr.integrations.sb3._memory import Inside, LSTMAgent, Sight, StackedAgent, split
from aajr.integrations.sb3._parts import Parts, PartsSight
from aajr.integrations.sb3._preprocessing import (
    FrameStacking,
    Normalisation,
    Preprocessing,
    Step,
    Transposition,
    preprocessing_of,
    statistics_of,
    wrappers_of,
)
from aajr.integrations.sb3._saved import SavedAgent, saved_agent
from aajr.integrations.sb3._zip import Unpacked, read_normalisation, unpack

Statistics: TypeAlias = "str | os.PathLike[str] | VecNormalize | Normalisation | bool | None"

PIXELS = "pixel levels, 0 to 255"
NORMALISED = "observations normalised by the agent's own running statistics (VecNormalize)"

_BESIDE = ("vecnormalize.pkl", "vec_normalize.pkl")


def agent_from(
    path_or_model: str | os.PathLike[str] | BaseAlgorithm,
    *,
    normalise: Statistics = None,
    frames: int | None = None,
    channels_first: bool = False,
    device: torch.device | str = "cpu",
    custom: Iterable[type] = (),
    trust: bool = False,
) -> Agent:
    """The agent of a zip, of a directory of :func:`save_agent`, or of a live model.

    See :meth:`aajr.arena.Agent.from_sb3`, which calls it.
    """
    if isinstance(path_or_model, BaseAlgorithm):
        return _of_model(path_or_model, normalise, frames, device)
    path = Path(path_or_model)
    if path.is_dir():
        if normalise is not None or frames is not None:
            raise ValueError(
                f"{path} holds its own wrappers; normalise={normalise!r} and frames={frames} are "
                "for SB3's zips"
            )
        return agent_of(load_agent(path, device, custom), source=str(path))
    if not path.exists() and path.with_name(f"{path.name}.zip").exists():
        path = path.with_name(f"{path.name}.zip")
    unpacked = unpack(path, device, custom, trust=trust)
    return _of_zip(path, unpacked, normalise, _Wrappers(frames, channels_first))


def agent_of(saved: SavedAgent, unit: str = "", source: str = "") -> Agent:
    """A saved agent in the arena, whose ε is measured in the policy's input.

    Args:
        saved: the agent.
        unit: unit of the policy's input; by default it is told from the wrappers.
        source: where the agent is from, for reports.

    Returns:
        The agent. If SB3 stacked frames, its observation is one frame, and the stack is its memory.
    """
    mapped = saved.policy
    shown, inside = split(saved.preprocessing)
    sight, unit = Sight(shown), unit or _unit(saved, shown)
    network, head = _network(saved)
    if isinstance(mapped, ActorCriticMap) and hasattr(mapped.policy, "lstm_actor"):
        return LSTMAgent(mapped, head, sight, inside, unit, source)
    if inside.stacking is not None:
        return StackedAgent(network, head, sight, inside, unit, source)
    value, shape = saved.value, inside.shape
    if len(shape) > 1:
        network = nn.Sequential(Inside(inside), network)
        value = None if value is None else _inside(value, inside)
    size = math.prod(shape)
    return Agent(network, head, size, unit, value, sight=sight, source=source)


def _network(saved: SavedAgent) -> tuple[nn.Module, Head]:
    """From the policy's input to the parameters of the head, and the head."""
    mapped = saved.policy
    head = head_of(saved.action_space, mapped.head)
    if mapped.scaled and isinstance(head, DeterministicHead):
        scaled = _Scaled(head.low, head.high).to(next(mapped.parameters()).device)
        return nn.Sequential(mapped, scaled), head
    return mapped, head


def _of_parts(saved: SavedAgent, parts: Parts, source: str) -> Agent:
    """An agent that reads several entries, or a choice."""
    network, head = _network(saved)
    own = saved.value
    if isinstance(saved.policy, ActorCriticMap) and hasattr(saved.policy.policy, "lstm_actor"):
        raise ValueError("a recurrent policy with several entries is not supported; flatten them")
    normalised = any(part.statistics is not None for part in parts.parts.values())
    return Agent(
        nn.Sequential(parts, network),
        head,
        parts.features,
        f"{NORMALISED}; others raw" if normalised else RAW,
        None if own is None else (lambda x: own(parts(x))),
        sight=PartsSight(parts),
        source=source,
    )


class _Scaled(nn.Module):
    """Actions in [-1, 1] to actions between the head's bounds."""

    low: Tensor
    size: Tensor

    def __init__(self, low: Tensor, high: Tensor) -> None:
        super().__init__()
        self.register_buffer("low", low)
        self.register_buffer("size", high - low)

    def forward(self, action: Tensor) -> Tensor:
        return self.low + 0.5 * (action + 1) * self.size


def _inside(value: Callable[[Tensor], Tensor], inside: Preprocessing) -> Callable[[Tensor], Tensor]:
    return lambda x: value(inside(x.reshape(-1, *inside.shape)))


def _unit(saved: SavedAgent, shown: Preprocessing) -> str:
    if shown.normalisation is not None:
        return NORMALISED
    return PIXELS if is_image_space(saved.observation_space) else RAW


def _of_model(
    model: BaseAlgorithm, normalise: Statistics, frames: int | None, device: torch.device | str
) -> Agent:
    """The agent of a live model, whose policy is copied."""
    if frames is not None:
        raise ValueError(f"frames={frames} is for zips; a live model has its own wrappers")
    name = type(model).__name__
    unpacked = Unpacked(name, _copied(model.policy).to(device), None, {})
    if normalise is None and isinstance(model.observation_space, spaces.Box):
        check_observations(model.observation_space)
        return _agent(unpacked, preprocessing_of(model), f"a live {name}")
    around = wrappers_of(model.get_env())
    if any(isinstance(one, VecFrameStack) for one in around):
        raise ValueError(f"frames of {model.observation_space} are stacked, which is not supported")
    turned = any(isinstance(one, VecTransposeImage) for one in around)
    if normalise is None:
        normalise = next((one for one in around if isinstance(one, VecNormalize)), False)
    return _wrapped(unpacked, normalise, _Wrappers(None, not turned), f"a live {name}")


def _copied(policy: BasePolicy) -> BasePolicy:
    """A copy of a policy; the noise that gSDE last drew is shared, since torch cannot copy it."""
    owners = [module for module in policy.modules() if hasattr(module, "action_dist")]
    return copy.deepcopy(policy, {id(o.action_dist): copy.copy(o.action_dist) for o in owners})


def _of_zip(path: Path, unpacked: Unpacked, normalise: Statistics, wrappers: _Wrappers) -> Agent:
    if normalise is None:
        beside = (path.with_name(name) for name in _BESIDE)
        normalise = next((file for file in beside if file.exists()), None)
    _check_known(path, unpacked, normalise)
    return _wrapped(unpacked, normalise, wrappers, str(path))


def _wrapped(unpacked: Unpacked, normalise: Statistics, wrappers: _Wrappers, source: str) -> Agent:
    """The agent of a policy in wrappers that are told."""
    space, statistics = unpacked.policy.observation_space, _statistics(normalise)
    if isinstance(space, spaces.Box):
        check_observations(space)
        if isinstance(statistics, dict):
            raise ValueError(f"normalise has statistics of {list(statistics)}, the agent reads one")
        return _agent(unpacked, wrappers.around(space, statistics), source)
    if wrappers.frames is not None or isinstance(statistics, Normalisation):
        raise ValueError(f"the agent reads {space}; frames= and statistics of one array do not fit")
    parts = Parts(space, statistics or {}, wrappers.channels_first)
    saved = _saved(unpacked, Preprocessing((parts.features,)))
    return _of_parts(saved, parts, source)


def _agent(unpacked: Unpacked, preprocessing: Preprocessing, source: str) -> Agent:
    return agent_of(_saved(unpacked, preprocessing), source=source)


def _saved(unpacked: Unpacked, preprocessing: Preprocessing) -> SavedAgent:
    return saved_agent(unpacked.algorithm, unpacked.policy, preprocessing, None, unpacked.versions)


def _check_known(path: Path, unpacked: Unpacked, normalise: Statistics) -> None:
    """Raise ValueError, or warn, if VecNormalize's statistics may be missing."""
    remedy = "give normalise='vecnormalize.pkl', or normalise=False if observations were not"
    if normalise is not None:
        return
    if unpacked.normalised:
        raise ValueError(
            f"{path} was trained with VecNormalize, whose statistics are not in the zip, so that "
            f"ε would have the wrong unit; {remedy} normalised"
        )
    if unpacked.normalised is None:
        warnings.warn(
            f"{path} does not say whether its {unpacked.algorithm} was trained with VecNormalize; "
            f"if it was, ε would have the wrong unit: {remedy}",
            UserWarning,
            stacklevel=5,
        )


def _statistics(normalise: Statistics) -> Normalisation | dict[str, Normalisation] | None:
    if normalise is True:
        raise ValueError("normalise=True names no statistics; give the file of VecNormalize's save")
    if normalise is None or normalise is False:
        return None
    if isinstance(normalise, Normalisation):
        return normalise
    if isinstance(normalise, VecNormalize):
        return statistics_of(normalise)
    return read_normalisation(Path(normalise))


@dataclass(frozen=True)
class _Wrappers:
    """The wrappers that a zip does not hold.

    Attributes:
        frames: number of VecFrameStack, None without it.
        channels_first: whether the environment shows images with their channels first.
    """

    frames: int | None = None
    channels_first: bool = False

    def around(self, space: spaces.Box, statistics: Normalisation | None) -> Preprocessing:
        """The wrappers' functions; statistics of the stack come after the stacking."""
        steps: list[Step] = []
        if self.frames is not None:
            check_count("frames", self.frames, minimum=2)
            steps.append(FrameStacking(self.frames, 0 if self._first(space) else -1))
        if is_image_space(space) and not self.channels_first:
            steps.append(Transposition())
        shape = self._shape(space)
        if statistics is not None:
            known = tuple(statistics.mean.shape)
            if known not in (shape, tuple(space.shape)):
                raise ValueError(
                    f"normalise has statistics of shape {known}, the agent reads observations of "
                    f"shape {tuple(space.shape)}; give the file that was saved with this agent"
                )
            steps.insert(0 if known == shape else len(steps), statistics)
        return Preprocessing(shape, tuple(steps))

    def _first(self, space: spaces.Box) -> bool:
        return self.channels_first and is_image_space(space)

    def _shape(self, space: spaces.Box) -> tuple[int, ...]:
        """Shape of an observation of the environment."""
        shape = tuple(space.shape)
        if is_image_space(space) and not self.channels_first:
            shape = (*shape[1:], shape[0])  # SB3 moves the channels to the front
        if self.frames is None:
            return shape
        axis = 0 if self._first(space) else len(shape) - 1
        if shape[axis] % self.frames:
            raise ValueError(
                f"frames={self.frames} does not divide the {shape[axis]} entries of the stacked "
                "axis; give the number of VecFrameStack, or None if the environment stacks them"
            )
        return (*shape[:axis], shape[axis] // self.frames, *shape[axis + 1 :])
