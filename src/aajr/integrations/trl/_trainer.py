"""A trainer whose loss holds a penalty."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from aajr._seeds import derive
from aajr.integrations.trl._attacked import all_answered, attacked
from aajr.integrations.trl._batches import Choice, Inputs, choose
from aajr.integrations.trl._host import chat_template, check_host
from aajr.integrations.trl._parts import ModelCalled, Parts, listening, take_apart
from aajr.integrations.trl._penalties import PENALTIES, AttackedBatch, HostLoss, PenaltySum
from aajr.integrations.trl._ranks import Ranks, gathering_unequal_rows
from aajr.integrations.trl._settings import Robustness
from aajr.integrations.trl._sharded import check_spread, free_after_backward, gather_outside_layers
from aajr.language.roles import Template

ROWS_OF_SAMPLE = {
    "SFTTrainer": 1,
    "DPOTrainer": 2,
    "GRPOTrainer": 1,
    "RLOOTrainer": 1,
    "KTOTrainer": 1,
    "RewardTrainer": 2,
}
"""Supported trainers, and the number of rows of the batch for one sample."""


class RobustTrainer:
    """Mixin in front of a TRL trainer; it overrides ``compute_loss`` alone.

    Attributes:
        robustness: the settings.
    """

    robustness: Robustness
    # set by the host trainer:
    accelerator: Any
    state: Any
    current_gradient_accumulation_steps: int
    loss_is_scaled_for_ga: bool | None
    model_accepts_loss_kwargs: bool
    compute_loss_func: Any
    _metrics: Any

    def __init__(self, *args: Any, robustness: Robustness, **kwargs: Any) -> None:
        """Build the host and check that it and its model can be penalised."""
        self._rows_of_sample = _rows_of_sample(type(self))
        super().__init__(*args, **kwargs)
        self.robustness = robustness
        self._penalty_calls = (-1, 0)
        if robustness.weight > 0:
            check_spread(self, robustness)
            check_host(self, _parts(self), robustness)

    def compute_loss(
        self,
        model: Any,
        inputs: Inputs,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The host's loss, and in training, at every ``interval``-th step, the penalty."""
        host: Any = super()
        penalty = None
        if model.training and torch.is_grad_enabled() and self._due():
            # before the host's loss, so that the backward pass frees this graph first
            penalty = self._penalty(host, model, inputs)
        result = host.compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if penalty is None:
            return result
        if self._scaled_by_host(num_items_in_batch):
            penalty = penalty / self.current_gradient_accumulation_steps
        if return_outputs:
            return result[0] + penalty, result[1]
        return result + penalty

    def _due(self) -> bool:
        settings, state = self.robustness, self.state
        step = state.global_step
        interval = settings.interval_at(state.max_steps)
        return step % interval == 0 and settings.weight_at(step, state.max_steps) > 0

    def _penalty(self, host: Any, model: Any, inputs: Inputs) -> Tensor | None:
        """λ times the penalty of the drawn sequences, or None; logs the metrics.

        A process that has nothing to penalise runs the same passes with weight 0, because the
        other processes wait for it.
        """
        ranks, generator = Ranks(self.accelerator), self._generator()
        choice, idle = self._choice(inputs, generator, ranks)
        if choice is None:
            return None
        # the distributed wrapper would expect one backward pass for each of its forward passes
        inner = self.accelerator.unwrap_model(model)

        def loss() -> Tensor:
            with _quiet(self):
                return host.compute_loss(inner, dict(choice.inputs))

        with torch.enable_grad():
            batch = self._attacked_batch(choice, idle, loss, generator, ranks)
            if batch is None:
                return None
            gather_outside_layers(batch.parts)
            found = PENALTIES[self.robustness.method](batch)
        return free_after_backward(batch.parts, self._weighted(found, batch))

    def _choice(
        self, inputs: Inputs, generator: torch.Generator, ranks: Ranks
    ) -> tuple[Choice | None, bool]:
        """The sequences to penalise, and whether this process is idle."""
        rows, fraction = self._rows_of_sample, self.robustness.fraction
        choice = choose(inputs, rows, fraction, generator)
        if choice is not None or ranks.count == 1:
            return choice, False
        anyone = {**inputs, "advantages": torch.ones_like(inputs["advantages"])}
        return choose(anyone, rows, fraction, generator), True

    def _attacked_batch(
        self,
        choice: Choice,
        idle: bool,
        loss: HostLoss,
        generator: torch.Generator,
        ranks: Ranks,
    ) -> AttackedBatch | None:
        """The batch with its attacked tokens; None if no process has any."""
        parts, settings = _parts(self), self.robustness
        arguments = _arguments_of(parts, loss, choice.inputs)
        template = self._template(arguments, choice.inputs)
        where = attacked(arguments, settings.attacker, choice.inputs, parts.padding, template)
        if idle:
            where = where.unattacked()
        chosen, moved = ranks.total([0.0 if idle else 1.0, where.mask.any()]).tolist()
        if moved == 0:
            if chosen > 0:
                warnings.warn(
                    "the attacker's mask selects no token of this batch, so there is no penalty; "
                    "train on prompts with completions, or set attacker to 'all' or a function",
                    stacklevel=4,
                )
            return None
        ranks = ranks.with_shared_texts(where.text)
        batch = AttackedBatch(
            parts, settings, arguments, where, choice.rows, loss, generator, ranks
        )
        return replace(batch, by_tokens="labels" in choice.inputs, idle=idle)

    def _template(self, arguments: Inputs, inputs: Inputs) -> Template | None:
        """The chat template, if its roles are needed to find the attacked tokens."""
        attacker = self.robustness.attacker
        by_role = isinstance(attacker, tuple)
        if by_role or (attacker == "tools" and inputs.get("tool_mask") is None):
            return chat_template(self, attacker)
        if attacker != "prompt" or not all_answered(arguments):
            return None
        try:
            return chat_template(self, attacker)
        except ValueError:  # neither a chat nor a prompt; a warning follows
            return None

    def _weighted(self, found: PenaltySum, batch: AttackedBatch) -> Tensor:
        """λ times the mean over all processes, as the host averages gradients; logs the metrics."""
        settings, state = self.robustness, self.state
        where, busy = batch.where, not batch.idle
        units, tokens = busy * found.units, busy * where.tokens
        sums = (found.total, found.count, found.active, units, where.mask.sum(), tokens)
        total, count, active, all_units, moved, all_tokens = batch.ranks.total(sums).tolist()
        weight = settings.weight_at(state.global_step, state.max_steps)
        self._note(
            {
                "penalty": total / max(count, 1.0),
                "weight": weight,
                "active_sequences": active / all_units,
                "attacked_tokens": moved / all_tokens,
            }
        )
        interval = settings.interval_at(state.max_steps)
        return weight * interval * batch.ranks.count / max(count, 1.0) * found.total

    def _generator(self) -> torch.Generator:
        """A generator for this call; a resumed training gets the same one."""
        step = self.state.global_step
        before, calls = self._penalty_calls
        self._penalty_calls = (step, calls + 1 if step == before else 0)
        rank = self.accelerator.process_index
        return torch.Generator().manual_seed(
            derive(self.robustness.seed, *self._penalty_calls, rank)
        )

    def _note(self, values: dict[str, float]) -> None:
        metrics = self._metrics["train"]
        for name, value in values.items():
            metrics[f"aajr/{name}"].append(value)

    def _scaled_by_host(self, num_items_in_batch: Any) -> bool:
        """Whether the host divides by the accumulation steps before it returns its loss."""
        declared = self.loss_is_scaled_for_ga
        if declared is not None:
            return bool(declared)
        by_items = num_items_in_batch is not None and bool(self.model_accepts_loss_kwargs)
        return by_items or self.compute_loss_func is not None


