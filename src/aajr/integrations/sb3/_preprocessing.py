"""SB3's wrappers as functions from the environment's observation to the policy's input."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import (
    VecCheckNan,
    VecEnv,
    VecEnvWrapper,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecTransposeImage,
    VecVideoRecorder,
)
from torch import Tensor

_KNOWN = (
    VecNormalize,
    VecFrameStack,
    VecTransposeImage,
    VecMonitor,
    VecCheckNan,
    VecVideoRecorder,
)


@dataclass(frozen=True, eq=False)
class Normalisation:
    """VecNormalize's running statistics: x = clip((o - mean)/sqrt(var + ε)).

    Attributes:
        mean: mean of the observations, float64.
        variance: variance of the observations, float64.
        epsilon: added to the variance.
        clip: greatest absolute value of a normalised observation.
    """

    mean: Tensor
    variance: Tensor
    epsilon: float
    clip: float

    def __call__(self, observation: Tensor) -> Tensor:
        """The normalised observation, float32."""
        mean, variance = (t.to(observation.device) for t in (self.mean, self.variance))
        scaled = (observation.double() - mean) / (variance + self.epsilon).sqrt()
        return scaled.clamp(-self.clip, self.clip).float()


@dataclass(frozen=True)
class Transposition:
    """VecTransposeImage: ``[batch, height, width, channels]`` to channels first."""

    def __call__(self, observation: Tensor) -> Tensor:
        """The image, channels first."""
        return observation.movedim(-1, 1)


@dataclass(frozen=True)
class FrameStacking:
    """VecFrameStack: the last frames, the newest last.

    Attributes:
        frames: number of frames.
        axis: axis of an observation along which they are joined, 0 or -1.
    """

    frames: int
    axis: int

    def __call__(self, frames: Tensor) -> Tensor:
        """Join ``[batch, frames, *observation]`` to the next wrapper's input."""
        return torch.cat(frames.unbind(1), -1 if self.axis == -1 else 1)


Step = Normalisation | Transposition | FrameStacking


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """Wrappers of the environment, in the order in which they act.

    Attributes:
        shape: shape of one observation of the environment.
        steps: the wrappers' functions; at most one stacks frames.
    """

    shape: tuple[int, ...]
    steps: tuple[Step, ...] = ()

    @property
    def stacking(self) -> FrameStacking | None:
        """The step that stacks frames, if any."""
        return next((step for step in self.steps if isinstance(step, FrameStacking)), None)

    @property
    def normalisation(self) -> Normalisation | None:
        """The statistics, if any."""
        return next((step for step in self.steps if isinstance(step, Normalisation)), None)

    def __call__(self, observation: Tensor) -> Tensor:
        """The policy's input for observations, or for stacks of them.

        Args:
            observation: ``[batch, *shape]``; with stacking ``[batch, frames, *shape]``, the newest
                last.

        Raises:
            ValueError: the wrong shape.
        """
        stacking = self.stacking
        lead = () if stacking is None else (stacking.frames,)
        if observation.shape[1:] != (*lead, *self.shape):
            raise ValueError(
                f"observation has shape {tuple(observation.shape)}; give [batch, "
                f"{', '.join(map(str, (*lead, *self.shape)))}]"
                + ("" if stacking is None else ", the newest frame last, or use observer()")
            )
        if stacking is None:
            return self.after(self.before(observation))
        frames = self.before(observation.flatten(0, 1))
        return self.after(stacking(frames.reshape(-1, stacking.frames, *frames.shape[1:])))

    def before(self, frame: Tensor) -> Tensor:
        """Apply the steps before the stacking, or all if none stacks, to single frames; float32."""
        for step in itertools.takewhile(lambda s: not isinstance(s, FrameStacking), self.steps):
            frame = step(frame)
        return frame.float()

    def after(self, stacked: Tensor) -> Tensor:
        """Apply the steps after the stacking."""
        if self.stacking is not None:
            for step in self.steps[self.steps.index(self.stacking) + 1 :]:
                stacked = step(stacked)
        return stacked


class Observer:
    """The policy's input during episodes; it keeps the frames that are stacked.

    Frames before the first are zeros, as in VecFrameStack.

    Args:
        preprocessing: the wrappers.
        device: device of the policy.
    """

    def __init__(self, preprocessing: Preprocessing, device: torch.device) -> None:
        self.preprocessing = preprocessing
        self.device = device
        self._frames: Tensor | None = None

    def reset(self, observation: Tensor | np.ndarray) -> Tensor:
        """The policy's input for the first observations ``[games, *shape]``."""
        self._frames = None
        return self.step(observation)

    def step(
        self, observation: Tensor | np.ndarray, done: Tensor | np.ndarray | None = None
    ) -> Tensor:
        """The policy's input for the next observations.

        Args:
            observation: ``[games, *shape]``.
            done: games that have just ended, so that this is the first observation of a new
                episode, ``[games]``.

        Raises:
            ValueError: the wrong shape.
        """
        given = torch.as_tensor(observation, device=self.device)
        stacking = self.preprocessing.stacking
        if stacking is None:
            return self.preprocessing(given)
        if given.shape[1:] != self.preprocessing.shape:
            raise ValueError(
                f"observation has shape {tuple(given.shape)}; give "
                f"[games, {', '.join(map(str, self.preprocessing.shape))}]"
            )
        frame = self.preprocessing.before(given)
        kept = self._frames
        if kept is None or len(kept) != len(frame):
            kept = frame.new_zeros(len(frame), stacking.frames, *frame.shape[1:])
        if done is not None:
            over = torch.as_tensor(done, device=self.device).bool()
            kept = kept.masked_fill(over.reshape(-1, *[1] * (kept.ndim - 1)), 0.0)
        self._frames = torch.cat([kept[:, 1:], frame.unsqueeze(1)], 1)
        return self.preprocessing.after(stacking(self._frames))


