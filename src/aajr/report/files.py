"""Files that appear whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON; the file appears whole or not at all."""
    draft = path.with_name(path.name + ".tmp")
    draft.write_text(json.dumps(value, indent=1, allow_nan=False))
    draft.replace(path)
