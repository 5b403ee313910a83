"""Makers of agents from the policies of other libraries."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from aajr.arena.spaces.heads import Head

if TYPE_CHECKING:
    from aajr.arena.agents.agent import Agent

RAW = "the environment's own units"
"""The unit of observations that are not normalised."""

ADAPTERS = {
    host: f"aajr.integrations.{host}" for host in ("jax", "jax_ppo", "rllib", "sb3", "torchrl")
}
"""Packages of other libraries; they lie above the arena and are imported when first used."""


class Sources:
    """Makers of :class:`aajr.arena.agents.agent.Agent`; none is loaded before its use."""

    @staticmethod
    def from_sb3(
        path_or_model: Any,
        *,
        normalise: Any = None,
        frames: int | None = None,
        channels_first: bool = False,
        device: torch.device | str = "cpu",
        custom: Iterable[type] = (),
        trust: bool = False,
    ) -> Agent:
        """An agent of Stable-Baselines3 or sb3-contrib.

        A zip holds pickled parts, which could run code. They are read as plain data, and the
        policy is built from SB3's own classes, so that nothing in the file is run.

        Args:
            path_or_model: a zip of SB3's ``save``, a directory of
                :func:`aajr.integrations.sb3.save_agent`, or a live model, whose policy is copied.
            normalise: VecNormalize or the file of its ``save``; by default ``vecnormalize.pkl`` or
                ``vec_normalize.pkl`` beside the zip. False if observations are not normalised.
            frames: number of VecFrameStack, if the environment itself does not stack frames.
            channels_first: whether the environment shows images channels first. SB3 turns those
                that show them last, and a zip does not tell.
            device: where to put the weights.
            custom: classes of the policy, extractor or activation that are not SB3's or torch's.
            trust: whether to unpickle the parts, which runs whatever code they hold.

        Raises:
            ValueError: a damaged or foreign file, unknown classes, missing statistics.

        Example:
            >>> from aajr.arena import Agent
            >>> from stable_baselines3 import DQN
            >>> agent = Agent.from_sb3(DQN("MlpPolicy", "CartPole-v1", device="cpu"))
            >>> agent.features, agent.head.outputs, agent.unit
            (4, 2, "the environment's own units")
        """
        made: Agent = import_module(ADAPTERS["sb3"]).agent_from(
            path_or_model,
            normalise=normalise,
            frames=frames,
            channels_first=channels_first,
            device=device,
            custom=custom,
            trust=trust,
        )
        return made

    @staticmethod
    def from_module(
        module: nn.Module,
        action_space: Any,
        *,
        observation_space: Any = None,
        outputs: Callable[[Any, Tensor], Any] | None = None,
        head: Head | None = None,
        value: Callable[[Any, Tensor], Tensor] | None = None,
        unit: str = RAW,
        sight: Callable[[np.ndarray], Tensor] | None = None,
        source: str = "",
    ) -> Agent:
        """An agent of any torch module, for instance CleanRL's; the module is copied.

        Discrete actions need logits or values, MultiBinary ones one logit per bit. For a Box, one
        number per action is the action, two are the mean and log standard deviation. The module
        may also return a pair (mean, log std) or a distribution. CleanRL's agents are known by
        their parts ``actor_mean``, ``actor_logstd``, ``actor``, ``action_scale``, ``get_value``.

        Args:
            module: the module, which reads observations ``[rows, *observation]``.
            action_space: Gymnasium's space of the actions.
            observation_space: the space that it reads; by default told by its first linear layer.
            outputs: function of the module and observations to one of the above, if the module
                itself returns something else.
            head: the distribution, if it is another.
            value: function of the module and observations to V, ``[rows]``.
            unit: unit of the observations and of ε.
            sight: see :class:`aajr.arena.agents.agent.Agent`.
            source: where it is from, for reports.

        Raises:
            ValueError: outputs that do not fit the actions, a module that fails on zeros.

        Example:
            >>> from aajr.arena import Agent
            >>> from gymnasium import spaces
            >>> agent = Agent.from_module(nn.Linear(4, 2), spaces.Discrete(2))
            >>> agent.features, agent.head
            (4, CategoricalHead(sizes=(2,)))
        """
        made: Agent = import_module("aajr.arena.agents._modules").agent_of_module(
            module,
            action_space,
            observation_space=observation_space,
            outputs=outputs,
            head=head,
            value=value,
            unit=unit,
            sight=sight,
            source=source,
        )
        return made

    @staticmethod
    def from_callable(
        function: Callable[[Any], Any],
        observation_space: Any,
        action_space: Any,
        *,
        returns: Literal["actions", "logits"] = "actions",
        batched: bool = True,
        unit: str = RAW,
        sight: Callable[[np.ndarray], Tensor] | None = None,
        source: str = "",
    ) -> Agent:
        """An agent of any function that always answers alike; only black-box attacks apply.

        Args:
            function: from observations ``[rows, *observation]``, a numpy array, to actions
                ``[rows, *action]`` or a list of actions. Whole numbers are rounded for it, other
                spaces than Box are shown flat.
            observation_space: Gymnasium's space of the observations.
            action_space: Gymnasium's space of the actions.
            returns: whether it returns actions, or logits ``[rows, logits]`` of discrete actions,
                which tell the adversary more.
            batched: False if it takes one observation and returns one action.
            unit: unit of the observations and of ε.
            sight: see :class:`aajr.arena.agents.agent.Agent`.
            source: where it is from, for reports.

        Raises:
            ValueError: answers that do not fit the actions, or that change from call to call.

        Example:
            >>> from aajr.arena import Agent
            >>> from gymnasium import spaces
            >>> left_or_right = lambda seen: (seen[:, 0] > 0).astype(int)
            >>> shown = spaces.Box(-1, 1, (3,))
            >>> agent = Agent.from_callable(left_or_right, shown, spaces.Discrete(2))
            >>> agent.head.act(agent(torch.tensor([[0.5, 0.0, 0.0]]))), agent.differentiable
            (tensor([[1]]), False)
        """
        made: Agent = import_module("aajr.arena.agents._callables").agent_of_callable(
            function,
            observation_space,
            action_space,
            returns=returns,
            batched=batched,
            unit=unit,
            sight=sight,
            source=source,
        )
        return made

    @staticmethod
    def from_onnx(
        path: str | os.PathLike[str],
        observation_space: Any,
        action_space: Any,
        *,
        output: str | None = None,
        unit: str = RAW,
        sight: Callable[[np.ndarray], Tensor] | None = None,
    ) -> Agent:
        """An agent of an ONNX graph; only black-box attacks apply.

        Floats for discrete actions are logits or values, whole numbers the actions themselves.

        Args:
            path: the file; ONNX Runtime runs no code of its author's.
            observation_space: Gymnasium's space of the observations.
            action_space: Gymnasium's space of the actions.
            output: name of the graph's output; by default the first.
            unit: unit of the observations and of ε.
            sight: see :class:`aajr.arena.agents.agent.Agent`.

        Raises:
            ValueError: another file, a graph that does not fit the spaces.
        """
        made: Agent = import_module("aajr.arena.agents._onnx").agent_of_onnx(
            path, observation_space, action_space, output=output, unit=unit, sight=sight
        )
        return made

    @staticmethod
    def from_rllib(
        path_or_module: Any,
        *,
        module_id: str = "default_policy",
        normalize_actions: bool | None = None,
        sight: Callable[[np.ndarray], Tensor] | None = None,
        custom: Iterable[type] = (),
        trust: bool = False,
    ) -> Agent:
        """An agent of RLlib's new API stack.

        A checkpoint is a pickle, which could run code. It is read as plain data, and the module is
        built from RLlib's own classes, so that nothing in it is run.

        Args:
            path_or_module: a checkpoint of an algorithm, of its modules or of one module, or a live
                module of feed-forward networks, which is copied.
            module_id: the module's id.
            normalize_actions: whether RLlib scales actions of [-1, 1] to the bounds; by default
                what the algorithm's checkpoint says, else True as in RLlib.
            sight: see :class:`aajr.arena.agents.agent.Agent`; does what the checkpoint's
                connectors do.
            custom: classes of the module or its catalog that are not RLlib's defaults.
            trust: whether to unpickle the checkpoint, which runs whatever code it holds.

        Raises:
            ValueError: a foreign checkpoint, unknown classes, connectors that change observations.
        """
        made: Agent = import_module(ADAPTERS["rllib"]).agent_from(
            path_or_module,
            module_id=module_id,
            normalize_actions=normalize_actions,
            sight=sight,
            custom=custom,
            trust=trust,
        )
        return made

    @staticmethod
    def from_torchrl(
        actor: nn.Module,
        action_space: Any,
        *,
        observation_space: Any = None,
        value: nn.Module | None = None,
        unit: str = RAW,
        sight: Callable[[np.ndarray], Tensor] | None = None,
        source: str = "",
    ) -> Agent:
        """An agent of a TorchRL or tensordict module that reads one entry; it is copied.

        Args:
            actor: a ``ProbabilisticActor`` or ``QValueActor``, or any ``TensorDictModule`` that
                writes ``loc`` and ``scale``, ``logits``, ``action_value`` or a continuous
                ``action``.
            action_space: Gymnasium's space of the actions.
            observation_space: the space that it reads; by default told by its first linear layer.
            value: a module that writes ``state_value``.
            unit: unit of the observations and of ε.
            sight: see :class:`aajr.arena.agents.agent.Agent`.
            source: where it is from, for reports.

        Raises:
            ValueError: several entries to read, a distribution that no head reads.
        """
        made: Agent = import_module(ADAPTERS["torchrl"]).agent_from(
            actor,
            action_space,
            observation_space=observation_space,
            value=value,
            unit=unit,
            sight=sight,
            source=source,
        )
        return made

    @staticmethod
    def from_ppo(directory: str | os.PathLike[str]) -> Agent:
        """An agent of :func:`aajr.jax.ppo.train`, as a torch module; JAX is not needed.

        Raises:
            FileNotFoundError: the directory holds no run.
            ValueError: a damaged or foreign checkpoint.
        """
        made: Agent = import_module(ADAPTERS["jax_ppo"]).agent_from(directory)
        return made

    @staticmethod
    def from_jax(
        apply: Callable[[Any, Any], Any],
        params: Any,
        observation_space: Any,
        action_space: Any,
        *,
        head: Head | None = None,
        value: Callable[[Any, Any], Any] | None = None,
        unit: str = RAW,
        sight: Callable[[np.ndarray], Tensor] | None = None,
        source: str = "",
    ) -> Agent:
        """An agent of a function in JAX, with Flax, Equinox or by itself.

        Gradients are JAX's own: the backward pass is a compiled ``jax.vjp``, once differentiable.

        Args:
            apply: function of the parameters and observations ``[rows, *observation]`` to what
                :meth:`from_module` understands: an array, (mean, log std), or several logits.
            params: its parameters, a pytree.
            observation_space: Gymnasium's space of the observations.
            action_space: Gymnasium's space of the actions.
            head: the distribution, if it is another than :meth:`from_module` tells.
            value: function of the parameters and observations to V.
            unit: unit of the observations and of ε.
            sight: see :class:`aajr.arena.agents.agent.Agent`.
            source: where it is from, for reports.

        Raises:
            ValueError: outputs that do not fit the actions, a function that fails on zeros.
        """
        made: Agent = import_module(ADAPTERS["jax"]).agent_from(
            apply,
            params,
            observation_space,
            action_space,
            head=head,
            value=value,
            unit=unit,
            sight=sight,
            source=source,
        )
        return made
