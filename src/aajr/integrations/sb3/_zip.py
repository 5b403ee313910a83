"""SB3's own zip files, read without running the code that they may hold."""

from __future__ import annotations

import base64
import io
import json
import pickle
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor, NatureCNN
from torch import Tensor

from aajr.integrations._inert import Inert, array_of, name_of, read_inert
from aajr.integrations._spaces import space_of
from aajr.integrations.sb3._files import ACTIVATIONS
from aajr.integrations.sb3._preprocessing import Normalisation

_CONTRIB = ("MaskablePPO", "RecurrentPPO", "TRPO", "TQC", "QRDQN", "ARS")
_SETTINGS = ("optimizer_class", "optimizer_kwargs")
"""Arguments of a policy that evaluation does not need."""

_MARKS = {"TRPO": "cg_max_steps", "PPO": "clip_range"}
"""A hyperparameter that tells apart the algorithms that share A2C's policy."""


@dataclass(frozen=True, eq=False)
class Unpacked:
    """A policy from a zip.

    Attributes:
        algorithm: name of the algorithm.
        policy: SB3's policy with its weights.
        normalised: whether it was trained with VecNormalize; None if the zip does not tell.
        versions: the version of SB3 that wrote it.
    """

    algorithm: str
    policy: BasePolicy
    normalised: bool | None
    versions: Mapping[str, str]


def unpack(
    path: Path, device: torch.device | str, custom: Iterable[type] = (), *, trust: bool = False
) -> Unpacked:
    """Rebuild the policy of a zip.

    The zip's data are JSON with pickled parts. The parts that are needed, spaces and the arguments
    of the policy, are read as plain data; the policy is then built from SB3's own classes, and the
    weights are read by torch without pickle.

    Args:
        path: the zip.
        device: where to put the policy.
        custom: classes of policies, extractors and activations that are not SB3's or torch's.
        trust: whether to unpickle instead, which runs whatever code the file holds.

    Raises:
        ValueError: a damaged or foreign file, a class that ``custom`` lacks, NaN weights.
    """
    data, weights, written = _contents(path, device)
    read = pickle.loads if trust else read_inert
    missing = [name for name in _NEEDED if name not in data]
    if missing:
        raise ValueError(f"{path} lacks {missing}; give a zip of SB3's save")
    parts = {name: _decoded(path, name, value, read) for name, value in data.items()}
    known = {_full(kind): kind for kind in (*_plain_classes(), *custom)}
    kind = _known("policy_class", parts["policy_class"], _policies(parts) | known)
    given = _mapping("policy_kwargs", parts["policy_kwargs"] or {})
    arguments = {
        name: _argument(name, value, known)
        for name, value in given.items()
        if name not in _SETTINGS
    }
    shown = [_space(name, parts[name]) for name in ("observation_space", "action_space")]
    if parts.get("use_sde"):
        arguments["use_sde"] = True
    policy = _built(path, kind, shown, arguments, weights)
    algorithm = _algorithm(kind, parts)
    return Unpacked(algorithm, policy.to(device), _normalised(algorithm, parts), written)


def read_normalisation(path: Path) -> Normalisation | dict[str, Normalisation] | None:
    """Statistics of a file of VecNormalize's ``save``, of each entry if there are several.

    The file is a pickle; it is read as plain data. None if it leaves observations alone.

    Raises:
        ValueError: another file.
    """
    found = read_inert(_bytes_of(path))
    state = found.state if isinstance(found, Inert) else {}
    if not {"norm_obs", "epsilon", "clip_obs"} <= set(state):
        raise ValueError(f"{path} holds no VecNormalize; give the file of its save")
    if not state["norm_obs"]:
        return None
    try:
        moments = state["obs_rms"]
        if isinstance(moments, dict):
            return {str(name): _moments(one, state) for name, one in moments.items()}
        return _moments(moments, state)
    except (AttributeError, KeyError) as error:
        raise ValueError(f"{path} holds no statistics of observations ({error})") from error


def _moments(moments: Any, state: Mapping[str, Any]) -> Normalisation:
    mean, variance = (torch.tensor(array_of(moments.state[name])) for name in ("mean", "var"))
    epsilon, clip = (float(array_of(state[name])) for name in ("epsilon", "clip_obs"))
    return Normalisation(mean, variance, epsilon, clip)


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error})") from error


def _contents(
    path: Path, device: torch.device | str
) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, str]]:
    """Data, weights and the versions of a zip."""
    try:
        with zipfile.ZipFile(io.BytesIO(_bytes_of(path))) as archive:
            data = json.loads(archive.read("data"))
            stored = io.BytesIO(archive.read("policy.pth"))
            names = archive.namelist()
            sb3 = "_stable_baselines3_version"
            written = archive.read(sb3).decode().strip() if sb3 in names else "unknown"
        weights = torch.load(stored, map_location=device, weights_only=True)
    except (zipfile.BadZipFile, KeyError, pickle.UnpicklingError, RuntimeError) as error:
        raise ValueError(f"{path} is no zip of SB3's save ({error})") from error
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); save the agent again") from error
    if not isinstance(weights, dict) or not isinstance(data, dict):
        raise ValueError(f"{path} is no zip of SB3's save; its data or weights are no mapping")
    for name, value in weights.items():
        if not isinstance(value, Tensor) or not bool(value.isfinite().all()):
            raise ValueError(f"{path} holds NaN or infinite weights in {name}")
    return data, weights, {"stable-baselines3": written, "aajr": version("aajr")}


