"""Robust PPO in RLlib's own loop, on its new API stack."""

from aajr.integrations.hosts import warn_untested

warn_untested("ray", "2.60", "2.61", extra="rllib")

from aajr.integrations.rllib._agents import agent_from  # noqa: E402
from aajr.integrations.rllib._learner import RobustPPOTorchLearner  # noqa: E402
from aajr.integrations.rllib._settings import Robustness  # noqa: E402

__all__ = ["RobustPPOTorchLearner", "Robustness", "agent_from"]
