"""The embeddings, layers and head of the host's model, and passes through them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from aajr.integrations.trl._outputs import resolved

Arguments = dict[str, Any]

PASSED = ("input_ids", "attention_mask", "position_ids", "token_type_ids", "mm_token_type_ids")
"""Arguments of a model's call that its decoder takes."""


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of a causal language model or a reward model.

    Attributes:
        top: the model that the trainer calls, with adapters.
        embedding: token ids to embeddings.
        decoder: the model without its head.
        layers: layers of the decoder.
        head: hidden states ``[..., d]`` to logits ``[..., vocabulary]``, or to scores.
        scores: whether the model is a reward model.
        padding: id of the padding token.
    """

    top: nn.Module
    embedding: nn.Module
    decoder: Any
    layers: nn.ModuleList
    head: Callable[[Tensor], Tensor]
    scores: bool
    padding: int | None

    def width(self, layer: int) -> int:
        """Size d of the vector that moves: a token's embedding, or its input to the layer."""
        hidden = int(self.decoder.config.get_text_config().hidden_size)
        return getattr(self.embedding, "embedding_dim", hidden) if layer == 0 else hidden


def take_apart(model: Any, temperature: float = 1.0) -> Parts:
    """Find the parts of an unwrapped model.

    Raises:
        ValueError: no input embeddings, an encoder-decoder, prompt learning, no layers, no head.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if not hasattr(base, "get_input_embeddings") or base.get_input_embeddings() is None:
        raise ValueError(
            f"{type(base).__name__} has no get_input_embeddings(), so its input cannot be moved; "
            "use a transformers model"
        )
    if any(getattr(c, "is_prompt_learning", False) for c in _adapters(model)):
        raise ValueError("prompt learning moves the positions of the tokens; use LoRA")
    if getattr(base.config, "is_encoder_decoder", False):
        raise ValueError(f"{type(base).__name__} is an encoder-decoder; use a decoder-only model")
    decoder = _decoder(base)
    layers = _layers(decoder)
    output, score = base.get_output_embeddings(), getattr(base, "score", None)
    if output is None and score is None:
        raise ValueError(f"{type(base).__name__} has neither a language head nor a score")
    head: Any = score if output is None else _logits(output, base.config, temperature)
    padding = base.config.get_text_config().pad_token_id
    return Parts(model, base.get_input_embeddings(), decoder, layers, head, output is None, padding)


def _decoder(base: Any) -> Any:
    """The model without its head; of a multimodal model, the part that embeds text and images."""
    if base.base_model is not base:
        return base.base_model
    model = base.get_decoder()  # Llama 4 holds a whole language model, head included
    return getattr(model, "model", model)


def _layers(decoder: Any) -> nn.ModuleList:
    """The text layers; in multimodal models and OPT they are one module deeper."""
    text = decoder.get_decoder() if hasattr(decoder, "get_decoder") else decoder
    for name in ("layers", "h"):
        if isinstance(getattr(text, name, None), nn.ModuleList):
            return getattr(text, name)
    raise ValueError(f"{type(decoder).__name__} has no list of layers; use another model")


def _adapters(model: Any) -> list[Any]:
    found = getattr(model, "peft_config", {})
    return list(found.values()) if isinstance(found, dict) else []


def _logits(output: nn.Module, config: Any, temperature: float) -> Callable[[Tensor], Tensor]:
    """Function from hidden states to logits: head, scale, soft cap, temperature, in this order."""
    text = config.get_text_config()
    cap = getattr(text, "final_logit_softcapping", None)
    scale = _logit_scale(text)

    def logits(hidden: Tensor) -> Tensor:
        value = resolved(output(hidden)) * scale
        if cap is not None:
            value = cap * torch.tanh(value / cap)
        return value / temperature

    return logits


def _logit_scale(config: Any) -> float:
    for name in ("logit_scale", "output_multiplier", "lm_head_multiplier"):
        if getattr(config, name, None) is not None:
            return getattr(config, name)
    divisor = getattr(config, "logits_scaling", None)
    if divisor is None:
        return 1.0
    return divisor if config.model_type == "hyperclovax" else 1 / divisor


@dataclass(eq=False)
class Call:
    """The calls of the model by the trainer's own loss.

    Attributes:
        arguments: keyword arguments of every call with gradients.
        latents: the moved embeddings or layer inputs of every such call, ``[rows, tokens, d]``.
    """

    arguments: list[Arguments] = field(default_factory=list)
    latents: list[Tensor] = field(default_factory=list)


class ModelCalled(Exception):  # noqa: N818
    """Stops the trainer's loss once the model was called."""


