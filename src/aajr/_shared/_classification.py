"""Objectives of a classifier's logits: their settings and docstrings.

They read the true class from ``data["label"]`` and the target from ``data["target_class"]``,
whole numbers of shape ``[batch]``. Logits are ``[batch, classes]``; -inf masks a class.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class _OfClasses:
    targeted: bool = False

    @property
    def _class_read(self) -> str:
        return "target_class" if self.targeted else "label"


@dataclass(frozen=True)
class CrossEntropy(_OfClasses):
    """ℓ(u) = -log p_y with p = softmax(u); targeted, ℓ(u) = log p_t.

    It is computed as log(1 + e^{a - u_y}) with a = log Σ_{j≠y} e^{u_j}. Unlike that of 1 - p_y, its
    gradient does not round to zero where the classifier is confident.

    Attributes:
        targeted: move towards ``data["target_class"]`` t instead of away from ``data["label"]`` y.

    Raises:
        ValueError: when called, classes that are missing, not whole numbers or out of range.

    Source: Goodfellow et al., Explaining and harnessing adversarial examples, 2015,
    https://arxiv.org/abs/1412.6572.
    """


@dataclass(frozen=True)
class Margin(_OfClasses):
    """ℓ(u) = max_{j≠y} u_j - u_y, positive where the answer is wrong.

    Targeted, ℓ(u) = u_t - max_{j≠t} u_j, positive where the answer is t.

    Attributes:
        targeted: move towards ``data["target_class"]`` t instead of away from ``data["label"]`` y.

    Raises:
        ValueError: when called, classes that are missing, not whole numbers or out of range.

    Source: Carlini and Wagner, Towards evaluating the robustness of neural networks, 2017,
    https://arxiv.org/abs/1608.04644.
    """


@dataclass(frozen=True)
class DLR(_OfClasses):
    r"""The difference-of-logits ratio, a margin that does not depend on the logits' scale.

    .. math:: \ell(u) = \frac{\max_{j \ne y} u_j - u_y}{u_{(1)} - u_{(3)}}, \qquad
        \ell_t(u) = \frac{u_t - u_y}{u_{(1)} - (u_{(3)} + u_{(4)})/2},

    where u_(k) is the k-th largest logit. With fewer than three classes, or four for a target, the
    ratio would be constant somewhere; then only its numerator is used. Masked classes do not count.

    Attributes:
        targeted: move towards ``data["target_class"]`` t and away from ``data["label"]`` y.

    Raises:
        ValueError: when called, classes that are missing, not whole numbers or out of range.

    Source: Croce and Hein, Reliable evaluation of adversarial robustness with an ensemble of
    diverse parameter-free attacks, 2020, https://arxiv.org/abs/2003.01690.
    """
