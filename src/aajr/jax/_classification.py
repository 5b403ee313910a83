"""Objectives of a classifier's logits, to make the answer wrong or to reach a target class.

They read the true class from ``data["label"]`` and the target from ``data["target_class"]``,
whole numbers of shape ``[batch]``. Logits are ``[batch, classes]``; -inf masks a class.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from aajr import _shared
from aajr.jax._checks import is_array, is_traced
from aajr.jax._functions import limits
from aajr.jax._trajectory import Reference


@_shared.documented
@dataclass(frozen=True)
class CrossEntropy(_shared.CrossEntropy):
    """
    Example:
        >>> import jax.numpy as jnp
        >>> reference = Reference(jnp.ones((1, 2)), jnp.zeros((1, 2)), {"label": jnp.array([0])})
        >>> round(CrossEntropy()(jnp.zeros((1, 2)), reference).item(), 4)
        0.6931
    """

    def __call__(self, output: Array, reference: Reference) -> Array:
        """Negative log-probability of the true class, or log-probability of the target."""
        index = classes_of(reference, self._class_read, output)
        chosen, others = _split_logit(output, index)
        loss = jax.nn.softplus(jax.nn.logsumexp(others, 1) - chosen)
        return -loss if self.targeted else loss


@_shared.documented
@dataclass(frozen=True)
class Margin(_shared.Margin):
    """
    Example:
        >>> import jax.numpy as jnp
        >>> reference = Reference(jnp.ones((1, 2)), jnp.zeros((1, 3)), {"label": jnp.array([0])})
        >>> Margin()(jnp.array([[3.0, 1.0, 2.0]]), reference)
        Array([-1.], dtype=float32)
    """

    def __call__(self, output: Array, reference: Reference) -> Array:
        """The lead of the strongest wrong class, or of the target, ``[batch]``."""
        index = classes_of(reference, self._class_read, output)
        chosen, others = _split_logit(output, index)
        margin = others.max(1) - chosen
        return -margin if self.targeted else margin


@_shared.documented
@dataclass(frozen=True)
class DLR(_shared.DLR):
    """
    Example:
        >>> import jax.numpy as jnp
        >>> reference = Reference(jnp.ones((1, 2)), jnp.zeros((1, 3)), {"label": jnp.array([0])})
        >>> DLR()(jnp.array([[4.0, 0.0, 3.0]]), reference)
        Array([-0.25], dtype=float32)
    """

    def __call__(self, output: Array, reference: Reference) -> Array:
        """The ratio, ``[batch]``."""
        right, others = _split_logit(output, classes_of(reference, "label", output))
        if not self.targeted:
            return (others.max(1) - right) / _logit_range(output, 3)
        target, _ = _split_logit(output, classes_of(reference, "target_class", output))
        return (target - right) / _logit_range(output, 4)


def classes_of(reference: Reference, name: str, output: Array) -> Array:
    """The classes in the reference's data, ``[batch]``, checked against the logits.

    Raises:
        ValueError: classes that are missing, not whole numbers, of another shape, or, if their
            values are known, out of range.
    """
    index = reference.data.get(name)
    if index is None:
        raise ValueError(f"the objective needs data[{name!r}]; pass one class per sample, [batch]")
    if output.ndim != 2 or output.shape[1] < 2:
        raise ValueError(
            f"the policy's output has shape {output.shape}; objectives of classes need logits "
            "[batch, classes] of at least two classes"
        )
    if not is_array(index) or not jnp.issubdtype(index.dtype, jnp.integer):
        kind = index.dtype if is_array(index) else type(index).__name__
        raise ValueError(f"data[{name!r}] is {kind}; give whole numbers, an integer array")
    if index.shape != output.shape[:1]:
        raise ValueError(
            f"data[{name!r}] has shape {index.shape}; give one class per sample, {output.shape[:1]}"
        )
    if not is_traced(index):
        low, high = np.asarray(index).min(), np.asarray(index).max()  # not jnp, which is traced
        if low < 0 or high >= output.shape[1]:
            raise ValueError(
                f"data[{name!r}] holds classes from {low} to {high}; the logits have "
                f"classes 0 to {output.shape[1] - 1}"
            )
    return index


def _split_logit(output: Array, index: Array) -> tuple[Array, Array]:
    """The logit of a class, ``[batch]``, and all logits with -inf in its place."""
    place = jnp.arange(output.shape[1]) == index[:, None]
    return jnp.where(place, output, 0).sum(1), jnp.where(place, -jnp.inf, output)


def _logit_range(output: Array, rank: int) -> Array:
    """u_(1) minus the mean of u_(3) to u_(rank); 1 where there are fewer allowed classes."""
    if output.shape[1] < rank:
        return jnp.ones(len(output), output.dtype)
    highest = jax.lax.top_k(output, rank)[0]
    low = highest[:, 2:].mean(1)
    width = jnp.maximum(highest[:, 0] - low, limits(output).eps)
    return jnp.where(low > -jnp.inf, width, 1.0)