@contextmanager
def listening(
    parts: Parts,
    layer: int,
    move: Callable[[Tensor], Tensor] = lambda latent: latent,
    *,
    stop: bool = False,
) -> Iterator[Call]:
    """Record the calls with gradients, and move their latents.

    Passes without gradients (generation, reference models) are left alone.

    Args:
        parts: parts of the model.
        layer: index of the layer whose input is the latent; 0: the embeddings.
        move: function from the latent to the one that is used.
        stop: raise ModelCalled instead of running the model.
    """
    call = Call()

    def called(module: nn.Module, args: tuple[Any, ...], kwargs: Arguments) -> None:
        if torch.is_grad_enabled():
            call.arguments.append(dict(kwargs))
            if stop:
                raise ModelCalled

    def taken(latent: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return latent
        moved = move(latent)
        moved = moved if moved.requires_grad else moved.detach().requires_grad_()
        call.latents.append(moved)
        return moved.view_as(moved)  # not a leaf, because FLOP counters hook the modules' inputs

    handles = [
        parts.top.register_forward_pre_hook(called, with_kwargs=True),
        _at(parts, layer, taken),
    ]
    try:
        yield call
    finally:
        for handle in handles:
            handle.remove()


def _at(parts: Parts, layer: int, change: Callable[[Tensor], Tensor]) -> Any:
    """Hook that changes the embeddings, or the input of a layer."""
    if layer == 0:
        return parts.embedding.register_forward_hook(lambda _, __, output: change(output))
    if layer >= len(parts.layers):
        raise ValueError(f"layer={layer} but the model has layers 0 to {len(parts.layers) - 1}")

    def before(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (change(args[0]), *args[1:])

    return parts.layers[layer].register_forward_pre_hook(before)


def decode(
    parts: Parts, arguments: Mapping[str, Any], layer: int, latent: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """One pass of the decoder: the latent ``[rows, tokens, d]`` and the last hidden state.

    Args:
        parts: parts of the model.
        arguments: arguments of the model's call.
        layer: index of the layer whose input is the latent.
        latent: replaces the computed latent; the layers before it are then skipped.
    """
    seen: list[Tensor] = []

    def change(found: Tensor) -> Tensor:
        seen.append(found if latent is None else latent)
        return seen[-1]

    given = {name: arguments[name] for name in PASSED if arguments.get(name) is not None}
    handle = _at(parts, layer, change)
    try:
        with _skipping(parts.layers[: 0 if latent is None else layer]):
            hidden = parts.decoder(**given, use_cache=False).last_hidden_state
    finally:
        handle.remove()
    return seen[0], hidden


@contextmanager
def _skipping(layers: nn.ModuleList) -> Iterator[None]:
    """Replace the layers by the identity for a while; a hooked forward is restored."""
    own = [vars(layer).get("forward") for layer in layers]
    for layer in layers:
        layer.forward = lambda hidden_states, *args, **kwargs: hidden_states
    try:
        yield
    finally:
        for layer, forward in zip(layers, own, strict=True):
            if forward is None:
                del layer.forward
            else:
                layer.forward = forward


def float32(device: torch.device) -> torch.autocast:
    """Context without autocast, because bfloat16 outputs do not resolve the step."""
    return torch.autocast(device.type, enabled=False)
