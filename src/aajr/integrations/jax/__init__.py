"""Agents written in JAX, attacked by torch with JAX's own gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

try:
    import jax
    import jax.numpy as jnp
except ImportError as error:
    raise ImportError("agents of JAX need it: pip install 'aajr[jax]'") from error

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from aajr.arena.agents.agent import RAW, Agent
from aajr.arena.spaces.heads import Head

__all__ = ["agent_from"]

Apply = Callable[[Any, Any], Any]
"""Function of parameters and observations ``[rows, *observation]``."""


def agent_from(
    apply: Apply,
    params: Any,
    observation_space: spaces.Space[Any],
    action_space: spaces.Space[Any],
    *,
    head: Head | None = None,
    value: Apply | None = None,
    unit: str = RAW,
    sight: Callable[[np.ndarray], Tensor] | None = None,
    source: str = "",
) -> Agent:
    """The agent of a function of JAX.

    See :meth:`aajr.arena.Agent.from_jax`, which calls it.
    """
    module = _Functions(apply, value, params)
    return Agent.from_module(
        module,
        action_space,
        observation_space=observation_space,
        head=head,
        value=None if value is None else lambda m, x: m.valued(x),
        unit=unit,
        sight=sight,
        source=source or f"JAX, {apply.__module__}.{apply.__qualname__}",
    )


class _Functions(nn.Module):
    """The functions of a policy and of its values as a module; the parameters are buffers.

    The buffers identify the agent. JAX reads its own copy.
    """

    def __init__(self, apply: Apply, value: Apply | None, params: Any) -> None:
        super().__init__()
        self.applied = _Compiled(apply, params)
        self.values = None if value is None else _Compiled(value, params)
        for number, leaf in enumerate(jax.tree.leaves(params)):
            if _is_array(leaf):
                self.register_buffer(f"parameter{number}", torch.tensor(np.asarray(leaf)))

    def forward(self, x: Tensor) -> Tensor:
        """Outputs, ``[rows, outputs]``."""
        return self._of(self.applied, x)

    def valued(self, x: Tensor) -> Tensor:
        """Values, ``[rows, 1]``."""
        return self._of(self.values, x)

    def _of(self, compiled: _Compiled | None, x: Tensor) -> Tensor:
        outputs: Tensor = _Bridge.apply(x, compiled)  # type: ignore[no-untyped-call]
        return outputs


class _Compiled:
    """A function of JAX and the product of a vector with its Jacobian, both compiled.

    The number of rows is rounded up to a power of two, so that JAX compiles few versions although
    episodes end one after the other.
    """

    def __init__(self, apply: Apply, params: Any) -> None:
        leaves, tree = jax.tree.flatten(params)
        places = [place for place, leaf in enumerate(leaves) if _is_array(leaf)]

        def outputs(arrays: Any, x: Any) -> Any:
            whole = list(leaves)  # Equinox keeps functions beside the arrays
            for place, array in zip(places, arrays, strict=True):
                whole[place] = array
            return _joined(apply(jax.tree.unflatten(tree, whole), x), len(x))

        def pulled(arrays: Any, x: Any, weights: Any) -> Any:
            return jax.vjp(lambda x: outputs(arrays, x), x)[1](weights)[0]

        self.arrays = [leaves[place] for place in places]
        self._outputs, self._pulled = jax.jit(outputs), jax.jit(pulled)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Compiled:
        return self  # it has no state

    def outputs(self, x: np.ndarray) -> np.ndarray:
        """Outputs ``[rows, outputs]``."""
        found = self._outputs(self.arrays, _padded(x))
        return np.asarray(found)[: len(x)]

    def pulled(self, x: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Gradient of the weighted outputs, ``[rows, *observation]``."""
        found = self._pulled(self.arrays, _padded(x), _padded(weights))
        return np.asarray(found)[: len(x)]


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray)


def _joined(found: Any, rows: int) -> Any:
    """An array, or (mean, log std), or logits of several choices, as ``[rows, outputs]``."""
    if not isinstance(found, tuple | list):
        return found.reshape(rows, -1)
    # a log std may be the same for all rows
    wide = [jnp.broadcast_to(part, (rows, part.shape[-1])) for part in found]
    return jnp.concatenate(wide, -1)


def _padded(x: np.ndarray) -> np.ndarray:
    missing = (1 << max(0, len(x) - 1).bit_length()) - len(x)
    return np.concatenate([x, np.zeros((missing, *x.shape[1:]), x.dtype)]) if missing else x


class _Bridge(torch.autograd.Function):
    """A compiled function whose backward pass is JAX's vector-Jacobian product."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, compiled: _Compiled) -> Tensor:
        ctx.save_for_backward(x)
        ctx.compiled = compiled
        return torch.tensor(compiled.outputs(_numpy(x)), dtype=x.dtype, device=x.device)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, weights: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        found = ctx.compiled.pulled(_numpy(x), _numpy(weights))
        return torch.tensor(found, dtype=x.dtype, device=x.device), None


def _numpy(x: Tensor) -> np.ndarray:
    found: np.ndarray = x.detach().cpu().numpy()
    return found
