"""``aajr`` itself: its table of commands, its help, its exit status."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from aajr import __version__, cli
from aajr.cli._commands import COMMANDS, load_command

ALL_HELP = """
import io, sys
from contextlib import redirect_stdout
from aajr.cli import main

for arguments in (["--help"], ["--version"], *([name, "--help"] for name in sys.argv[1:])):
    sys.argv = ["aajr", *arguments]
    text = io.StringIO()
    try:
        with redirect_stdout(text):
            main()
    except SystemExit as end:
        assert not end.code, arguments
    if len(arguments) == 2:
        assert f"$ aajr {arguments[0]}" in text.getvalue(), f"{arguments[0]} shows no example"
    slow = {"torch", "numpy", "matplotlib", "torchrl", "vmas", "transformers", "jax"}
    assert not slow & set(sys.modules), f"{arguments} loads {slow & set(sys.modules)}"
    if len(arguments) == 1:
        assert not {"tyro", "rich"} & set(sys.modules)
"""


def test_no_help_loads_torch_and_every_one_shows_examples():
    program = [sys.executable, "-c", ALL_HELP, *COMMANDS]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_says_what_the_command_says(name):
    first = inspect.getdoc(load_command(name)).partition("\n\n")[0]
    assert COMMANDS[name] == " ".join(first.split())


def test_help_lists_every_command(aajr, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    status, output, _ = aajr("--help")
    assert status == 0
    assert max(map(len, output.splitlines())) <= 80
    flat = " ".join(output.split())
    for name, summary in COMMANDS.items():
        assert f"{name} {summary}" in flat


def test_version(aajr):
    assert aajr("--version") == (0, f"aajr {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "unknown command 'trian'; did you mean 'train'?"),
        (["yardstick"], "unknown command 'yardstick'; use `aajr study mujoco`"),
        (["zzz"], "unknown command 'zzz'; choose one of attack, attack-lm, train, "),
        (["--verbose", "train"], "unknown command '--verbose'; choose one of"),
        ([], "no command is given; see aajr --help"),
    ],
)
def test_what_is_no_command_ends_with_one_line(aajr, arguments, message):
    status, output, errors = aajr(*arguments)
    assert (status, output, errors.count("\n")) == (2, "", 1)
    assert errors.startswith(f"aajr: {message}")


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ValueError("eps=-1"), 2, "aajr: eps=-1\n"),
        (ImportError("it needs the extra 'llm'"), 2, "aajr: it needs the extra 'llm'\n"),
        (KeyboardInterrupt(), 130, "aajr: stopped; run the same command again"),
    ],
)
def test_a_command_that_fails_ends_with_one_line(aajr, monkeypatch, error, status, message):
    def fail(name: str) -> None:
        raise error

    monkeypatch.setattr(cli, "load_command", fail)
    found, _, errors = aajr("report", "here")
    assert found == status
    assert errors.startswith(message)


def test_without_the_extra_the_remedy_is_named(aajr, monkeypatch):
    monkeypatch.setitem(sys.modules, "tyro", None)
    status, _, errors = aajr("train", "--help")
    assert status == 1
    assert "pip install 'aajr[rl]'" in errors


def test_completion_knows_all_commands(aajr):
    status, output, _ = aajr("--tyro-print-completion", "bash")
    assert status == 0
    assert all(name in output for name in COMMANDS)
