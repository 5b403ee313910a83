"""The page of results and the README's table say what the files under results/ say."""

import runpy
from pathlib import Path

import pytest

COMMAND = runpy.run_path(str(Path(__file__).parents[2] / "docs/results.py"))


def test_the_pages_are_what_the_command_writes():
    for path, text in COMMAND["pages"]().items():
        assert path.read_text(encoding="utf-8") == text, f"run `make results`: {path.name} differs"


def test_a_section_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="no section 'Nothing'"):
        COMMAND["section"]("theory/table.md", "Nothing")


def test_the_readme_is_short():
    readme = Path(__file__).parents[2] / "README.md"
    assert len(readme.read_text(encoding="utf-8").splitlines()) <= 100
