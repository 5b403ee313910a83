"""The core imports and runs with torch and torch's own dependencies, whatever else is there."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

PROGRAM = Path(__file__).parents[1] / "torch_alone.py"
HIDING = '''
import runpy, sys

class Seeing:
    """A finder that does not find what is hidden."""

    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            return None
        return self.finder.find_spec(name, path, target)

program, *hidden = sys.argv[1:]
sys.meta_path[:] = [Seeing(finder) for finder in sys.meta_path]
sys.argv = [program]
runpy.run_path(program, run_name="__main__")
'''


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(package: str) -> set[str]:
    """A package and all it depends on, extras aside."""
    found, waiting = {package}, [package]
    while waiting:
        try:
            lines = requires(waiting.pop()) or ()
        except PackageNotFoundError:  # for another platform
            continue
        names = {normal(re.match(r"[\w.-]+", line)[0]) for line in lines if "extra ==" not in line}
        waiting += names - found
        found |= names
    return found


def test_the_core_runs_with_everything_but_torch_hidden():
    allowed = needed("torch") | {"aajr"}
    hidden = {
        module
        for module, owners in packages_distributions().items()
        if not {normal(owner) for owner in owners} & allowed
    }
    assert {"numpy", "cma", "rich", "tyro"} <= hidden
    assert not {"torch", "sympy", "typing_extensions"} & hidden
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", HIDING, str(PROGRAM), *sorted(hidden)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "works with torch alone" in done.stdout
