"""AAJR and its rivals on a language model; each penalty is added to the trainer's loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from aajr.integrations.trl import _outputs
from aajr.integrations.trl._attacked import (
    Attacked,
    directions,
    directions_of_rows,
    moved,
    norms,
    random_directions,
    sum_over_sequences,
)
from aajr.integrations.trl._parts import Parts, decode, float32, listening
from aajr.integrations.trl._ranks import ALONE, Ranks
from aajr.integrations.trl._settings import Robustness

HostLoss = Callable[[], Tensor]


@dataclass(frozen=True, eq=False)
class AttackedBatch:
    """A batch with its attacked tokens: everything that a penalty reads.

    Attributes:
        parts: parts of the model.
        settings: settings of the penalty.
        arguments: arguments of the model's call, for all rows of the trainer's loss.
        where: attacked tokens of these rows.
        rows: indices of the penalised rows.
        loss: the trainer's own loss of all these rows.
        generator: source of random directions.
        ranks: the processes.
        by_tokens: whether ``loss`` is a mean over answer tokens, not over sequences.
        idle: whether this process has nothing to penalise and runs the passes for the others only.
    """

    parts: Parts
    settings: Robustness
    arguments: Mapping[str, Any]
    where: Attacked
    rows: Tensor
    loss: HostLoss
    generator: torch.Generator
    ranks: Ranks = ALONE
    by_tokens: bool = False
    idle: bool = False

    @property
    def size(self) -> float:
        """Number of tokens or sequences in the mean of the loss: its weight among all processes."""
        if self.idle:
            return 0.0
        return float(self.where.scored.sum()) if self.by_tokens else float(self.where.units)

    def penalised(self) -> tuple[dict[str, Any], Attacked]:
        """Arguments and attacked tokens of the penalised rows."""
        count = len(self.where.mask)
        index = self.rows.to(self.where.mask.device)
        cut = {
            name: value[index] if isinstance(value, Tensor) and len(value) == count else value
            for name, value in self.arguments.items()
        }
        return cut, self.where.rows(self.rows)


@dataclass(frozen=True, eq=False)
class PenaltySum:
    """One process's part of a penalty, which is a mean over all processes.

    Attributes:
        total: sum over the penalised sequences, differentiable.
        count: number of summands in the mean.
        active: number of sequences that had a direction.
        units: number of all sequences.
    """

    total: Tensor
    count: Tensor | float
    active: Tensor
    units: int

    @property
    def value(self) -> Tensor:
        """The penalty of this process alone, not yet multiplied by λ."""
        return self.total / max(float(self.count), 1.0)


def aajr(batch: AttackedBatch) -> PenaltySum:
    """‖J v‖²_F ‖e‖² / T along the gradient of the trainer's loss."""
    return jacobian_norm(batch, loss_direction(batch))


def random_direction(batch: AttackedBatch) -> PenaltySum:
    """‖J v‖²_F ‖e‖² / T along a random direction."""
    return jacobian_norm(batch, _random(batch))


def r3f(batch: AttackedBatch) -> PenaltySum:
    """Symmetric KL to the answer at a random point of radius ε."""
    v = _of_rows(batch, _random(batch))
    return _divergence(batch, v)


def smart(batch: AttackedBatch) -> PenaltySum:
    """Symmetric KL to the answer at the point of greatest KL, found by ascent.

    Its small-radius limit is the penalty along the top eigenvector of JᵀFJ.
    """
    v = _of_rows(batch, _random(batch))
    arguments, where = batch.penalised()
    with same_noise(where.mask.device) as again:
        with torch.no_grad():
            latent, clean = _decode(batch, arguments)
        for _ in range(batch.settings.steps):
            again()
            point = moved(latent, v, batch.settings.radius, where).requires_grad_()
            _, hidden = _decode(batch, arguments, point.view_as(point))
            value = _between(batch, where, clean, hidden, _outputs.symmetric_kl)
            v = directions_of_rows(torch.autograd.grad(value.sum(), point)[0], where)
    return _divergence(batch, v)


def adversarial(batch: AttackedBatch) -> PenaltySum:
    """The trainer's loss at the point of radius ε that ascent found."""
    settings = batch.settings
    v = loss_direction(batch)
    for _ in range(settings.steps - 1):
        v = loss_direction(batch, v)
    active = norms(v, batch.where) > 0.5
    with listening(
        batch.parts,
        settings.layer,
        lambda latent: moved(latent, v, settings.radius, batch.where),
    ):
        loss = batch.loss() * batch.size
    return PenaltySum(loss, batch.size, active.sum(), batch.where.units)


