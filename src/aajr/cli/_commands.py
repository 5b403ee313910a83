"""The table of commands, read by ``aajr --help`` without loading any of them."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

COMMANDS = {
    "attack": "Attack your own agent with every attack of a suite; report the lowest return.",
    "attack-lm": "Attack a language model through what another party writes; report how often it "
    "obeys.",
    "train": "Train one policy; the same command again continues a stopped training.",
    "compare": "Compare two reports of attacked agents: paired differences and a verdict for each "
    "attack.",
    "evaluate": "Attack hiders with every attack of a suite at every ε; report the lowest success.",
    "crossplay": "Play every team of hiders against every team of seekers and compare the methods.",
    "audit": "Bound and attack a hide-and-seek policy on states of its episodes; write JSON and a "
    "page.",
    "audit-lm": "Measure how strongly a language model's answers depend on each role and "
    "controlled span.",
    "reproduce": "Train, attack and compare; print the table and write the report.",
    "report": "Write report.html, one file that works offline, and the plots as PNG and SVG.",
    "watch": "Play one episode in the terminal, or write it as a GIF.",
    "study": "Run one of the studies, print its tables and write results.json, table.md and plots.",
}
"""First line of every command's docstring, by its name."""

FORMER = {
    "theory": "theory",
    "stability": "stability",
    "yardstick": "mujoco",
    "language": "language",
    "language-cost": "language-cost",
}
"""Former commands that are studies now; the command in some older results.json names them."""


def load_command(name: str) -> Callable[..., Any]:
    """The function of a command; the command's file and function have its name."""
    plain = name.replace("-", "_")
    return getattr(import_module(f"aajr.cli.{plain}"), plain)
