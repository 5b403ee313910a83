"""Language models by their names: a directory, a hub's name, a GGUF file or a function."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch

from aajr.arena.environments.named import resolve

Dtype = Literal["float32", "bfloat16", "float16"]


def load_model(name: str, dtype: Dtype = "float32", device: str = "") -> tuple[Any, Any]:
    """Load a causal language model and its tokenizer; weights are read as safetensors or GGUF.

    Args:
        name: a directory or name that transformers loads, adapters included; a ``.gguf`` file; or
            ``package.module:function``, which returns the model and its tokenizer.
        dtype: precision of the weights; a function chooses its own.
        device: where the model goes; by default a GPU if there is one.

    Returns:
        The model in evaluation mode, and the tokenizer.

    Raises:
        ImportError: transformers is not installed.
        ValueError: there is no such model, or the function returns something else.
    """
    if ":" in name and not Path(name).exists():
        model, tokenizer = _made(name)
    else:
        model, tokenizer = _read(name, dtype)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return model.eval().to(device), tokenizer


def _made(name: str) -> tuple[Any, Any]:
    found = resolve(name)()
    if not (isinstance(found, tuple) and len(found) == 2 and hasattr(found[0], "eval")):
        raise ValueError(f"{name} returned a {type(found).__name__}; return model and tokenizer")
    return found


def _read(name: str, dtype: Dtype) -> tuple[Any, Any]:
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise ImportError(
            "language models need transformers: pip install 'aajr[language]'"
        ) from error
    path, precision = Path(name), getattr(torch, dtype)
    quantised = path.suffix == ".gguf"
    place = {"gguf_file": path.name} if quantised else {"use_safetensors": True}
    source = str(path.parent) if quantised else name
    try:
        model = AutoModelForCausalLM.from_pretrained(source, **place, dtype=precision)
        tokenizer = AutoTokenizer.from_pretrained(source, **(place if quantised else {}))
    except OSError as error:
        raise ValueError(
            f"model {name!r} was not found as safetensors ({error}); give a directory, a name on "
            "the hub, a .gguf file, or package.module:function"
        ) from error
    if quantised:
        del model.config.quantization_config  # the weights are float32; trainers refuse others
    return model, tokenizer
