"""Atomic writing of files: a file appears complete or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON; the file appears complete or not at all."""
    write_whole(path, json.dumps(value, indent=1, allow_nan=False))


def write_whole(path: Path, text: str) -> None:
    """Write a text; the file appears complete or not at all."""
    draft = path.with_name(path.name + ".tmp")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
