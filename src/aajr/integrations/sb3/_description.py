"""``agent.json``: the description of a saved agent, and the checks of its keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor

from aajr._checks import check_choice
from aajr.integrations.sb3._maps import check_supported
from aajr.integrations.sb3._preprocessing import Preprocessing, Step
from aajr.integrations.sb3._robust import RobustAlgorithm

FORMAT_VERSION = 2
HOSTS: dict[str, type[BaseAlgorithm]] = {"PPO": PPO, "A2C": A2C, "SAC": SAC, "TD3": TD3, "DQN": DQN}
_PACKAGES = ("aajr", "stable-baselines3", "gymnasium", "torch")
_KEYS: dict[str, Any] = {
    "algorithm": str,
    "observation_space": dict,
    "action_space": dict,
    "architecture": dict,
    "preprocessing": dict,
    "robustness": (dict, type(None)),
    "versions": dict,
}


def description(agent: BaseAlgorithm, preprocessing: Preprocessing) -> dict[str, Any]:
    """The description of an agent as JSON values.

    Raises:
        ValueError: another algorithm, an agent that :func:`check_supported` refuses, arguments of
            an extractor that are not JSON values.
    """
    check_supported(agent)
    algorithm = next((name for name, host in HOSTS.items() if isinstance(agent, host)), None)
    if algorithm is None:
        raise ValueError(f"agent is a {type(agent).__name__}; give one of {', '.join(HOSTS)}")
    return {
        "format_version": FORMAT_VERSION,
        "algorithm": algorithm,
        "observation_space": _space(agent.observation_space),
        "action_space": _space(agent.action_space),
        "architecture": _architecture(agent.policy, algorithm),
        "preprocessing": {
            "shape": list(preprocessing.shape),
            "steps": [_step(step) for step in preprocessing.steps],
        },
        "robustness": agent.robustness if isinstance(agent, RobustAlgorithm) else None,
        "versions": {name: version(name) for name in _PACKAGES},
    }


def read_description(directory: Path) -> dict[str, Any]:
    """Read ``agent.json`` and check its keys.

    Raises:
        ValueError: a file that is missing, not JSON, of another version or incomplete.
    """
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
    _check_keys(file, meta)
    check_choice("algorithm", meta["algorithm"], tuple(HOSTS))
    return meta


def _check_keys(file: Path, meta: Mapping[str, Any]) -> None:
    remedy = "save the agent again with aajr.integrations.sb3.save_agent"
    for key, kind in _KEYS.items():
        if key not in meta:
            raise ValueError(f"{file} lacks the key {key!r}; {remedy}")
        value = meta[key]
        if not isinstance(value, kind):
            raise ValueError(f"{file} has {key}={value!r}, a {type(value).__name__}; {remedy}")


def _architecture(policy: BasePolicy, algorithm: str) -> dict[str, Any]:
    own = type(policy) in HOSTS[algorithm].policy_aliases.values()
    found = {
        "policy": None if own else type(policy).__name__,
        "net_arch": policy.net_arch,
        "activation_fn": policy.activation_fn.__name__,
        "features_extractor": policy.features_extractor_class.__name__,
        "features_extractor_kwargs": _plain(policy.features_extractor_kwargs),
        "normalize_images": policy.normalize_images,
    }
    if hasattr(policy, "share_features_extractor"):
        found["share_features_extractor"] = policy.share_features_extractor
    if hasattr(policy, "critic_kwargs"):
        found["n_critics"] = policy.critic_kwargs["n_critics"]
    return found


def _plain(kwargs: dict[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(kwargs, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"features_extractor_kwargs={kwargs} cannot be written as JSON ({error}); give plain "
            "numbers, strings and lists"
        ) from error
    return kwargs


def _space(space: spaces.Space) -> dict[str, Any]:
    sizes = {"Discrete": "n", "MultiBinary": "n", "MultiDiscrete": "nvec", "Box": "shape"}
    kind = type(space).__name__
    size = np.asarray(getattr(space, sizes[kind])).tolist()
    return {"type": kind, "size": size, "dtype": np.dtype(space.dtype).name}


def _step(step: Step) -> dict[str, Any]:
    """Type and numbers of a step; its tensors are in the safetensors file."""
    numbers = {name: value for name, value in vars(step).items() if not isinstance(value, Tensor)}
    return {"type": type(step).__name__, **numbers}
