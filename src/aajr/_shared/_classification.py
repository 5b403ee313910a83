"""Objectives of a classifier's logits: what they say, and which class they read.

They read the true class from ``data["label"]`` and the wanted one from ``data["target_class"]``,
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

    Computed as log(1 + e^{a - u_y}) with a = log Σ_{j≠y} e^{u_j}, whose gradient does not vanish by
    rounding where the classifier is sure, as that of 1 - p_y does.

    Attributes:
        targeted: lead to ``data["target_class"]`` t instead of away from ``data["label"]`` y.

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
        targeted: lead to ``data["target_class"]`` t instead of away from ``data["label"]`` y.

    Raises:
        ValueError: when called, classes that are missing, not whole numbers or out of range.

    Source: Carlini and Wagner, Towards evaluating the robustness of neural networks, 2017,
    https://arxiv.org/abs/1608.04644.
    """


@dataclass(frozen=True)
class DLR(_OfClasses):
    r"""The difference of logits ratio, a margin that scaling the logits cannot change.

    .. math:: \ell(u) = \frac{\max_{j \ne y} u_j - u_y}{u_{(1)} - u_{(3)}}, \qquad
        \ell_t(u) = \frac{u_t - u_y}{u_{(1)} - (u_{(3)} + u_{(4)})/2},

    u_(k) the k-th largest logit. With fewer than three classes, or four for a target, the ratio
    would be constant somewhere, and its numerator is taken. Masked classes do not count.

    Attributes:
        targeted: lead to ``data["target_class"]`` t, away from ``data["label"]`` y.

    Raises:
        ValueError: when called, classes that are missing, not whole numbers or out of range.

    Source: Croce and Hein, Reliable evaluation of adversarial robustness with an ensemble of
    diverse parameter-free attacks, 2020, https://arxiv.org/abs/2003.01690.
    """
