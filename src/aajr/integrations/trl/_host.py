"""Checks of a trainer and its model, made when the trainer is built."""

from __future__ import annotations

import functools
from typing import Any

import torch
from accelerate.utils import DynamoBackend, is_compiled_module
from torch import Tensor, nn

from aajr._inspection import inspect
from aajr._modes import evaluating
from aajr.integrations.trl._parts import Parts, decode, float32
from aajr.integrations.trl._settings import DIFFERENCES, Attacker, Robustness
from aajr.language.roles import Template, read_template

IMAGES = ("image", "images")


def check_host(trainer: Any, parts: Parts, settings: Robustness) -> None:
    """Refuse trainers and models that would fail in training or get a wrong penalty.

    Raises:
        ValueError: a compiled model, Liger's kernels, reentrant checkpointing, images, a layer that
            does not exist, roles that the chat template does not distinguish, a step or radius
            below the resolution of the model's arithmetic.
    """
    _check_passes(trainer)
    _check_images(trainer)
    if settings.layer >= len(parts.layers):
        raise ValueError(
            f"layer={settings.layer} but the model has layers 0 to {len(parts.layers) - 1}"
        )
    generates = hasattr(trainer, "reward_funcs")
    if isinstance(settings.attacker, tuple) or (settings.attacker == "tools" and not generates):
        chat_template(trainer, settings.attacker)
    _check_resolution(parts, settings)


def chat_template(trainer: Any, attacker: Attacker) -> Template:
    """The marks of the chat template that the trainer uses for its data.

    Raises:
        ValueError: no template, or one that does not distinguish the attacker's roles.
    """
    roles = attacker if isinstance(attacker, tuple) else ("tool",)
    roles = ("user",) if attacker == "prompt" else roles
    whole = trainer.processing_class
    own = getattr(trainer, "chat_template", None) or getattr(whole, "chat_template", None)
    template = own if isinstance(own, str) else None
    return _read(getattr(whole, "tokenizer", whole), ("assistant", *roles), template)


_read = functools.lru_cache(maxsize=8)(read_template)


def _check_passes(trainer: Any) -> None:
    args = trainer.args
    if args.use_liger_kernel:
        raise ValueError("use_liger_kernel=True hides the answers' logits; set it to False")
    backend = trainer.accelerator.state.dynamo_plugin.backend
    if args.torch_compile or is_compiled_module(trainer.model) or backend != DynamoBackend.NO:
        raise ValueError(
            "torch_compile=True (or a compiled model) fixes the passes, in which a penalty moves "
            "the embeddings: set torch_compile=False and give the model itself"
        )
    if _is_reentrant(args, trainer.model):
        raise ValueError(
            "use_reentrant=True cuts the loss off from the embeddings; set "
            "activation_checkpointing_kwargs={'use_reentrant': False}"
        )


def _is_reentrant(args: Any, model: nn.Module) -> bool:
    """Whether checkpointing is reentrant, which is PyTorch's default."""
    if args.activation_checkpointing:
        placed = ("every_n_layers", "offload", "selective")
        given = args.activation_checkpointing_kwargs or {}
        own = {name: value for name, value in given.items() if name not in placed}
        return bool(own) and own.get("use_reentrant") is not False
    on = (m for m in model.modules() if getattr(m, "gradient_checkpointing", False))
    functions = (getattr(m, "_gradient_checkpointing_func", None) for m in on)
    return any(getattr(f, "keywords", {}).get("use_reentrant") is not False for f in functions)


def _check_images(trainer: Any) -> None:
    columns = getattr(trainer.train_dataset, "column_names", None) or ()
    found = [name for name in IMAGES if name in columns]
    if found or getattr(trainer, "_is_vision_dataset", False):
        raise ValueError(
            f"the data hold images ({', '.join(found) or 'a vision dataset'}); only text can be "
            "penalised: remove the column, or train without robustness"
        )


def _check_resolution(parts: Parts, settings: Robustness) -> None:
    name = "step" if settings.method in DIFFERENCES else "radius"
    size, dtype = getattr(settings, name), precision(parts)
    unit = torch.finfo(dtype).eps
    if size < unit:
        raise ValueError(
            f"{name}={size} is below the resolution of the model, which computes in {dtype}, so "
            "the penalty would be rounding: load weights in float32 (mixed precision by bf16=True "
            "is fine); with a quantised model, whose adapters TRL keeps in bfloat16, use "
            f"method='smart' or 'r3f', or {name}={4 * unit:.2g}, which is less accurate"
        )


def precision(parts: Parts) -> torch.dtype:
    """The coarsest dtype in which the model computes the penalty's passes, found by one pass.

    A quantised or wrapped layer may compute in another precision than that of its weights, inputs
    and outputs. If weights are not loaded here (sharded, or on the meta device), the answer is the
    coarsest dtype of the weights.
    """
    weights = [p for p in parts.decoder.parameters() if p.is_floating_point()]
    if any(p.is_meta or not p.numel() for p in parts.decoder.parameters()):
        return max((p.dtype for p in weights), key=lambda dtype: torch.finfo(dtype).eps)
    ids = torch.zeros(1, 2, dtype=torch.long, device=weights[0].device)
    call = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    def answers(latent: Tensor) -> Tensor:
        return parts.head(decode(parts, call, 0, latent)[1])

    with evaluating(parts.top), float32(ids.device), torch.no_grad():
        return inspect(answers, parts.embedding(ids))
