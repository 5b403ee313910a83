"""HTML pages from Jinja2 templates; a page is one file that needs no network."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from aajr.report.wording import MISSING


def render(template: str, **values: Any) -> Markup:
    """Fill a template; every value is escaped.

    Args:
        template: path inside the package, such as ``report/page.html``.
        values: what the template shows.

    Returns:
        HTML, which other templates insert without escaping.
    """
    return Markup(_environment().get_template(template).render(values))


def fact(value: Any) -> str:
    """A setting as text: lists with commas, mappings as ``name: value``.

    Example:
        >>> fact({"seeds": (0, 1), "resume": True, "limit": None})
        'seeds: 0, 1; resume: yes; limit: –'
    """
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {fact(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(fact, value))
    return str(value)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("aajr", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["fact"] = fact
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode("ascii")
    return environment
