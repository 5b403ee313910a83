"""Robust PPO, SAC and TD3 in Stable-Baselines3's own loop."""

from aajr.integrations.hosts import warn_untested

warn_untested("stable-baselines3", "2.9", "2.10", extra="sb3")

from aajr.integrations.sb3._agents import agent_from, agent_of  # noqa: E402
from aajr.integrations.sb3._algorithms import RobustPPO, RobustSAC, RobustTD3  # noqa: E402
from aajr.integrations.sb3._files import load_agent, save_agent  # noqa: E402
from aajr.integrations.sb3._preprocessing import (  # noqa: E402
    FrameStacking,
    Normalisation,
    Observer,
    Preprocessing,
    Transposition,
)
from aajr.integrations.sb3._recipes import train_recipe  # noqa: E402
from aajr.integrations.sb3._robustness import RobustnessCallback  # noqa: E402
from aajr.integrations.sb3._saved import SavedAgent  # noqa: E402
from aajr.integrations.sb3._segments import epsilon_ramp, learn_in_segments  # noqa: E402

__all__ = [
    "FrameStacking",
    "Normalisation",
    "Observer",
    "Preprocessing",
    "RobustPPO",
    "RobustSAC",
    "RobustTD3",
    "RobustnessCallback",
    "SavedAgent",
    "Transposition",
    "agent_from",
    "agent_of",
    "epsilon_ramp",
    "learn_in_segments",
    "load_agent",
    "save_agent",
    "train_recipe",
]