def _decoded(path: Path, name: str, value: Any, read: Callable[[bytes], Any]) -> Any:
    """An entry of the data; pickled ones that are not needed are left as they are."""
    pickled = isinstance(value, dict) and ":serialized:" in value
    if not pickled or name not in _NEEDED:
        return value
    try:
        return read(base64.b64decode(value[":serialized:"]))
    except ValueError as error:
        raise ValueError(f"{path}, entry {name}: {error}") from error


_NEEDED = ("policy_class", "policy_kwargs", "observation_space", "action_space")


def _policies(parts: Mapping[str, Any]) -> dict[str, type]:
    """The policies of SB3's algorithms by full name, and sb3-contrib's if the zip names them."""
    hosts: list[Any] = [PPO, A2C, SAC, TD3, DDPG, DQN]
    if _name(parts["policy_class"]).startswith("sb3_contrib."):
        hosts = _contributed()
    kinds = {kind for host in hosts for kind in host.policy_aliases.values()}
    return {_full(kind): kind for kind in kinds}


def _contributed() -> list[Any]:
    try:
        contrib = import_module("sb3_contrib")
    except ImportError as error:
        raise ImportError("this zip needs sb3-contrib: pip install 'aajr[sb3-contrib]'") from error
    return [getattr(contrib, name) for name in _CONTRIB]


def _plain_classes() -> tuple[type, ...]:
    return (*ACTIVATIONS, FlattenExtractor, NatureCNN, CombinedExtractor)


def _full(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _name(value: Any) -> str:
    """Full name of a class, real or in a pickle; empty for anything else."""
    return _full(value) if isinstance(value, type) and not name_of(value) else name_of(value)


def _known(role: str, value: Any, known: Mapping[str, type]) -> type:
    name = _name(value)
    if name in known:
        return known[name]
    if isinstance(value, type) and not name_of(value):  # unpickled, since the file is trusted
        return value
    raise ValueError(
        f"{role}={name or value!r} is a class of the agent's author, and no code is loaded from "
        "files; give the class, custom=[...], or trust=True if you trust the file"
    )


def _argument(name: str, value: Any, known: Mapping[str, type]) -> Any:
    """An argument of the policy: a class, a number of numpy's, or plain data."""
    if isinstance(value, type):
        return _known(name, value, known)
    if isinstance(value, Inert):
        try:
            found = array_of(value)
        except ValueError as error:
            raise ValueError(
                f"policy_kwargs[{name!r}] is a {value.name}, which is no plain data; give "
                "trust=True if you trust the file"
            ) from error
        return found.item() if found.ndim == 0 else found
    if isinstance(value, dict):
        return {key: _argument(f"{name}.{key}", part, known) for key, part in value.items()}
    return value


def _mapping(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is a {type(value).__name__}, not a mapping; save the agent again")
    return value


def _space(name: str, value: Any) -> spaces.Space:
    try:
        return space_of(value)
    except ValueError as error:
        raise ValueError(f"{name} cannot be read ({error}); save the agent again") from error


def _built(
    path: Path,
    kind: type,
    shown: Iterable[spaces.Space],
    arguments: dict[str, Any],
    weights: dict[str, Tensor],
) -> BasePolicy:
    rate = () if kind.__module__.endswith(".ars.policies") else (lambda _: 0.0,)
    try:
        with torch.random.fork_rng():  # the initial weights are drawn and then replaced
            policy = kind(*shown, *rate, **arguments)
        policy.load_state_dict(weights)
    except (TypeError, AssertionError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"{path}: {kind.__name__} does not fit the zip's arguments and weights ({error})"
        ) from error
    return policy


def _algorithm(kind: type, parts: Mapping[str, Any]) -> str:
    """Name of the algorithm that the policy and the hyperparameters belong to."""
    homes = [base.__module__ for base in kind.__mro__]
    name = next((_MODULES[home] for home in homes if home in _MODULES), kind.__name__)
    if name != "A2C":
        return name
    return next((found for found, mark in _MARKS.items() if mark in parts), "A2C")


_MODULES = {
    "stable_baselines3.common.policies": "A2C",
    "stable_baselines3.sac.policies": "SAC",
    "stable_baselines3.td3.policies": "TD3",
    "stable_baselines3.dqn.policies": "DQN",
    "sb3_contrib.common.maskable.policies": "MaskablePPO",
    "sb3_contrib.common.recurrent.policies": "RecurrentPPO",
    "sb3_contrib.tqc.policies": "TQC",
    "sb3_contrib.qrdqn.policies": "QRDQN",
    "sb3_contrib.ars.policies": "ARS",
}


def _normalised(algorithm: str, parts: Mapping[str, Any]) -> bool | None:
    """Whether VecNormalize was used: on-policy algorithms then keep the original observations."""
    if "trained_normalised" in parts:
        return bool(parts["trained_normalised"])
    if algorithm in ("PPO", "A2C", "TRPO", "MaskablePPO", "RecurrentPPO"):
        return parts.get("_last_original_obs") is not None
    return None
