"""Checkpoints: one safetensors file with JSON in its header. Loading never runs code."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

FORMAT_VERSION = 1
_PICKLE_OR_ZIP = (b"\x80", b"PK\x03\x04")


class CheckpointError(ValueError):
    """A checkpoint that cannot be trusted or read."""


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write tensors and JSON metadata; a run killed while saving keeps the old file.

    Args:
        path: file to write, usually ``*.safetensors``.
        tensors: named tensors.
        meta: JSON-serialisable metadata.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    header = json.dumps({"format_version": FORMAT_VERSION, **meta}, allow_nan=False)
    partial = path.with_name(path.name + ".tmp")
    contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    save_file(contiguous, partial, metadata={"aajr": header})
    os.replace(partial, path)


def load_checkpoint(
    path: Path, device: torch.device | str = "cpu"
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`save_checkpoint` wrote.

    Returns:
        Tensors by name, and the metadata.

    Raises:
        CheckpointError: a missing, truncated or foreign file, a pickle, another format version.
    """
    if not path.is_file():
        raise CheckpointError(f"checkpoint {path} does not exist; give the path of a checkpoint")
    with path.open("rb") as file:
        start = file.read(9)
    # a safetensors file may begin with a pickle's byte by chance; its ninth is always a brace
    if start.startswith(_PICKLE_OR_ZIP) and start[8:] != b"{":
        raise CheckpointError(
            f"checkpoint {path} is a pickle or a zip, which can run code when loaded; it is "
            "refused. Save it again as safetensors"
        )
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            header = (file.metadata() or {}).get("aajr")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"checkpoint {path} is truncated or not safetensors ({error}); restore it from a "
            "copy or start the run again"
        ) from error
    return tensors, _parse_header(path, header)


def _parse_header(path: Path, header: str | None) -> dict[str, Any]:
    if header is None:
        raise CheckpointError(
            f"checkpoint {path} has no aajr header; it was written by another program"
        )
    try:
        meta = json.loads(header)
    except json.JSONDecodeError as error:
        raise CheckpointError(f"checkpoint {path} has a damaged header ({error})") from error
    if not isinstance(meta, dict) or meta.get("format_version") != FORMAT_VERSION:
        found = meta.get("format_version") if isinstance(meta, dict) else None
        raise CheckpointError(
            f"checkpoint {path} has format version {found}, this aajr reads {FORMAT_VERSION}; "
            "use the aajr that wrote it"
        )
    return meta
