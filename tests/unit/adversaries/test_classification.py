"""Objectives of a classifier against formulas written out, and by their gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from aajr import DLR, CrossEntropy, Margin, Reference
from aajr.testing import dense

INF = torch.inf


def reference(label: list[int], target: list[int] | None = None) -> Reference:
    data = {"label": torch.tensor(label)}
    if target is not None:
        data["target_class"] = torch.tensor(target)
    rows = torch.zeros(len(label), 1)
    return Reference(rows, rows, data)


def logits(classes: int) -> Tensor:
    return 2 * dense.inputs(4, classes, seed=3)


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_cross_entropy_is_torchs(classes):
    u, labels = logits(classes), [0, 1, 1, classes - 1]
    expected = torch.nn.functional.cross_entropy(u, torch.tensor(labels), reduction="none")
    torch.testing.assert_close(CrossEntropy()(u, reference(labels)), expected)
    targeted = CrossEntropy(targeted=True)(u, reference([0] * 4, labels))
    torch.testing.assert_close(targeted, -expected)


def test_cross_entropy_keeps_its_gradient_where_the_classifier_is_sure():
    u = torch.tensor([[40.0, 0.0, -3.0]], requires_grad=True)
    (slope,) = torch.autograd.grad(CrossEntropy()(u, reference([0])).sum(), u)
    expected = torch.tensor([[-40.0, -40.0, -43.0]]).exp()
    torch.testing.assert_close(slope[:, 1:], expected[:, 1:])


@pytest.mark.parametrize("classes", [2, 3, 4, 7])
def test_margin_and_dlr_are_as_written(classes):
    u, labels, targets = logits(classes), [0, 1, 1, classes - 1], [1, 0, classes - 1, 0]
    given = reference(labels, targets)
    for row, (y, t) in enumerate(zip(labels, targets, strict=True)):
        values = u[row].tolist()
        best = max(value for k, value in enumerate(values) if k != y)
        rival = max(value for k, value in enumerate(values) if k != t)
        order = sorted(values, reverse=True)
        spread = order[0] - order[2] if classes > 2 else 1.0
        wide = order[0] - (order[2] + order[3]) / 2 if classes > 3 else 1.0
        expected = {
            Margin(): best - values[y],
            Margin(targeted=True): values[t] - rival,
            DLR(): (best - values[y]) / spread,
            DLR(targeted=True): (values[t] - values[y]) / wide,
        }
        for objective, value in expected.items():
            assert float(objective(u, given)[row]) == pytest.approx(value), objective


def test_dlr_does_not_change_with_scale_and_shift():
    u, given = logits(5), reference([0, 1, 2, 3], [1, 2, 3, 4])
    for objective in (DLR(), DLR(targeted=True)):
        torch.testing.assert_close(objective(100 * u + 7, given), objective(u, given))


@pytest.mark.parametrize(
    "objective", [CrossEntropy(), Margin(), DLR(), DLR(targeted=True), Margin(targeted=True)]
)
def test_masked_classes_do_not_count(objective):
    small, given = logits(4), reference([0, 1, 2, 3], [1, 2, 3, 0])
    whole = torch.cat([small, torch.full((4, 2), -INF, dtype=small.dtype)], 1).requires_grad_()
    loss = objective(whole, given)
    torch.testing.assert_close(loss, objective(small, given))
    (slope,) = torch.autograd.grad(loss.sum(), whole)
    assert bool(slope.isfinite().all())
    assert not slope[:, 4:].any()


def test_equal_logits_give_numbers():
    u = torch.zeros(1, 4, requires_grad=True)
    for objective in (DLR(), DLR(targeted=True)):
        loss = objective(u, reference([0], [1]))
        (slope,) = torch.autograd.grad(loss.sum(), u)
        assert float(loss.detach()) == 0
        assert bool(slope.isfinite().all())


@pytest.mark.parametrize(
    ("objective", "data", "message"),
    [
        (Margin(), {}, r"needs data\['label'\]; pass one class per sample"),
        (DLR(targeted=True), {"label": torch.zeros(4).long()}, r"needs data\['target_class'\]"),
        (CrossEntropy(), {"label": torch.zeros(4)}, "is torch.float32; give whole numbers"),
        (CrossEntropy(), {"label": torch.zeros(4, 1).long()}, r"has shape \(4, 1\); give one"),
        (Margin(), {"label": torch.tensor([0, 1, 2, 3])}, "classes from 0 to 3; the logits have"),
    ],
)
def test_bad_classes_are_refused(objective, data, message):
    rows = torch.zeros(4, 1)
    with pytest.raises(ValueError, match=message):
        objective(torch.zeros(4, 3), Reference(rows, rows, data))


def test_outputs_that_are_no_logits_of_classes_are_refused():
    with pytest.raises(ValueError, match=r"shape \(2, 1\); objectives of classes need logits"):
        Margin()(torch.zeros(2, 1), reference([0, 0]))
