"""TorchRL: its actors as agents of the arena, and its environments in it."""

from aajr.integrations.torchrl._agents import agent_from
from aajr.integrations.torchrl._environment import TorchRLEnvironment

__all__ = ["TorchRLEnvironment", "agent_from"]