def preprocessing_of(agent: BaseAlgorithm, env: VecEnv | None = None) -> Preprocessing:
    """The wrappers around the agent's environment, or around ``env``.

    A wrapper that is not SB3's own counts as a part of the environment.

    Raises:
        ValueError: statistics are missing or inside an unknown wrapper, or frames are stacked
            twice.
    """
    if env is None and lost_statistics(agent):
        raise ValueError(
            f"agent ({type(agent).__name__}) was trained with VecNormalize, whose statistics are "
            "not in SB3's zip, so that it would be attacked in the wrong unit; load it with "
            "env=VecNormalize.load('vecnormalize.pkl', venv), or give save_agent this env="
        )
    wrapped = agent.get_env() if env is None else env
    if wrapped is None:
        _warn_if_unknown(agent)
        return Preprocessing(tuple(agent.observation_space.shape))
    chain = list(_chain(wrapped))
    known = list(itertools.takewhile(lambda wrapper: type(wrapper) in _KNOWN, chain))
    _check_hidden(chain[len(known) :])
    steps = [step for wrapper in reversed(known) if (step := _step(wrapper)) is not None]
    if sum(isinstance(step, FrameStacking) for step in steps) > 1:
        raise ValueError("env stacks frames twice; use one VecFrameStack")
    return Preprocessing(tuple(chain[len(known)].observation_space.shape), tuple(steps))


def _warn_if_unknown(agent: BaseAlgorithm) -> None:
    tells = isinstance(agent, OnPolicyAlgorithm) or hasattr(agent, "trained_normalised")
    if agent.num_timesteps and not tells:
        warnings.warn(
            f"agent ({type(agent).__name__}) has no environment, and SB3's zip does not say "
            "whether it was trained with VecNormalize; if it was, ε would have the wrong unit: "
            "give env=",
            UserWarning,
            stacklevel=4,
        )


def normalises(agent: BaseAlgorithm) -> bool:
    """Whether the policy's input is normalised by VecNormalize."""
    env = agent.get_env()
    wrappers = () if env is None else tuple(_chain(env))
    return any(isinstance(w, VecNormalize) and w.norm_obs for w in wrappers)


def lost_statistics(agent: BaseAlgorithm) -> bool:
    """Whether the agent was trained with VecNormalize and no longer has the statistics.

    SB3's zip has no statistics. The zip of an on-policy agent holds original observations only if
    it was trained with VecNormalize. For off-policy agents only our own algorithms record it.
    """
    env = agent.get_env()
    if env is not None and any(isinstance(w, VecNormalize) for w in _chain(env)):
        return False
    on_policy = isinstance(agent, OnPolicyAlgorithm)
    told = on_policy and agent._last_original_obs is not None
    return told or getattr(agent, "trained_normalised", False)


def wrappers_of(env: VecEnv | None) -> list[VecEnv]:
    """The wrappers around an environment, the outermost first."""
    return [] if env is None else [one for one in _chain(env) if isinstance(one, VecEnvWrapper)]


def _chain(env: VecEnv) -> Iterator[VecEnv]:
    while isinstance(env, VecEnvWrapper):
        yield env
        env = env.venv
    yield env


def _check_hidden(inside: list[VecEnv]) -> None:
    if any(isinstance(wrapper, VecNormalize) and wrapper.norm_obs for wrapper in inside[1:]):
        raise ValueError(
            f"VecNormalize lies inside {type(inside[0]).__name__}, whose effect on observations is "
            "not known here; wrap VecNormalize around it"
        )
    if isinstance(inside[0], VecNormalize):
        raise ValueError(
            f"env has a {type(inside[0]).__name__}, whose statistics are not understood; use "
            "SB3's own VecNormalize"
        )


def statistics_of(wrapper: VecNormalize) -> Normalisation | dict[str, Normalisation] | None:
    """The statistics of VecNormalize, of each entry if there are several.

    None if it does not normalise observations.
    """
    if not wrapper.norm_obs:
        return None

    def found(moments: RunningMeanStd) -> Normalisation:
        mean, variance = (torch.as_tensor(value) for value in (moments.mean, moments.var))
        return Normalisation(mean, variance, wrapper.epsilon, wrapper.clip_obs)

    moments = wrapper.obs_rms
    if isinstance(moments, dict):
        return {name: found(one) for name, one in moments.items()}
    return found(moments)


def _step(wrapper: VecEnv) -> Step | None:
    if isinstance(wrapper, VecNormalize):
        found = statistics_of(wrapper)
        return None if isinstance(found, dict) else found  # only arrays are saved
    if isinstance(wrapper, VecFrameStack):
        stacked = wrapper.stacked_obs
        return FrameStacking(stacked.n_stack, 0 if stacked.channels_first else -1)
    if isinstance(wrapper, VecTransposeImage) and not wrapper.skip:
        return Transposition()
    return None
