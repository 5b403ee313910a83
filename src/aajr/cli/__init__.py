"""The command line: one file per command, options from the library's own dataclasses."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def main() -> None:
    """Run a command, see ``aajr --help``; user errors end with one line and status 2."""
    try:
        import tyro
    except ImportError:
        sys.exit("aajr's commands need the extra 'rl': pip install 'aajr[rl]'")
    from aajr.cli.audit import audit
    from aajr.cli.crossplay import crossplay
    from aajr.cli.evaluate import evaluate
    from aajr.cli.language import language
    from aajr.cli.language_cost import language_cost
    from aajr.cli.report import report
    from aajr.cli.reproduce import reproduce
    from aajr.cli.stability import stability
    from aajr.cli.theory import theory
    from aajr.cli.train import train
    from aajr.cli.watch import watch
    from aajr.cli.yardstick import yardstick

    commands: dict[str, Callable[..., Any]] = {
        "train": train,
        "evaluate": evaluate,
        "crossplay": crossplay,
        "audit": audit,
        "reproduce": reproduce,
        "report": report,
        "watch": watch,
        "stability": stability,
        "theory": theory,
        "yardstick": yardstick,
        "language": language,
        "language-cost": language_cost,
    }
    try:
        tyro.extras.subcommand_cli_from_dict(
            commands,
            prog="aajr",
            description="Adversarially-aligned Jacobian regularisation: train, attack, compare.",
        )
    except (ValueError, RuntimeError, ImportError) as error:
        print(f"aajr: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("aajr: stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        sys.exit(130)
