"""VMAS: its scenarios in the arena, and as differentiable dynamics."""

from aajr.integrations.vmas._dynamics import vmas_dynamics, vmas_state
from aajr.integrations.vmas._environment import VMASEnvironment

__all__ = ["VMASEnvironment", "vmas_dynamics", "vmas_state"]
