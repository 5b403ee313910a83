"""Agents on disk as safetensors and JSON. Loading runs no code from the files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from gymnasium import spaces
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import FlattenExtractor, NatureCNN
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from aajr.integrations.sb3._description import HOSTS, description, read_description
from aajr.integrations.sb3._preprocessing import (
    FrameStacking,
    Normalisation,
    Preprocessing,
    Step,
    Transposition,
    preprocessing_of,
)
from aajr.integrations.sb3._saved import SavedAgent, saved_agent
from aajr.report.files import write_json

_STEPS: dict[str, Callable[..., Step]] = {
    kind.__name__: kind for kind in (FrameStacking, Normalisation, Transposition)
}
_WEIGHTS = "agent.safetensors"
ACTIVATIONS = (
    nn.Tanh,
    nn.ReLU,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.LeakyReLU,
    nn.Softplus,
    nn.Sigmoid,
    nn.Mish,
)


def save_agent(
    path: str | os.PathLike[str], agent: BaseAlgorithm, env: VecEnv | None = None
) -> Path:
    """Write the parts of an agent that evaluation needs, without pickle.

    Weights and VecNormalize's statistics go to ``agent.safetensors``; architecture, spaces, the
    wrappers of the environment, ε with its unit and the versions to ``agent.json``. Optimiser,
    replay buffer and counters are not saved: to continue training use SB3's own ``agent.save``.

    Args:
        path: a directory, created if it does not exist.
        agent: PPO, A2C, SAC, TD3, DDPG or DQN of SB3, robust or plain.
        env: the environment with its wrappers, for an agent that was loaded without it.

    Returns:
        The directory.

    Raises:
        ValueError: another algorithm, a recurrent policy, observations that are neither floats nor
            images, an agent trained with VecNormalize whose statistics are missing.

    Example:
        >>> import tempfile
        >>> from stable_baselines3 import PPO
        >>> path = save_agent(tempfile.mkdtemp(), PPO("MlpPolicy", "CartPole-v1", device="cpu"))
        >>> load_agent(path).policy(torch.zeros(3, 4)).shape
        torch.Size([3, 2])
    """
    directory = Path(path)
    preprocessing = preprocessing_of(agent, env)
    meta = description(agent, preprocessing)
    tensors = {f"policy.{name}": value for name, value in agent.policy.state_dict().items()}
    for name, space in (("observation", agent.observation_space), ("action", agent.action_space)):
        if isinstance(space, spaces.Box):
            tensors[f"{name}.low"] = torch.as_tensor(space.low)
            tensors[f"{name}.high"] = torch.as_tensor(space.high)
    for index, step in enumerate(preprocessing.steps):
        for name, value in vars(step).items():
            if isinstance(value, Tensor):
                tensors[f"preprocessing.{index}.{name}"] = value
    directory.mkdir(parents=True, exist_ok=True)
    save_file({k: v.detach().cpu().clone() for k, v in tensors.items()}, directory / _WEIGHTS)
    write_json(directory / "agent.json", meta)  # last, so that it exists only if the weights do
    return directory


def load_agent(
    path: str | os.PathLike[str],
    device: torch.device | str = "cpu",
    custom: Iterable[type] = (),
) -> SavedAgent:
    """Read what :func:`save_agent` wrote; no code from the file is run.

    Args:
        path: the directory.
        device: where to put the tensors.
        custom: your own classes of policy, features extractor or activation. The file holds only
            their names.

    Returns:
        The policy as a differentiable map, its value and the environment's wrappers.

    Raises:
        ValueError: missing, damaged or foreign files, another format version, NaN weights, a class
            that ``custom`` lacks.
    """
    directory = Path(path)
    meta = read_description(directory)
    tensors = _tensors(directory / _WEIGHTS, device)
    try:
        preprocessing = _preprocessing(meta["preprocessing"], tensors)
        policy = _rebuilt(meta, tensors, {kind.__name__: kind for kind in custom}).to(device)
    except (KeyError, TypeError, AttributeError, AssertionError, IndexError) as error:
        raise ValueError(
            f"{directory} is damaged: {type(error).__name__} {error}; save the agent again"
        ) from error
    return saved_agent(
        meta["algorithm"], policy, preprocessing, meta["robustness"], meta["versions"]
    )


def _tensors(file: Path, device: torch.device | str) -> dict[str, Tensor]:
    try:
        tensors = load_file(file, device=str(device))
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{file} cannot be read ({error}); save it again") from error
    for name, value in tensors.items():
        if name.startswith(("policy.", "preprocessing.")) and not bool(value.isfinite().all()):
            raise ValueError(
                f"{file} holds NaN or infinite values in {name}; save an agent of before its "
                "training diverged"
            )
    return tensors


def _rebuilt(
    meta: dict[str, Any], tensors: dict[str, Tensor], custom: Mapping[str, type]
) -> BasePolicy:
    architecture = dict(meta["architecture"])
    own = architecture.pop("policy")
    plain = HOSTS[meta["algorithm"]].policy_aliases["MlpPolicy"]
    build = plain if own is None else _class("policy", own, (), custom)
    extractor, activation = architecture.pop("features_extractor"), architecture["activation_fn"]
    architecture["activation_fn"] = _class("activation_fn", activation, ACTIVATIONS, custom)
    architecture["features_extractor_class"] = _class(
        "features_extractor", extractor, (FlattenExtractor, NatureCNN), custom
    )
    observations = _box_or_other("observation", meta["observation_space"], tensors)
    actions = _box_or_other("action", meta["action_space"], tensors)
    with torch.random.fork_rng():  # the initial weights are drawn and then replaced
        policy = build(observations, actions, lambda _: 0.0, **architecture)
    own_weights = (name for name in tensors if name.startswith("policy."))
    weights = {name.removeprefix("policy."): tensors[name] for name in own_weights}
    try:
        policy.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(
            f"the weights do not fit agent.json ({error}); save the agent again"
        ) from error
    return policy


def _class(kind: str, name: str, known: Sequence[type], custom: Mapping[str, type]) -> Any:
    found = {one.__name__: one for one in known} | dict(custom)
    if name not in found:
        raise ValueError(
            f"{kind}={name!r} is a class of the agent's author, and no code is loaded from files; "
            f"give it, load_agent(path, custom=[{name}])"
        )
    return found[name]


def _preprocessing(meta: dict[str, Any], tensors: dict[str, Tensor]) -> Preprocessing:
    steps = []
    for index, entry in enumerate(meta["steps"]):
        prefix, numbers = f"preprocessing.{index}.", dict(entry)
        kind = _STEPS[numbers.pop("type")]
        own = {name.removeprefix(prefix): v for name, v in tensors.items() if prefix in name}
        steps.append(kind(**own, **numbers))
    return Preprocessing(tuple(meta["shape"]), tuple(steps))


def _box_or_other(name: str, meta: dict[str, Any], tensors: dict[str, Tensor]) -> spaces.Space:
    kind, size = meta["type"], meta["size"]
    if kind == "Box":
        low, high = (tensors[f"{name}.{end}"].cpu().numpy() for end in ("low", "high"))
        return spaces.Box(low, high, dtype=low.dtype)
    if kind == "MultiDiscrete":
        return spaces.MultiDiscrete(size)
    return {"Discrete": spaces.Discrete, "MultiBinary": spaces.MultiBinary}[kind](size)
