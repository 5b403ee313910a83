"""Tests made once per policy: whether it is a function of x, and in which precision it computes."""

from __future__ import annotations

import functools
import weakref
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from aajr._modes import Policy, evaluating
from aajr._modules import modules_behind

_KEPT = 256
_KNOWN: OrderedDict[Hashable, torch.dtype] = OrderedDict()
_ROUNDING = 64
"""Ulps by which two passes may differ: parallel sums may round in another order."""


def inspect(policy: Policy, x: Tensor) -> torch.dtype:
    """The coarsest precision in which a policy computes; its first call also tests the policy.

    The policy is evaluated twice at x, in evaluation mode. Different outputs mean noise or a hidden
    state: attacks and differences would then measure these instead of the Jacobian. The result is
    cached for the same code with the same modules.

    Args:
        policy: map from ``[batch, *event]`` to ``[batch, *output]``.
        x: inputs, ``[batch, *event]``.

    Returns:
        The floating dtype of largest machine epsilon among all intermediate results.

    Raises:
        ValueError: outputs that differ at the same x; inputs in another dtype or on another device
            than the parameters.
    """
    return inspected(policy, x)[0]


@torch.no_grad()
def inspected(policy: Policy, x: Tensor) -> tuple[torch.dtype, Tensor | None]:
    """The result of :func:`inspect`, and π(x) if the policy had to be evaluated for it."""
    key = _identity(policy, x)
    if key is not None and key in _KNOWN:
        _KNOWN.move_to_end(key)
        return _KNOWN[key], None
    state = _State(policy)
    with evaluating(policy), _Precision(x.dtype) as seen:
        first, again = evaluated(policy, x), policy(x)
    if not _agree(first, again):
        message = _difference(first, again, state.changed())
        state.restore()
        raise ValueError(message)
    if key is not None:
        _KNOWN[key] = seen.coarsest
        while len(_KNOWN) > _KEPT:
            _KNOWN.popitem(last=False)
    return seen.coarsest, first


def evaluated(policy: Policy, x: Tensor) -> Tensor:
    """π(x).

    Raises:
        ValueError: inputs in another dtype or on another device than the parameters.
    """
    try:
        return policy(x)
    except RuntimeError as error:
        parameters = [p for module in modules_behind(policy) for p in module.parameters()]
        reason = _mismatch(parameters, x)
        if reason is None:
            raise
        raise ValueError(f"{reason} (torch says: {error})") from error


def _mismatch(parameters: list[nn.Parameter], x: Tensor) -> str | None:
    floats = [p for p in parameters if p.is_floating_point()]
    if floats and all(p.device != x.device for p in floats):
        device = floats[0].device
        return f"x is on {x.device} but the policy on {device}; move x with .to({str(device)!r})"
    if floats and all(p.dtype != x.dtype for p in floats):
        dtype = floats[0].dtype
        return f"x has dtype {x.dtype} but the policy {dtype}; convert x with .to({dtype})"
    return None


class _Precision(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records the floating dtype of largest machine epsilon among the results of all operations."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.coarsest = dtype

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # otherwise torch loads its compiler here, which takes most of a second

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor) and value.is_floating_point():
                self.coarsest = coarser(self.coarsest, value.dtype)
        return result


def coarser(one: torch.dtype, other: torch.dtype) -> torch.dtype:
    """The dtype of larger machine epsilon."""
    return max(one, other, key=lambda dtype: torch.finfo(dtype).eps)


def _agree(first: Any, again: Any) -> bool:
    if not isinstance(first, Tensor) or not isinstance(again, Tensor):
        return True  # the caller checks the output itself, with a message of its own
    if first.shape != again.shape or not first.is_floating_point():
        return first.shape == again.shape and torch.equal(first, again)
    if torch.equal(first, again):
        return True
    finite = torch.isfinite(first)
    if not torch.equal(finite, torch.isfinite(again)):
        return False
    one, other = (value.where(finite, value.new_zeros(())).double() for value in (first, again))
    slack = _ROUNDING * torch.finfo(first.dtype).eps * one.abs().amax()
    return bool(((one - other).abs() <= slack).all())


def _difference(first: Tensor, again: Tensor, state: list[str]) -> str:
    size = "their shapes differ"
    if first.shape == again.shape:
        size = f"they differ by up to {float((first - again).abs().amax()):.3g}"
    found = f"two evaluations of the policy at the same x disagree: {size}. It "
    if state:
        return (
            f"{found}keeps state between calls in {', '.join(state)}; pass the state as part of x "
            "or from a closure, one row per sample"
        )
    return (
        f"{found}draws noise or keeps state between calls; give its deterministic part (mean or "
        "logits), call .eval() on what runs inside, and pass a recurrent state as part of x or "
        "from a closure"
    )


class _State:
    """All state of the modules besides their parameters, to detect and undo a change."""

    def __init__(self, policy: Policy) -> None:
        modules = [module for root in modules_behind(policy) for module in root.modules()]
        self._before = [
            (module, dict(vars(module)), {n: (t, t.clone()) for n, t in _tensors(module)})
            for module in modules
        ]

    def changed(self) -> list[str]:
        """Names of the attributes that were replaced or overwritten, as ``Class.attribute``."""
        names = set()
        for module, attributes, tensors in self._before:
            replaced = {n for n, value in vars(module).items() if value is not attributes.get(n)}
            written = {n for n, (now, then) in tensors.items() if not torch.equal(now, then)}
            names |= {f"{type(module).__name__}.{name}" for name in replaced | written}
        return sorted(names)

    def restore(self) -> None:
        """Undo every change."""
        for module, attributes, tensors in self._before:
            vars(module).clear()
            vars(module).update(attributes)
            for now, then in tensors.values():
                if not torch.equal(now, then):
                    now.copy_(then)


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, value in (*vars(module).items(), *module.named_buffers(recurse=False)):
        if isinstance(value, Tensor):
            yield name, value


def _identity(policy: Policy, x: Tensor) -> Hashable | None:
    """A cache key of the policy: its code and its modules; None if there is no such key.

    A training loop makes a new lambda for every update, with the same code and the same modules. A
    callable without modules is its own key.
    """
    modules = tuple(weakref.ref(module) for module in modules_behind(policy))
    autocast = torch.is_autocast_enabled(x.device.type)
    try:
        key = (_code(policy) if modules else weakref.ref(policy), modules, x.dtype, autocast)
        hash(key)
    except TypeError:
        return None
    return key


def _code(policy: Any) -> Any:
    """The code that a callable runs; None for a module, which identifies itself."""
    if isinstance(policy, functools.partial):
        return _code(policy.func)
    if isinstance(policy, MethodType):
        return _code(policy.__func__)
    if isinstance(policy, FunctionType):
        return policy.__code__
    return None if isinstance(policy, nn.Module) else type(policy)
