"""Objectives of a classifier's logits, to make the answer wrong or to reach a target class.

They read the true class from ``data["label"]`` and the target from ``data["target_class"]``,
whole numbers of shape ``[batch]``. Logits are ``[batch, classes]``; -inf masks a class.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from aajr import _shared
from aajr.trajectory import Reference


@_shared.documented
@dataclass(frozen=True)
class CrossEntropy(_shared.CrossEntropy):
    """
    Example:
        >>> import torch
        >>> data = {"label": torch.tensor([0])}
        >>> CrossEntropy()(torch.zeros(1, 2), Reference(torch.ones(1, 2), torch.zeros(1, 2), data))
        tensor([0.6931])
    """

    def __call__(self, output: Tensor, reference: Reference) -> Tensor:
        """Negative log-probability of the true class, or log-probability of the target."""
        index = classes_of(reference, self._class_read, output)
        chosen, others = _split_logit(output, index)
        loss = softplus(others.logsumexp(1) - chosen)
        return -loss if self.targeted else loss


@_shared.documented
@dataclass(frozen=True)
class Margin(_shared.Margin):
    """
    Example:
        >>> import torch
        >>> data = {"label": torch.tensor([0])}
        >>> reference = Reference(torch.ones(1, 2), torch.zeros(1, 3), data)
        >>> Margin()(torch.tensor([[3.0, 1.0, 2.0]]), reference)
        tensor([-1.])
    """

    def __call__(self, output: Tensor, reference: Reference) -> Tensor:
        """The lead of the strongest wrong class, or of the target, ``[batch]``."""
        index = classes_of(reference, self._class_read, output)
        chosen, others = _split_logit(output, index)
        margin = others.amax(1) - chosen
        return -margin if self.targeted else margin


@_shared.documented
@dataclass(frozen=True)
class DLR(_shared.DLR):
    """
    Example:
        >>> import torch
        >>> data = {"label": torch.tensor([0])}
        >>> reference = Reference(torch.ones(1, 2), torch.zeros(1, 3), data)
        >>> DLR()(torch.tensor([[4.0, 0.0, 3.0]]), reference)
        tensor([-0.2500])
    """

    def __call__(self, output: Tensor, reference: Reference) -> Tensor:
        """The ratio, ``[batch]``."""
        right, others = _split_logit(output, classes_of(reference, "label", output))
        if not self.targeted:
            return (others.amax(1) - right) / _logit_range(output, 3)
        target = classes_of(reference, "target_class", output)
        return (output.gather(1, target[:, None])[:, 0] - right) / _logit_range(output, 4)


def classes_of(reference: Reference, name: str, output: Tensor) -> Tensor:
    """The classes in the reference's data, ``[batch]``, checked against the logits.

    Raises:
        ValueError: classes that are missing, not whole numbers, of another shape or out of range.
    """
    index = reference.data.get(name)
    if index is None:
        raise ValueError(f"the objective needs data[{name!r}]; pass one class per sample, [batch]")
    if output.ndim != 2 or output.shape[1] < 2:
        raise ValueError(
            f"the policy's output has shape {tuple(output.shape)}; objectives of classes need "
            "logits [batch, classes] of at least two classes"
        )
    return check_classes(f"data[{name!r}]", index, output)


def check_classes(name: str, index: Tensor, output: Tensor) -> Tensor:
    """The classes as int64; ValueError unless they are whole numbers and indices of the logits."""
    if not isinstance(index, Tensor) or index.is_floating_point() or index.dtype == torch.bool:
        kind = index.dtype if isinstance(index, Tensor) else type(index).__name__
        raise ValueError(f"{name} is {kind}; give whole numbers, a torch.long tensor")
    if index.shape != output.shape[:1]:
        raise ValueError(
            f"{name} has shape {tuple(index.shape)}; give one class per sample, "
            f"{tuple(output.shape[:1])}"
        )
    least, greatest = (int(bound) for bound in index.aminmax())
    if least < 0 or greatest >= output.shape[1]:
        raise ValueError(
            f"{name} holds classes from {least} to {greatest}; the logits have "
            f"classes 0 to {output.shape[1] - 1}"
        )
    return index.long()


def _split_logit(output: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """The logit of a class, ``[batch]``, and all logits with -inf in its place."""
    place = index[:, None]
    return output.gather(1, place)[:, 0], output.scatter(1, place, -math.inf)


def _logit_range(output: Tensor, rank: int) -> Tensor:
    """u_(1) minus the mean of u_(3) to u_(rank); 1 where there are fewer allowed classes."""
    if output.shape[1] < rank:
        return output.new_ones(len(output))
    highest = output.topk(rank, 1).values
    low = highest[:, 2:].mean(1)
    width = (highest[:, 0] - low).clamp_min(torch.finfo(output.dtype).eps)
    return torch.where(low > -math.inf, width, 1.0)
