"""Settings of one RLModule, and the map from its observations to its actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.rl_module import RLModule
from torch import Tensor, nn

from aajr._checks import check_choice
from aajr.geometry import Categorical, DiagonalGaussian, Metric
from aajr.integrations._adversaries import join_mask, only_allowed, split_mask
from aajr.integrations._settings import RobustSettings

OBSERVATIONS, MASK = "observations", "action_mask"
"""The keys of an observation with an action mask, as RLlib's own module names them."""


@dataclass(frozen=True, eq=False)
class Robustness(RobustSettings):
    """An adversary and a penalty for one RLModule.

    Attributes:
        adversary: the inner maximisation; a :class:`aajr.Ball` means projected gradient
            ascent on the policy's divergence in that ball. ε has the unit of the module's input,
            after all connectors.
        penalty: the sensitivity that is penalised; a class means its instance in the Fisher
            metric of the module's actions; None for adversarial training alone.
        weight: λ, a number, a schedule of the minibatch update, or :class:`aajr.DualAscent`.
        epsilon: ε in place of the ball's own, a number or a schedule of the minibatch update.
        seed: seed of the adversary and the penalty.
        placement: where the surrogate is evaluated: at x + δ* (``adversarial``) or x (``clean``).

    Example:
        >>> import aajr
        >>> Robustness(aajr.Ball("linf", 0.1), aajr.AAJR, weight=0.01).placement
        'adversarial'
    """

    placement: Literal["adversarial", "clean"] = "adversarial"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("placement", self.placement, ("adversarial", "clean"))


Settings = Robustness | Mapping[str, Robustness | None] | None


def settings_of(learner_config: Mapping[str, Any], module_id: str) -> Robustness | None:
    """The settings of a module in ``learner_config_dict["aajr"]``; None for none.

    Raises:
        ValueError: the value is neither a :class:`Robustness` nor a mapping from module ids.
    """
    settings: Settings = learner_config.get("aajr")
    if settings is None or isinstance(settings, Robustness):
        return settings
    if not isinstance(settings, Mapping):
        raise ValueError(
            f"learner_config_dict['aajr'] is a {type(settings).__name__}; give a Robustness, or a "
            "mapping of module ids to Robustness or None"
        )
    return settings.get(module_id)


class ActionMap(nn.Module):
    """Map from observations to the inputs of the action distribution, ``[batch, inputs]``.

    Args:
        module: RLlib's module, shared and not copied.
        actions: length of the action mask after an observation; 0 for none.
        nested: whether the module reads both as one dict instead of two columns.
    """

    def __init__(self, module: RLModule, actions: int = 0, nested: bool = False) -> None:
        super().__init__()
        self.module = module
        self.actions = actions
        self.nested = nested

    def forward(self, x: Tensor) -> Tensor:
        """The training forward pass at x; -inf for actions that the row's mask forbids."""
        if not self.actions:
            return self.host(x)
        mask = split_mask(x, self.actions)[1]
        return only_allowed(self.host(x), mask)

    def host(self, x: Tensor) -> Tensor:
        """The module's own output; for forbidden actions a large negative number, not -inf."""
        columns: dict[str, Any] = {Columns.OBS: x}
        if self.actions:
            observation, mask = split_mask(x, self.actions)
            parts = {OBSERVATIONS: observation, MASK: mask.to(x)}
            columns = {Columns.OBS: observation, MASK: parts[MASK]}
            columns = {Columns.OBS: parts} if self.nested else columns
        output: Tensor = self.module.forward_train(columns)[Columns.ACTION_DIST_INPUTS]
        return output


def parts_of(space: spaces.Space) -> tuple[spaces.Space, int]:
    """The space of the attacked observations, and the length of the action mask; 0 for none."""
    masked = isinstance(space, spaces.Dict) and set(space.spaces) == {OBSERVATIONS, MASK}
    return (space[OBSERVATIONS], int(space[MASK].shape[0])) if masked else (space, 0)


def attacked(batch: Mapping[str, Any], actions: int) -> Tensor:
    """Observations ``[rows, ...]``, with the action mask as further features if there is one.

    RLlib's module with masks splits the observation into two columns of the batch.
    """
    observation: Any = batch[Columns.OBS]
    if not actions:
        return observation
    if isinstance(observation, Mapping):
        return join_mask(observation[OBSERVATIONS], observation[MASK])
    return join_mask(observation, batch[MASK])


def fisher(module_id: str, module: RLModule) -> Metric:
    """The Fisher metric of a module's actions.

    Raises:
        ValueError: observations that are not floats, actions without a known density, a
            stateful module.
    """
    observed, actions = parts_of(module.observation_space)
    _check_observations(module_id, observed)
    if actions and len(observed.shape) != 1:
        raise ValueError(
            f"module {module_id!r} sees observations of shape {observed.shape} beside a mask of "
            "actions; flatten them to one vector"
        )
    if module.is_stateful():
        raise ValueError(
            f"module {module_id!r} is stateful; one observation does not determine its output. "
            "Use a feed-forward model, with past frames in the observation"
        )
    space = module.action_space
    if isinstance(space, spaces.Discrete):
        return Categorical()
    if isinstance(space, spaces.MultiDiscrete):
        return Categorical(heads=tuple(int(n) for n in space.nvec))
    if isinstance(space, spaces.Box):
        return DiagonalGaussian()
    raise ValueError(
        f"module {module_id!r} has the action space {space}; Discrete, MultiDiscrete and Box are "
        "supported: wrap the environment, or set learner_config_dict['aajr'] = "
        f"{{{module_id!r}: None}}"
    )


def _check_observations(module_id: str, space: spaces.Space) -> None:
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        return
    remedy = (
        "add the connector ray.rllib.connectors.env_to_module.FlattenObservations"
        if isinstance(space, spaces.Dict | spaces.Tuple)
        else "wrap the environment in gymnasium.wrappers.DtypeObservation(env, np.float32)"
    )
    raise ValueError(
        f"module {module_id!r} sees {type(space).__name__} observations ({space}); a ball needs "
        f"floats: {remedy}"
    )
