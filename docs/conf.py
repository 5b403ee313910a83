"""Sphinx configuration."""

from aajr import __version__

project = "aajr"
author = "The aajr authors"
release = __version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.doctest",
]
myst_enable_extensions = ["dollarmath", "amsmath"]
html_theme = "furo"
html_static_path = ["_static"]
autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "exclude-members": "run, per_sample"}
napoleon_use_ivar = True
suppress_warnings = ["ref.python"]  # a bare Ball is torch's, though aajr.jax has one too
exclude_patterns = ["_build"]
doctest_test_doctest_blocks = ""  # those of the docstrings run under pytest
