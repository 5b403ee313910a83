"""Agents on disk: safetensors and JSON. Loading runs no code of the file's."""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import TD3Policy
from torch import Tensor, nn

from aajr._checks import check_choice
from aajr.integrations.sb3._maps import check_supported
from aajr.integrations.sb3._robust import RobustAlgorithm
from aajr.integrations.sb3._saved import Normalisation, SavedAgent, saved_agent

FORMAT_VERSION = 1
_HOSTS = {"PPO": PPO, "SAC": SAC, "TD3": TD3}
_POLICIES = {"PPO": ActorCriticPolicy, "SAC": SACPolicy, "TD3": TD3Policy}
_ACTIVATIONS = ("Tanh", "ReLU", "ELU", "GELU", "SiLU", "LeakyReLU", "Softplus", "Sigmoid", "Mish")
_PACKAGES = ("aajr", "stable-baselines3", "gymnasium", "torch")


def save_agent(path: str | os.PathLike[str], agent: BaseAlgorithm) -> Path:
    """Write what evaluation needs of an agent, without pickle.

    Weights and VecNormalize's statistics go to ``agent.safetensors``; architecture, spaces, ε with
    its unit and the versions to ``agent.json``. Optimiser, replay buffer and counters are not
    kept: to go on training use SB3's own ``agent.save``.

    Args:
        path: a directory, made if need be.
        agent: PPO, SAC or TD3 of SB3, robust or plain, with the policy ``"MlpPolicy"``.

    Returns:
        The directory.

    Raises:
        ValueError: another algorithm, a policy or activation of the user's own, observations
            that are no vector of floats.

    Example:
        >>> import tempfile
        >>> from stable_baselines3 import PPO
        >>> path = save_agent(tempfile.mkdtemp(), PPO("MlpPolicy", "CartPole-v1", device="cpu"))
        >>> load_agent(path).policy(torch.zeros(3, 4)).shape
        torch.Size([3, 2])
    """
    directory = Path(path)
    meta = _description(agent)
    tensors = {f"policy.{name}": value for name, value in agent.policy.state_dict().items()}
    if isinstance(agent.action_space, spaces.Box):
        tensors["action.low"] = torch.as_tensor(agent.action_space.low)
        tensors["action.high"] = torch.as_tensor(agent.action_space.high)
    normaliser = agent.get_vec_normalize_env()
    if meta["normalisation"] is not None:
        tensors["observation.mean"] = torch.as_tensor(normaliser.obs_rms.mean)
        tensors["observation.variance"] = torch.as_tensor(normaliser.obs_rms.var)
    directory.mkdir(parents=True, exist_ok=True)
    save_file({k: v.detach().cpu().clone() for k, v in tensors.items()}, _weights(directory))
    text = json.dumps(meta, indent=2, allow_nan=False)
    draft = directory / "agent.json.tmp"
    draft.write_text(text + "\n", encoding="utf-8")
    draft.replace(directory / "agent.json")  # appears whole, and last
    return directory


def load_agent(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> SavedAgent:
    """Read what :func:`save_agent` wrote; no code of the file's is run.

    Args:
        path: the directory.
        device: where to put the tensors.

    Returns:
        The policy as a map to attack, its value and the observations' statistics.

    Raises:
        ValueError: missing, damaged or foreign files, another format version.
    """
    directory = Path(path)
    meta = _read_description(directory)
    try:
        tensors = load_file(_weights(directory), device=str(device))
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"{_weights(directory)} cannot be read ({error}); save it again"
        ) from error
    try:
        policy = _rebuilt(meta, tensors).to(device)
        normalisation = _statistics(meta, tensors)
        return saved_agent(
            meta["algorithm"], policy, normalisation, meta["robustness"], meta["versions"]
        )
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{directory} is damaged: {type(error).__name__} {error}; save the agent again"
        ) from error


