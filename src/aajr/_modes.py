"""Evaluation mode for the time of an attack or of a Jacobian."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

Policy = Callable[[Tensor], Tensor]
"""Any differentiable map from inputs ``[batch, ...]`` to outputs ``[batch, ...]``."""


@contextmanager
def evaluating(policy: Callable[..., Tensor]) -> Iterator[None]:
    """Put a module and its children in evaluation mode, and each back in its own mode afterwards.

    Two passes with different dropout masks would differ by noise, not by the Jacobian; batch
    statistics would couple the rows. A policy that is not a module is left alone.
    """
    modules = list(policy.modules()) if isinstance(policy, nn.Module) else []
    modes = [module.training for module in modules]
    for module in modules:
        module.training = False
    try:
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
