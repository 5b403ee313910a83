"""The command line without a process of its own."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from unittest import mock

import pytest

from aajr.cli import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def aajr() -> Run:
    """The command: from its arguments to exit status, output and errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        output, errors, status = io.StringIO(), io.StringIO(), 0
        argv = mock.patch.object(sys, "argv", ["aajr", *arguments])
        with argv, redirect_stdout(output), redirect_stderr(errors):
            try:
                main()
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else int(end.code is not None)
                if isinstance(end.code, str):
                    print(end.code, file=sys.stderr)
        return status, output.getvalue(), errors.getvalue()

    return run
