"""Evaluation mode during an attack or during the computation of a Jacobian."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from aajr._modules import everything_in, modules_behind

Policy = Callable[[Tensor], Tensor]
"""Any differentiable map from inputs ``[batch, ...]`` to outputs ``[batch, ...]``."""

_LOCK = threading.Lock()
_HOLDERS: dict[int, int] = {}
"""Number of threads that keep a module, by its id, in evaluation mode.

Only modules that were in training mode have an entry.
"""


@contextmanager
def evaluating(policy: Callable[..., Any]) -> Iterator[list[nn.Module]]:
    """Put the modules of a policy in evaluation mode, and restore the mode of each afterwards.

    Two passes with different dropout masks would differ by noise, not by the Jacobian; batch
    statistics would couple the rows. Modules inside bound methods, partials and closures are found
    too. Where several threads share a module, the last thread to finish restores the mode.

    Yields:
        All modules of the policy.
    """
    modules = everything_in(modules_behind(policy))
    held = _hold(modules)
    try:
        yield modules
    finally:
        _release(held)


def _hold(modules: list[nn.Module]) -> list[nn.Module]:
    held = []
    with _LOCK:
        for module in modules:
            if module.training or id(module) in _HOLDERS:
                _HOLDERS[id(module)] = _HOLDERS.get(id(module), 0) + 1
                _set_training(module, False)
                held.append(module)
    return held


def _release(held: list[nn.Module]) -> None:
    with _LOCK:
        for module in held:
            _HOLDERS[id(module)] -= 1
            if not _HOLDERS[id(module)]:
                del _HOLDERS[id(module)]
                _set_training(module, True)


def _set_training(module: nn.Module, value: bool) -> None:
    """The flag alone; a module's own ``__setattr__`` takes longer than a small layer."""
    if "training" in vars(module):
        vars(module)["training"] = value
    else:  # scripted modules keep it elsewhere
        module.training = value
