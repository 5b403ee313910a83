"""VMAS environments as differentiable dynamics."""

from aajr.integrations.vmas._dynamics import vmas_dynamics, vmas_state

__all__ = ["vmas_dynamics", "vmas_state"]
