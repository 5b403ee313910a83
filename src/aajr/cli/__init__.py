"""The command line: one file per command, options from the library's own dataclasses.

Only the chosen command is loaded, and it imports torch only when it runs.
"""

from __future__ import annotations

import sys

from aajr import __version__
from aajr.cli._commands import COMMANDS, load_command
from aajr.cli._help import overview, unknown


def main() -> None:
    """Run a command, see ``aajr --help``; a user error prints one line and exits with status 2."""
    match sys.argv[1:]:
        case ["-h" | "--help", *_]:
            print(overview())
        case ["--version", *_]:
            print(f"aajr {__version__}")
        case [name, *rest] if name in COMMANDS or name.startswith("--tyro-"):
            _guarded(name, rest)
        case [word, *_]:
            _fail(unknown(word))
        case []:
            _fail("no command is given; see aajr --help")


def _guarded(name: str, arguments: list[str]) -> None:
    try:
        _run(name, arguments)
    except (ValueError, RuntimeError, ImportError, OSError) as error:
        _fail(str(error))
    except KeyboardInterrupt:
        _fail("stopped; run the same command again to continue at the last checkpoint", status=130)


def _run(name: str, arguments: list[str]) -> None:
    try:
        import tyro
    except ImportError:
        sys.exit("aajr's commands need the extra 'rl': pip install 'aajr[rl]'")
    if name in COMMANDS:
        tyro.cli(load_command(name), prog=f"aajr {name}", args=arguments)
    else:  # a shell completion script needs all commands
        commands = {known: load_command(known) for known in COMMANDS}
        tyro.extras.subcommand_cli_from_dict(commands, prog="aajr")


def _fail(message: str, status: int = 2) -> None:
    print(f"aajr: {message}", file=sys.stderr)
    sys.exit(status)
