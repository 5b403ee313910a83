"""The overview that ``aajr --help`` prints, and the hint for an unknown command."""

from __future__ import annotations

import difflib
import shutil
import textwrap

from aajr.cli._commands import COMMANDS, FORMER

_HEAD = """usage: aajr [-h] [--version] COMMAND ...

Adversarially-aligned Jacobian regularisation: train, attack, compare.
"""
_EXAMPLES = """
examples:
  aajr attack agent.zip --env Hopper-v5 --eps 0.075
  aajr reproduce --preset smoke
  aajr train --output runs/league --config.learners hider seeker
  aajr audit runs/league/checkpoint.safetensors

options:
  -h, --help     show this help message and exit
  --version      show the version and exit

aajr COMMAND --help shows the options and examples of a command."""


def overview() -> str:
    """The text of ``aajr --help``: all commands with their summaries."""
    width = min(100, shutil.get_terminal_size().columns)
    indent = 4 + max(map(len, COMMANDS))
    lines = [
        textwrap.fill(
            summary, width, initial_indent=f"  {name}".ljust(indent), subsequent_indent=" " * indent
        )
        for name, summary in COMMANDS.items()
    ]
    return "\n".join([_HEAD, "commands:", *lines, _EXAMPLES])


def unknown(word: str) -> str:
    """The error line for an unknown command, with the nearest known one."""
    near = difflib.get_close_matches(word, COMMANDS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(COMMANDS)}"
    if word in FORMER:
        hint = f"use `aajr study {FORMER[word]}`"
    return f"unknown command {word!r}; {hint}"
