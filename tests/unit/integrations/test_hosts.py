"""A host outside the tested range is named."""

import warnings
from importlib.metadata import version

import pytest

from aajr.integrations.hosts import warn_untested as check_range


@pytest.mark.parametrize(("lower", "below"), [("1.0", "2.0"), ("2.9.1", "2.10"), ("2.10", "3")])
def test_range(monkeypatch, lower, below):
    monkeypatch.setattr("aajr.integrations.hosts.version", lambda _: "2.9.1+cpu")
    inside = lower == "2.9.1"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_range("torch", lower, below, extra="rl")
    assert len(caught) == (0 if inside else 1)
    if not inside:
        text = str(caught[0].message)
        assert "torch 2.9.1+cpu" in text
        assert f">={lower},<{below}" in text


def test_bounds_are_half_open(monkeypatch):
    monkeypatch.setattr("aajr.integrations.hosts.version", lambda _: "3.0.0")
    with pytest.warns(UserWarning, match="outside the tested range"):
        check_range("torch", "2", "3", extra="rl")


@pytest.mark.parametrize("installed", ["3.0.0rc1", "3.0.dev0", "2.0rc1"])
def test_pre_releases_of_a_bound_are_outside(monkeypatch, installed):
    monkeypatch.setattr("aajr.integrations.hosts.version", lambda _: installed)
    with pytest.warns(UserWarning, match="outside the tested range"):
        check_range("torch", "2", "3", extra="rl")


def test_installed_version_is_read():
    check_range("torch", version("torch").partition("+")[0], "1000", extra="rl")


def test_missing_host():
    with pytest.raises(ImportError, match=r"pip install 'aajr\[sb3\]'"):
        check_range("no-such-distribution", "1", "2", extra="sb3")