def _description(agent: BaseAlgorithm) -> dict[str, Any]:
    algorithm = next((name for name, host in _HOSTS.items() if isinstance(agent, host)), None)
    if algorithm is None:
        raise ValueError(f"agent is a {type(agent).__name__}; give PPO, SAC or TD3")
    check_supported(agent)
    policy = agent.policy
    if type(policy) is not _POLICIES[algorithm] or (
        policy.features_extractor_class is not FlattenExtractor
    ):
        extractor = policy.features_extractor_class.__name__
        raise ValueError(
            f"policy={type(policy).__name__} with {extractor} cannot be rebuilt without running "
            "its code; only 'MlpPolicy' with FlattenExtractor is saved"
        )
    check_choice("activation_fn", policy.activation_fn.__name__, _ACTIVATIONS)
    return {
        "format_version": FORMAT_VERSION,
        "algorithm": algorithm,
        "observation_shape": list(agent.observation_space.shape),
        "action_space": _space(agent.action_space),
        "architecture": _architecture(policy),
        "normalisation": _normalisation(agent),
        "robustness": agent.robustness if isinstance(agent, RobustAlgorithm) else None,
        "versions": {name: version(name) for name in _PACKAGES},
    }


def _architecture(policy: BasePolicy) -> dict[str, Any]:
    critics = {} if isinstance(policy, ActorCriticPolicy) else policy.critic_kwargs
    return {
        "net_arch": policy.net_arch,
        "activation_fn": policy.activation_fn.__name__,
        "share_features_extractor": policy.share_features_extractor,
    } | {name: critics[name] for name in ("n_critics",) if name in critics}


def _normalisation(agent: BaseAlgorithm) -> dict[str, float] | None:
    normaliser = agent.get_vec_normalize_env()
    if normaliser is None or not normaliser.norm_obs:
        return None
    return {"epsilon": normaliser.epsilon, "clip": normaliser.clip_obs}


def _space(space: spaces.Space) -> dict[str, Any]:
    sizes = {"Discrete": "n", "MultiBinary": "n", "MultiDiscrete": "nvec", "Box": "shape"}
    kind = type(space).__name__
    return {"type": kind, "size": np.asarray(getattr(space, sizes[kind])).tolist()}


def _read_description(directory: Path) -> dict[str, Any]:
    file = directory / "agent.json"
    try:
        meta = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read ({error}); give a path of save_agent's") from error
    found = meta.get("format_version") if isinstance(meta, dict) else None
    if found != FORMAT_VERSION:
        raise ValueError(
            f"{file} has format version {found}, this aajr reads {FORMAT_VERSION}; use the aajr "
            "that wrote it"
        )
    check_choice("algorithm", meta["algorithm"], tuple(_POLICIES))
    return meta


def _rebuilt(meta: dict[str, Any], tensors: dict[str, Tensor]) -> BasePolicy:
    architecture = dict(meta["architecture"])
    check_choice("activation_fn", architecture["activation_fn"], _ACTIVATIONS)
    architecture["activation_fn"] = getattr(nn, architecture["activation_fn"])
    observations = spaces.Box(-np.inf, np.inf, tuple(meta["observation_shape"]), np.float32)
    actions = _action_space(meta["action_space"], tensors)
    with torch.random.fork_rng():  # the first weights are drawn and then replaced
        build = _POLICIES[meta["algorithm"]]
        policy = build(observations, actions, lambda _: 0.0, **architecture)
    weights = {
        name.removeprefix("policy."): value
        for name, value in tensors.items()
        if name.startswith("policy.")
    }
    try:
        policy.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(
            f"the weights do not fit agent.json ({error}); save the agent again"
        ) from error
    return policy


def _statistics(meta: dict[str, Any], tensors: dict[str, Tensor]) -> Normalisation | None:
    if meta["normalisation"] is None:
        return None
    mean, variance = tensors["observation.mean"], tensors["observation.variance"]
    return Normalisation(mean, variance, **meta["normalisation"])


def _action_space(meta: dict[str, Any], tensors: dict[str, Tensor]) -> spaces.Space:
    kind, size = meta["type"], meta["size"]
    if kind == "Box":
        low, high = (tensors[f"action.{name}"].cpu().numpy() for name in ("low", "high"))
        return spaces.Box(low, high, dtype=low.dtype)
    if kind == "MultiDiscrete":
        return spaces.MultiDiscrete(size)
    return {"Discrete": spaces.Discrete, "MultiBinary": spaces.MultiBinary}[kind](size)


def _weights(directory: Path) -> Path:
    return directory / "agent.safetensors"
