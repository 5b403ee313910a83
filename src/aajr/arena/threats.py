"""Threat models by name: what an adversary may touch."""

from __future__ import annotations

from typing import Literal

Threat = Literal["full", "others", "actions"]