def loss_direction(batch: AttackedBatch, at: Tensor | None = None) -> Tensor:
    """Unit gradient of the trainer's loss, ``[rows, tokens, d]``, at radius ε along ``at``."""

    def move(latent: Tensor) -> Tensor:
        if at is None:
            return latent
        return moved(latent.detach(), at, batch.settings.radius, batch.where)

    with listening(batch.parts, batch.settings.layer, move) as call:
        loss = batch.loss()
    if not loss.requires_grad:
        raise ValueError("the trainer's loss has no gradient; train with gradients on")
    (gradient,) = torch.autograd.grad(loss, call.latents, allow_unused=True)
    latent = call.latents[0]
    if gradient is None:
        raise ValueError(
            f"the trainer's loss does not reach layer={batch.settings.layer}'s input; reentrant "
            "checkpointing cuts it off: gradient_checkpointing_kwargs={'use_reentrant': False}"
        )
    if not bool(torch.isfinite(gradient).all()):
        raise ValueError("the gradient of the trainer's loss holds NaN or infinite values")
    return directions(gradient.reshape(latent.shape), batch.where, batch.ranks)


def _random(batch: AttackedBatch) -> Tensor:
    ids, width = batch.arguments["input_ids"], batch.parts.width(batch.settings.layer)
    like = torch.empty(*ids.shape, width, device=ids.device)
    return random_directions(like, batch.where, batch.generator, batch.ranks)


def _of_rows(batch: AttackedBatch, v: Tensor) -> Tensor:
    return v[batch.rows.to(v.device)]


def jacobian_norm(batch: AttackedBatch, v: Tensor, *, detach: bool = False) -> PenaltySum:
    """‖J v‖²_F ‖e‖² / T by a finite difference; ``detach`` detaches the clean pass."""
    settings = batch.settings
    measure = _outputs.euclidean if settings.metric == "euclidean" else _outputs.fisher
    found = _change(batch, _of_rows(batch, v), settings.step, measure, detach=detach)
    return replace(found, total=found.total / settings.step**2)


def _divergence(batch: AttackedBatch, v: Tensor) -> PenaltySum:
    return _change(batch, v, batch.settings.radius, _outputs.symmetric_kl)


def _change(
    batch: AttackedBatch, v: Tensor, radius: float, measure: _outputs.Pair, *, detach: bool = False
) -> PenaltySum:
    """Change of the answers from the clean point to a point at the radius, both with gradients.

    The two passes draw the same dropout masks. One pass over both points would draw two masks, and
    their difference divided by the step would swamp the derivative.
    """
    arguments, where = batch.penalised()
    active = norms(v, where) > 0.5
    with same_noise(where.mask.device) as again:
        latent, clean = _decode(batch, arguments)
        if detach:
            latent, clean = latent.detach(), clean.detach()
        again()
        _, hidden = _decode(batch, arguments, moved(latent, v, radius, where))
    change = _between(batch, where, clean, hidden, measure)
    return PenaltySum(*sum_over_sequences(change, where, active), active.sum(), where.units)


def _decode(
    batch: AttackedBatch, arguments: Mapping[str, Any], point: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    with float32(batch.where.mask.device):
        return decode(batch.parts, arguments, batch.settings.layer, point)


def _between(
    batch: AttackedBatch, where: Attacked, clean: Tensor, hidden: Tensor, measure: _outputs.Pair
) -> Tensor:
    """Change between two last hidden states ``[rows, tokens, d]``: ``[scored]``."""
    settings, pair = batch.settings, (clean[where.scored], hidden[where.scored])
    if settings.metric == "hidden" and measure is not _outputs.symmetric_kl:
        return _outputs.hidden_change(*pair, settings.sketch, settings.seed)
    if batch.parts.scores:
        measure = _outputs.squared
    with float32(where.mask.device):
        return _outputs.by_chunks(measure, batch.parts.head, *pair, settings.chunk)


@contextmanager
def same_noise(device: torch.device) -> Iterator[Callable[[], None]]:
    """Yield a function that restores the random state; afterwards the host's state is unchanged."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        state = torch.get_rng_state()
        on_device = torch.cuda.get_rng_state(device) if devices else None

        def again() -> None:
            torch.set_rng_state(state)
            if on_device is not None:
                torch.cuda.set_rng_state(on_device, device)

        yield again


PENALTIES: Mapping[str, Callable[[AttackedBatch], PenaltySum]] = {
    "aajr": aajr,
    "random_direction": random_direction,
    "r3f": r3f,
    "smart": smart,
    "adversarial": adversarial,
}
