"""Types of the fields of records, and reading of records from JSON files with plain errors."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import from_json


def _json_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _json_value(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(map(_json_value, value))
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise ValueError(f"{value!r} is not allowed; give text, finite numbers, lists or mappings")


Text = Annotated[str, Field(strict=True, pattern=r"\S")]  # not empty
Real = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Amount = Annotated[Real, Field(ge=0)]
Share = Annotated[Amount, Field(le=1)]
Count = Annotated[int, Field(strict=True, ge=1)]

Facts = Annotated[Mapping[str, Any], AfterValidator(_json_value)]
"""JSON values by name. Lists become tuples, so that reading returns exactly what was written."""

CLOSED = ConfigDict(extra="forbid")
"""Configuration of every record: an unknown field is an error."""

_Record = TypeVar("_Record")


def read_record(
    record: type[_Record], path: Path, remedy: str, ignored: Collection[str] = ()
) -> _Record:
    """Read a record from a JSON file.

    Args:
        record: class of the record.
        path: the file.
        remedy: end of the error message, which says what to do about an unreadable file.
        ignored: fields of the file that are computed from the others.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is truncated, of another version or holds a value out of range;
            the message names the file, the field, its value and the remedy.
    """
    try:
        facts = from_json(path.read_bytes())
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist; {remedy}") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not whole JSON ({error}); {remedy}") from None
    if isinstance(facts, dict):
        facts = {name: value for name, value in facts.items() if name not in ignored}
        if hasattr(record, "schema_version"):
            facts.setdefault("schema_version", None)
    try:
        return TypeAdapter(record).validate_python(facts)
    except ValidationError as error:
        raise ValueError(f"{path}: {first_fault(error)}; {remedy}") from None


def first_fault(error: ValidationError) -> str:
    """Path, value and error of the first wrong field."""
    fault = error.errors(include_url=False)[0]
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault["loc"]]
    place = "".join(parts).lstrip(".") or "the top level"
    spoken = fault["type"] in ("missing", "value_error")  # the message has the value already
    value = "" if spoken else f"={reprlib.repr(fault['input'])}"
    return f"{place}{value}: {fault['msg'].removeprefix('Value error, ')}"