def robustify(trainer: type) -> type:
    """A trainer class with one more argument, ``robustness``.

    Args:
        trainer: TRL's SFT-, DPO-, GRPO-, RLOO-, KTO- or RewardTrainer, or a subclass.

    Returns:
        A subclass that overrides ``compute_loss`` alone. With weight 0 it trains as the host does,
        bit for bit.

    Raises:
        TypeError: another trainer.

    Example:
        >>> from trl import SFTTrainer
        >>> robustify(SFTTrainer).__name__
        'RobustSFTTrainer'
    """
    _rows_of_sample(trainer)
    return type(f"Robust{trainer.__name__}", (RobustTrainer, trainer), {})


def _rows_of_sample(trainer: type) -> int:
    for base in trainer.__mro__:
        if base.__name__ in ROWS_OF_SAMPLE and base.__module__.startswith("trl."):
            return ROWS_OF_SAMPLE[base.__name__]
    raise TypeError(
        f"{trainer.__name__} is not supported; robustify takes {', '.join(ROWS_OF_SAMPLE)} of TRL "
        "and their subclasses"
    )


def _parts(trainer: Any) -> Parts:
    model = trainer.accelerator.unwrap_model(trainer.model)
    return take_apart(model, getattr(trainer, "temperature", 1.0))


def _arguments_of(parts: Parts, loss: Any, inputs: Inputs) -> dict[str, Any]:
    """The arguments with which the trainer's loss calls the model, with the labels.

    Label smoothing and ``compute_loss_func`` do not pass labels to the model, so they are taken
    from the batch.
    """
    with listening(parts, 0, stop=True) as call:
        try:
            loss()
        except ModelCalled:
            arguments = call.arguments[0]
        else:
            raise ValueError("the trainer's loss does not call its model with gradients")
    if not parts.scores and arguments.get("labels") is None:
        arguments["labels"] = _labels(inputs, arguments)
    return arguments


def _labels(inputs: Inputs, arguments: dict[str, Any]) -> Tensor:
    labels, ids = inputs.get("labels"), arguments.get("input_ids")
    if labels is None or ids is None or labels.shape != ids.shape:
        raise ValueError(
            "neither the model's call nor the batch holds labels [rows, tokens], so the answer's "
            "tokens are unknown; pass labels, -100 where a token is no answer"
        )
    return labels


@contextmanager
def _quiet(trainer: Any) -> Iterator[None]:
    """Restore the trainer's metrics and counters after an additional evaluation of the loss."""
    names = ("_total_train_tokens", "_entropy_window_stats", "entropy_coef", "_last_world_entropy")
    kept = {name: getattr(trainer, name) for name in names if hasattr(trainer, name)}
    metrics = copy.deepcopy(trainer._metrics)
    try:
        with gathering_unequal_rows(trainer.accelerator):
            yield
    finally:
        trainer._metrics = metrics
        for name, value in kept.items():
            setattr(trainer, name, value)
