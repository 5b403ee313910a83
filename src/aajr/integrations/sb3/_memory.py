"""Agents whose action depends on what they were shown before."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from aajr.arena.agents.agent import Agent
from aajr.arena.spaces.heads import Head
from aajr.integrations.sb3._maps import ActorCriticMap
from aajr.integrations.sb3._preprocessing import Normalisation, Preprocessing


class Sight:
    """From the environment's observations to the agent's input.

    Args:
        preprocessing: the wrappers that act on the whole observation, entry by entry.
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
        self.preprocessing = preprocessing

    def __call__(self, observation: np.ndarray) -> Tensor:
        """Input ``[rows, features]`` for observations ``[rows, *observation]``, float32.

        Raises:
            ValueError: the wrong shape.
        """
        shown, expected = torch.as_tensor(observation), self.preprocessing.shape
        shape = tuple(shown.shape[1:])
        if shape != expected:
            turned = len(shape) == 3 and sorted(shape) == sorted(expected)
            remedy = ", or say channels_first=True" if turned else ""
            raise ValueError(
                f"the agent reads observations of shape {expected}, the environment shows {shape}; "
                f"give the environment that the agent was trained in{remedy}"
            )
        return self.preprocessing(shown).flatten(1)


def split(preprocessing: Preprocessing) -> tuple[Preprocessing, Preprocessing]:
    """The wrappers before and after the agent's input, on which the adversary acts.

    The input has the order of the environment's features: whatever moves an image's channels or
    stacks frames comes after it. Statistics of single frames come before it.
    """
    steps = preprocessing.steps
    moved = [i for i, step in enumerate(steps) if not isinstance(step, Normalisation)]
    place = moved[0] if moved else len(steps)
    if (stacking := preprocessing.stacking) is not None:
        stacked = steps.index(stacking)
        if any(isinstance(step, Normalisation) for step in steps[place:stacked]):
            place = stacked
    shown = Preprocessing(preprocessing.shape, steps[:place])
    shape = shown(torch.zeros(1, *shown.shape)).shape[1:]
    return shown, Preprocessing(tuple(shape), steps[place:])


class Inside(nn.Module):
    """From flat input to the policy's: shape and channels.

    Args:
        preprocessing: the wrappers after the agent's input.
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.preprocessing = preprocessing

    def forward(self, x: Tensor) -> Tensor:
        """The policy's input for ``[rows, features]``."""
        return self.preprocessing(x.reshape(-1, *self.preprocessing.shape))


class StackedAgent(Agent):
    """An agent whose policy reads a stack of the last frames; the earlier ones are its memory.

    A frame that was perturbed stays perturbed in the stack. Frames before the first are zeros.

    Args:
        network: map from stacks to the head's outputs.
        head: distribution of the actions.
        sight: from the environment's observation to one frame.
        inside: the wrappers from frames ``[rows, frames, *frame]`` on.
        unit: unit of a frame.
        source: where the agent is from.
    """

    def __init__(
        self,
        network: nn.Module,
        head: Head,
        sight: Sight,
        inside: Preprocessing,
        unit: str,
        source: str,
    ) -> None:
        super().__init__(network, head, math.prod(inside.shape), unit, sight=sight, source=source)
        self.inside = inside

    def forward(self, observation: Tensor) -> Tensor:
        """Outputs at the start of an episode."""
        return self.recall(observation, self.begin(len(observation)).to(observation))[0]

    def begin(self, rows: int) -> Tensor:
        """Empty frames, ``[rows, frames - 1, features]``."""
        stacking = self.inside.stacking
        earlier = 0 if stacking is None else stacking.frames - 1
        return torch.zeros(rows, earlier, self.features)

    def recall(self, observation: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs at the stack that ends with the observation, and its last frames."""
        frames = torch.cat([memory, observation.unsqueeze(1)], 1)
        shaped = frames.reshape(*frames.shape[:2], *self.inside.shape)
        return super().forward(self.inside(shaped)), frames[:, 1:]


class LSTMAgent(Agent):
    """An agent of RecurrentPPO; the state of its LSTM is its memory.

    It has no V of its own in the arena, since that has another memory.

    Args:
        policy: the map of SB3's recurrent policy.
        head: distribution of the actions.
        sight: from the environment's observation to the agent's input.
        inside: the wrappers after that.
        unit: unit of the input.
        source: where the agent is from.
    """

    def __init__(
        self,
        policy: ActorCriticMap,
        head: Head,
        sight: Sight,
        inside: Preprocessing,
        unit: str,
        source: str,
    ) -> None:
        size = math.prod(inside.shape)
        super().__init__(policy, head, size, unit, sight=sight, source=source)
        self.inside, self.policy, self.lstm = Inside(inside), policy, policy.policy.lstm_actor

    def forward(self, observation: Tensor) -> Tensor:
        """Outputs at the start of an episode."""
        return self.recall(observation, self.begin(len(observation)).to(observation))[0]

    def begin(self, rows: int) -> Tensor:
        """The LSTM's zero state, ``[rows, 2, layers, hidden]``."""
        return torch.zeros(rows, 2, self.lstm.num_layers, self.lstm.hidden_size)

    def recall(self, observation: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs after one step of the LSTM, and its new state."""
        home, there = observation.device, self.lstm.weight_hh_l0.device
        observation, memory = observation.to(there), memory.to(there)
        seen = self.policy.features(self.inside(observation)).unsqueeze(0)
        state = (memory[:, 0].transpose(0, 1), memory[:, 1].transpose(0, 1))
        told, state = self.lstm(seen, tuple(part.contiguous() for part in state))
        memory = torch.stack([part.transpose(0, 1) for part in state], 1)
        return self.policy.parameters_at(told[0]).to(home), memory.to(home)
