"""RLlib's modules in the arena, live or from a checkpoint."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ray.rllib.algorithms.appo.torch.default_appo_torch_rl_module import DefaultAPPOTorchRLModule
from ray.rllib.algorithms.bc.bc_catalog import BCCatalog
from ray.rllib.algorithms.bc.torch.default_bc_torch_rl_module import DefaultBCTorchRLModule
from ray.rllib.algorithms.dqn.dqn_catalog import DQNCatalog
from ray.rllib.algorithms.dqn.torch.default_dqn_torch_rl_module import DefaultDQNTorchRLModule
from ray.rllib.algorithms.ppo.ppo_catalog import PPOCatalog
from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule
from ray.rllib.algorithms.sac.sac_catalog import SACCatalog
from ray.rllib.algorithms.sac.torch.default_sac_torch_rl_module import DefaultSACTorchRLModule
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import TorchSquashedGaussian
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.core.rl_module.rl_module import RLModule
from torch import Tensor

from aajr.arena.agents.agent import Agent
from aajr.arena.spaces.gymnasium import head_of
from aajr.arena.spaces.heads import GaussianHead, SquashedGaussianHead
from aajr.integrations._inert import Inert, array_of, name_of, read_inert
from aajr.integrations._spaces import space_of
from aajr.integrations.rllib._filters import read_filter

UNIT = "the input of RLlib's module, after all connectors"
FILTERED = "observations normalised by the checkpoint's own MeanStdFilter"

_KNOWN = (
    DefaultAPPOTorchRLModule,
    DefaultBCTorchRLModule,
    DefaultDQNTorchRLModule,
    DefaultPPOTorchRLModule,
    DefaultSACTorchRLModule,
    BCCatalog,
    DQNCatalog,
    PPOCatalog,
    SACCatalog,
)
_CONSTRUCTION = "class_and_ctor_args.pkl"
_INSIDE = Path("learner_group/learner/rl_module")
_CONNECTORS = "env_runner/env_to_module_connector"
_HARMLESS = ("FlattenObservations",)


def agent_from(
    path_or_module: str | os.PathLike[str] | RLModule,
    *,
    module_id: str = "default_policy",
    normalize_actions: bool | None = None,
    sight: Callable[[np.ndarray], Tensor] | None = None,
    custom: Iterable[type] = (),
    trust: bool = False,
) -> Agent:
    """The agent of a module or a checkpoint.

    See :meth:`aajr.arena.Agent.from_rllib`, which calls it.
    """
    if isinstance(path_or_module, RLModule):
        kind = type(path_or_module).__name__
        module = copy.deepcopy(path_or_module)
        return _agent(module, normalize_actions, sight, UNIT, f"a live {kind}")
    path = Path(path_or_module)
    place = _place(path, module_id)
    unit = UNIT
    if sight is None and (pieces := _connectors(path)):
        sight, unit = read_filter(path / _CONNECTORS / pieces[0]), FILTERED
    if normalize_actions is None:
        normalize_actions = _algorithms_choice(path)
    if trust:
        module = RLModule.from_checkpoint(place.absolute())
    else:
        module = _rebuilt(place, {_full(kind): kind for kind in (*_KNOWN, *custom)})
    return _agent(module, normalize_actions, sight, unit, str(path))


def _agent(
    module: RLModule,
    normalize_actions: bool | None,
    sight: Callable[[np.ndarray], Tensor] | None,
    unit: str,
    source: str,
) -> Agent:
    if module.is_stateful():
        raise ValueError(
            f"the module {type(module).__name__} is stateful, which is not supported; use a "
            "feed-forward model, with past frames in the observation"
        )
    space = module.action_space
    squashed = _squashes(module)
    head = head_of(space, SquashedGaussianHead if squashed else GaussianHead)
    read: Callable[[Tensor], Tensor] = _unchanged
    if isinstance(head, GaussianHead) and not squashed and normalize_actions is not False:
        read = _scaled(head)
    values = getattr(module, "compute_values", None)
    return Agent.from_module(
        module,
        space,
        observation_space=module.observation_space,
        outputs=lambda m, x: read(_outputs(m, x)),
        head=head,
        value=None if values is None else (lambda m, x: m.compute_values({Columns.OBS: x})),
        unit=unit,
        sight=sight,
        source=source,
    )


def _outputs(module: RLModule, x: Tensor) -> Tensor:
    """Inputs of the action distribution; the values of DQN."""
    if isinstance(module, DefaultDQNTorchRLModule):
        values: Tensor = module.compute_q_values({Columns.OBS: x})["qf_preds"]
        return values
    found: Tensor = module.forward_inference({Columns.OBS: x})[Columns.ACTION_DIST_INPUTS]
    return found


def _squashes(module: RLModule) -> bool:
    """Whether RLlib's greedy action is squashed; SAC's is the mean before tanh in some versions."""
    if isinstance(module, DefaultDQNTorchRLModule):
        return False
    kind = module.get_inference_action_dist_cls()
    if kind is not TorchSquashedGaussian:
        return False
    greedy = kind.from_logits(torch.tensor([[1.0, 0.0]])).to_deterministic().sample()
    return bool(greedy < 0.9)


def _unchanged(outputs: Tensor) -> Tensor:
    return outputs


def _scaled(head: GaussianHead) -> Callable[[Tensor], Tensor]:
    """From the Gaussian of actions near [-1, 1], which RLlib scales to the bounds, to that."""
    low, half = head.low, (head.high - head.low) / 2
    if not bool(half.isfinite().all()):  # RLlib leaves unbounded actions alone
        return _unchanged

    def read(outputs: Tensor) -> Tensor:
        mean, log_std = outputs.chunk(2, -1)
        return torch.cat([low + (mean + 1) * half, log_std + half.log()], -1)

    return read


def _place(path: Path, module_id: str) -> Path:
    """Where a checkpoint of a module, of several modules or of an algorithm holds the module."""
    places = (path / _INSIDE / module_id, path / module_id, path)
    found = next((place for place in places if _holds_module(place)), None)
    if found is None:
        known = sorted(inner.parent.name for inner in path.glob(f"**/rl_module/*/{_CONSTRUCTION}"))
        raise ValueError(
            f"{path} holds no module {module_id!r} of RLlib's new API stack; it has {known}"
        )
    return found


def _holds_module(place: Path) -> bool:
    if not (place / _CONSTRUCTION).is_file():
        return False
    return any(place.glob("module_state.*"))


def _connectors(path: Path) -> list[str]:
    """The connectors that change observations: none, or one MeanStdFilter."""
    pieces = (entry.parent.name for entry in path.glob(f"{_CONNECTORS}/*/{_CONSTRUCTION}"))
    found = sorted(name for name in pieces if name not in _HARMLESS)
    if found not in ([], ["MeanStdFilter"]):
        raise ValueError(
            f"{path} changes observations by {found} before the module sees them; give sight=, a "
            "function that does the same to a batch of observations"
        )
    return found


def _algorithms_choice(path: Path) -> bool | None:
    """The algorithm's ``normalize_actions``; None if this is no algorithm's checkpoint."""
    file = path / _CONSTRUCTION
    if not (path / _INSIDE).is_dir() or not file.is_file():
        return None
    try:
        settings = read_inert(file.read_bytes())["ctor_args_and_kwargs"][0][0]
        return bool(settings["normalize_actions"])
    except (KeyError, IndexError, TypeError):
        return None


def _rebuilt(place: Path, known: Mapping[str, type]) -> RLModule:
    """Build the module from what its checkpoint describes, without running its code."""
    states = list(place.glob("module_state.pkl"))
    if not states:
        raise ValueError(f"{place} has no module_state.pkl; give trust=True for other formats")
    described = read_inert((place / _CONSTRUCTION).read_bytes())
    try:
        kind = _class(described["class"], known)
        _, given = described["ctor_args_and_kwargs"]
        arguments = {name: _argument(name, value, known) for name, value in given.items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{place} describes no module of RLlib ({error})") from error
    state = {k: _weight(k, v) for k, v in _entries(read_inert(states[0].read_bytes()))}
    with torch.random.fork_rng():  # the initial weights are drawn and then replaced
        module: RLModule = kind(**arguments)
    try:
        module.load_state_dict(state, strict=not module.inference_only)
    except RuntimeError as error:
        raise ValueError(f"{place}: the weights do not fit the module ({error})") from error
    return module


def _argument(name: str, value: Any, known: Mapping[str, type]) -> Any:
    if name.endswith("_space"):
        return space_of(value)
    if isinstance(value, type):
        return _class(value, known)
    if isinstance(value, Inert) and value.name.endswith(".DefaultModelConfig"):
        own = {field.name for field in fields(DefaultModelConfig)}
        return DefaultModelConfig(**{k: v for k, v in value.state.items() if k in own})
    if isinstance(value, Inert):
        raise ValueError(f"{name} is a {value.name}; give trust=True if you trust the checkpoint")
    return value


def _class(value: Any, known: Mapping[str, type]) -> Any:
    name = name_of(value)
    if name not in known:
        raise ValueError(
            f"{name or value!r} is a class of the agent's author, and no code is loaded from "
            "files; give the class, custom=[...], or trust=True if you trust the checkpoint"
        )
    return known[name]


def _entries(value: Any) -> Iterable[tuple[str, Any]]:
    return (value.state if isinstance(value, Inert) else value).items()


def _weight(name: str, value: Any) -> Tensor:
    weight = torch.tensor(array_of(value))
    if not bool(weight.isfinite().all()):
        raise ValueError(f"the checkpoint holds NaN or infinite weights in {name}")
    return weight


def _full(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
