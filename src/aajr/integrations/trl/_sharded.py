"""Models spread over several processes: checks, and gathering of FSDP2's parameters."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.autograd import Variable

from aajr.integrations.trl._parts import Parts
from aajr.integrations.trl._settings import DIFFERENCES, Robustness


def check_spread(trainer: Any, settings: Robustness) -> None:
    """Refuse spread models for which the penalty would hang or be wrong.

    Raises:
        ValueError: DataParallel; tensor, context or sequence parallelism; FSDP1; ZeRO-3;
            differences under FSDP or DeepSpeed in mixed precision. The message names a remedy.
    """
    if trainer.args.n_gpu > 1:
        raise ValueError(
            f"n_gpu={trainer.args.n_gpu} in one process copies the model, which cannot be taken "
            "apart then; start one process per GPU: accelerate launch or torchrun"
        )
    for name in ("tp", "cp", "sp"):
        size = getattr(trainer, f"get_{name}_size")()
        if size > 1:
            raise ValueError(f"{name}_size={size} splits rows or layers; use DDP, FSDP2 or ZeRO-2")
    precision, state = trainer.accelerator.mixed_precision, trainer.accelerator.state
    fsdp = getattr(state, "fsdp_plugin", None)
    deepspeed = getattr(state, "deepspeed_plugin", None)
    if fsdp is not None and fsdp.fsdp_version != 2:
        raise ValueError(
            f"fsdp_version={fsdp.fsdp_version} hides the layers in one flat parameter; use "
            "fsdp_config={'version': 2}"
        )
    if deepspeed is not None and deepspeed.zero_stage == 3:
        raise ValueError(
            "zero_stage=3 gathers the head for every chunk of answers, whose number differs "
            "between processes; use ZeRO-2 or FSDP2: fsdp=True, fsdp_config={'version': 2}"
        )
    if (fsdp or deepspeed) and precision != "no" and settings.method in DIFFERENCES:
        raise ValueError(
            f"FSDP and DeepSpeed cast every layer to {precision}, so method={settings.method!r} "
            "would be rounding: train in float32 (bf16=False, fp16=False), use DDP, which casts "
            "by autocast alone, or another method"
        )


def gather_outside_layers(parts: Parts) -> None:
    """Gather the parameters outside the layers, and keep them through backward passes.

    A penalty runs decoder and head separately; FSDP would free norm and head between their uses.
    """
    for module in _outside(parts):
        module.set_reshard_after_backward(False, recurse=False)
        module.unshard()


def free_after_backward(parts: Parts, penalty: Tensor) -> Tensor:
    """The penalty; its backward pass frees what :func:`gather_outside_layers` gathered."""
    outside = _outside(parts)
    if not outside:
        return penalty

    def release() -> None:
        for module in outside:
            module.set_reshard_after_backward(True, recurse=False)
            module.reshard()

    queue = Variable._execution_engine.queue_callback
    # in two steps: FSDP's own callback, which reduces the gradients, comes in between
    penalty.register_hook(lambda _: queue(lambda: queue(release)))  # type: ignore[no-untyped-call]
    return penalty


def _outside(parts: Parts) -> list[Any]:
    layers = {id(module) for layer in parts.layers for module in layer.modules()}
    return [
        module
        for module in parts.top.modules()
        if hasattr(module, "unshard") and id(module) not in layers
    ]
