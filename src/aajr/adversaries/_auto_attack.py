"""AutoAttack: four attacks one after another, each on the rows that are not broken yet."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from aajr._checks import check_batch, check_count, check_generator
from aajr._modes import Policy, evaluating
from aajr.adversaries._apgd import AutoPGD
from aajr.adversaries._classification import DLR, CrossEntropy, Margin, check_classes
from aajr.adversaries._fab import FAB
from aajr.adversaries._search import Square
from aajr.geometry import Ball

ATTACKS = ("apgd_ce", "apgd_dlr", "fab", "square")


@dataclass(frozen=True, eq=False)
class AutoAttackResult:
    """What :func:`auto_attack` found.

    Attributes:
        points: the attacked inputs, ``[batch, *event]``; the clean ones where nothing succeeded.
        success: True where the answer at the point is wrong, ``[batch]``.
        broken_by: what broke each row, ``[batch]``: ``"clean"`` where the clean answer is wrong
            already, the name of an attack, or ``""`` for a row that no attack broke.
        counts: number of rows that each of these broke, in order of use.
    """

    points: Tensor
    success: Tensor
    broken_by: tuple[str, ...]
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def clean_accuracy(self) -> float:
        """Share of the rows whose clean answer is right."""
        return 1 - self.counts["clean"] / len(self.success)

    @property
    def robust_accuracy(self) -> float:
        """Share of the rows whose answer no attack changed; an upper bound of the true one."""
        return 1 - float(self.success.double().mean())


def auto_attack(
    policy: Policy,
    x: Tensor,
    y: Tensor,
    ball: Ball,
    *,
    generator: torch.Generator | None = None,
    steps: int = 100,
    targets: int = 9,
    queries: int = 5000,
    batch_size: int = 1024,
) -> AutoAttackResult:
    """Try to change every answer of a classifier within the ball, by an ensemble of attacks.

    APGD on the cross-entropy, APGD on the targeted DLR, targeted FAB and Square, in this order.
    Each attack runs on the rows that are still answered correctly. A targeted attack tries the
    wrong classes, the likeliest first.

    Args:
        policy: map from ``[batch, *event]`` to logits ``[batch, classes]``.
        x: clean inputs, ``[batch, *event]``.
        y: true classes, ``[batch]``, whole numbers.
        ball: the threat set, l2 or linf.
        generator: source of all randomness, on x's device; one of seed 0 by default.
        steps: number of steps of each run of APGD and FAB.
        targets: number of wrong classes that the targeted attacks try, at most.
        queries: queries of Square.
        batch_size: number of rows attacked at a time.

    Returns:
        The points, what broke each row, and the robust accuracy.

    Raises:
        ValueError: input that :class:`aajr.Adversary` refuses; classes that do not fit the logits;
            non-positive counts.

    Example:
        >>> policy = lambda x: torch.stack([x.sum(1), -x.sum(1)], 1)
        >>> x = torch.tensor([[0.1, 0.1], [0.5, 0.5], [-1.0, 0.0]])
        >>> result = auto_attack(policy, x, torch.tensor([0, 0, 0]), Ball("linf", 0.2), steps=5)
        >>> result.broken_by
        ('apgd_ce', '', 'clean')
        >>> round(result.robust_accuracy, 2)
        0.33

    Source: Croce and Hein, Reliable evaluation of adversarial robustness with an ensemble of
    diverse parameter-free attacks, 2020, https://arxiv.org/abs/2003.01690.
    """
    counts = {"steps": steps, "targets": targets, "queries": queries, "batch_size": batch_size}
    for name, count in counts.items():
        check_count(name, count)
    check_batch("x", x)
    ball.check(x)
    generator = generator or torch.Generator(x.device).manual_seed(0)
    check_generator(generator, x)
    x = x.detach()
    logits = torch.cat([_logits(policy, part) for part in torch.split(x, batch_size)])
    y = check_classes("y", y, logits).to(x.device)
    wrong_logits = logits.scatter(1, y[:, None], -math.inf)
    likely = wrong_logits.argsort(dim=1, descending=True, stable=True)
    broken_by = ["clean" if wrong else "" for wrong in _wrong(logits, y).tolist()]
    points = x.clone()
    for name, attack, rank in _attacks(ball, steps, min(targets, logits.shape[1] - 1), queries):
        standing = torch.tensor([not by for by in broken_by], device=x.device)
        if rank is not None:  # a masked class is not a target
            standing &= wrong_logits.gather(1, likely[:, [rank]])[:, 0] > -math.inf
        for rows in torch.split(standing.nonzero()[:, 0], batch_size):
            data = {"label": y[rows]}
            if rank is not None:
                data["target_class"] = likely[rows, rank]
            if len(rows):
                here = replace(attack, ball=_of_rows(ball, rows))
                found = here(policy, x[rows], generator, data).worst
                wrong = _wrong(_logits(policy, found), y[rows])
                points[rows[wrong]] = found[wrong]
                broken_by = _noted(broken_by, rows[wrong], name)
    success = torch.tensor([bool(by) for by in broken_by], device=x.device)
    broken = {name: broken_by.count(name) for name in ("clean", *ATTACKS)}
    return AutoAttackResult(points, success, tuple(broken_by), broken)


def _attacks(
    ball: Ball, steps: int, tries: int, queries: int
) -> Iterator[tuple[str, AutoPGD | FAB | Square, int | None]]:
    """Name, attack and rank of the target class among the wrong ones, in order of use."""
    yield "apgd_ce", AutoPGD(ball, CrossEntropy(), steps=steps, record="last"), None
    for rank in range(tries):
        yield "apgd_dlr", AutoPGD(ball, DLR(targeted=True), steps=steps, record="last"), rank
    for rank in range(tries):
        yield "fab", FAB(ball, steps=steps), rank
    yield "square", Square(ball, Margin(), queries=queries, until=0.0), None


def _noted(broken_by: list[str], rows: Tensor, name: str) -> list[str]:
    """The list with ``name`` at the given rows."""
    chosen = set(rows.tolist())
    return [name if row in chosen else by for row, by in enumerate(broken_by)]


def _of_rows(ball: Ball, rows: Tensor) -> Ball:
    """The ball of the chosen samples; only a coalition can differ between samples."""
    if ball.coalition is None or ball.coalition.ndim == 1:
        return ball
    return replace(ball, coalition=ball.coalition[rows])


def _logits(policy: Policy, x: Tensor) -> Tensor:
    with evaluating(policy), torch.no_grad():
        logits = policy(x)
    if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[1] < 2:
        kind = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(
            f"the policy returned {kind}; auto_attack needs logits [batch, classes] of at least "
            "two classes"
        )
    return logits


def _wrong(logits: Tensor, y: Tensor) -> Tensor:
    """Whether another class has a higher logit than the true one, ``[batch]``."""
    others = logits.scatter(1, y[:, None], -math.inf)
    return others.amax(1) > logits.gather(1, y[:, None])[:, 0]
