"""RLlib's PPO learner with an adversary and a penalty for each chosen module."""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing
from torch import Tensor

from aajr.adversaries import with_ball
from aajr.integrations._adversaries import one_budget, protect_mask
from aajr.integrations.rllib._settings import (
    ActionMap,
    Robustness,
    attacked,
    fisher,
    parts_of,
    settings_of,
)
from aajr.minimax import Minimax

_STATE = "aajr"


class RobustPPOTorchLearner(PPOTorchLearner):  # type: ignore[misc]
    r"""RLlib's PPO, whose policies are attacked while they train, with a penalty.

    .. math:: L = L_\text{PPO}(\pi_\theta(x + \delta^*)) + \lambda R(\theta)

    The value is evaluated at x. The attacked map goes from observations, after all connectors, to
    the inputs of the action distribution. The adversary's objective may read ``action`` and
    ``advantage``. Rows that RLlib masks are left out. Of an observation ``{"observations",
    "action_mask"}``, as RLlib's module with masks takes it, only the first part is attacked; a
    forbidden action has probability 0 and does not affect attack and penalty. Each observation has
    one budget, unless the ball sets ``event_dims``. The settings are
    ``learner_config_dict["aajr"]``: a :class:`Robustness` for all modules, or a mapping of module
    ids to settings. A module without settings, or with None, trains as in RLlib.

    Each of several learners attacks its own share of a batch; RLlib averages the gradients.

    Metrics for every module: ``aajr_penalty``, ``aajr_weight`` and the norms of the inner gradient.

    Raises:
        ValueError: observations that are not floats, stateful modules, NaN observations.

    Example:
        >>> import aajr
        >>> from ray.rllib.algorithms.ppo import PPOConfig
        >>> config = PPOConfig().environment("CartPole-v1").learners(
        ...     learner_class=RobustPPOTorchLearner,
        ...     learner_config_dict={"aajr": Robustness(aajr.Ball("linf", 0.1), aajr.AAJR)},
        ... )
        >>> config.learner_class.__name__
        'RobustPPOTorchLearner'

    Source: Schulman et al., Proximal policy optimization algorithms, 2017,
    https://arxiv.org/abs/1707.06347.
    """

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: dict[str, Any]
    ) -> Tensor:
        """RLlib's loss at the placement, plus λ · penalty."""
        settings = settings_of(self.config.learner_config_dict, module_id)
        if settings is None:
            return super().compute_loss_for_module(
                module_id=module_id, config=config, batch=batch, fwd_out=fwd_out
            )
        module = self.module[module_id].unwrapped()
        actions = parts_of(module.observation_space)[1]
        policy = ActionMap(module, actions, isinstance(batch[Columns.OBS], dict))
        minimax = self._minimax(module_id, settings)
        rows, seen = batch.get(Columns.LOSS_MASK, ...), attacked(batch, actions)
        x = seen[rows]
        data = {
            "action": batch[Columns.ACTIONS][rows],
            "advantage": batch[Postprocessing.ADVANTAGES][rows],
        }
        regularised = minimax.regularise(policy, x, data)
        worst = regularised.trajectory.worst
        if settings.placement == "adversarial" and not torch.equal(worst, x):
            shown = seen.clone()
            shown[rows] = worst
            fwd_out = {**fwd_out, Columns.ACTION_DIST_INPUTS: policy.host(shown)}
        task = super().compute_loss_for_module(
            module_id=module_id, config=config, batch=batch, fwd_out=fwd_out
        )
        self._log(module_id, regularised.diagnostics, float(regularised.penalty.detach()))
        if not regularised.total.requires_grad:
            return task
        return task + regularised.total

    def get_state(
        self, components: Any = None, *, not_components: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        """RLlib's state, and the state of every adversary and penalty."""
        state = super().get_state(components, not_components=not_components, **kwargs)
        if self._check_component(_STATE, components, not_components):
            state[_STATE] = {
                name: minimax.state_dict() for name, minimax in self._minimaxes().items()
            }
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`get_state` returned."""
        super().set_state(state)
        for module_id, kept in state.get(_STATE, {}).items():
            settings = settings_of(self.config.learner_config_dict, module_id)
            if settings is not None:
                self._minimax(module_id, settings).load_state_dict(kept)

    def _minimax(self, module_id: str, settings: Robustness) -> Minimax:
        minimaxes = self._minimaxes()
        if module_id not in minimaxes:
            module = self.module[module_id].unwrapped()
            minimax = settings.minimax(fisher(module_id, module))
            observed, actions = parts_of(module.observation_space)
            dims = len(observed.shape)
            minimax.adversary = with_ball(minimax.adversary, lambda ball: one_budget(ball, dims))
            if actions:
                protect_mask(minimax, observed.shape[0], actions)
            minimaxes[module_id] = minimax
        return minimaxes[module_id]

    def _minimaxes(self) -> dict[str, Minimax]:
        # RLlib builds learners in several steps, so there is no constructor to hook into
        minimaxes: dict[str, Minimax] = self.__dict__.setdefault("_aajr_minimaxes", {})
        return minimaxes

    def _log(self, module_id: str, diagnostics: dict[str, float], penalty: float) -> None:
        # zero between two penalised updates, so the mean is over one interval
        interval = getattr(self._minimaxes()[module_id].penalty, "interval", 1)
        shown = {"aajr_penalty": penalty}
        self.metrics.log_dict(shown, key=module_id, reduce="mean", window=interval)
        named = {}
        for name in ("weight", "inner_gradient_norm_mean", "inner_gradient_norm_max"):
            if name in diagnostics:
                named[f"aajr_{name}"] = diagnostics[name]
        self.metrics.log_dict(named, key=module_id, window=1)
