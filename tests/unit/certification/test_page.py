"""The files of an audit."""

from __future__ import annotations

import dataclasses
import json
from html.parser import HTMLParser

import pytest
import torch
from torch import nn

from aajr import Ball, MaskedGradientWarning
from aajr.certification import Audit, AuditBudget, audit, write_audit
from tests.unit.certification.networks import network

FAST = AuditBudget(steps=6, restarts=8, queries=20, random_directions=2, radius_steps=4)
HOSTILE = "<script>alert('x')</script> & \"quotes\""


def states() -> torch.Tensor:
    return torch.randn(12, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def example() -> Audit:
    return audit(
        network("tanh", seed=0, gain=2.0),
        states(),
        Ball("linf", 0.2),
        heads=(2, 2),
        gamma=1.0,
        budget=FAST,
        epsilon_unit="metres",
        description={"environment": HOSTILE, "command": "my audit --fast"},
    )


class Checker(HTMLParser):
    """Every tag is closed, and nothing runs or is fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        for name, value in attrs:
            assert name != "onclick"
            assert name not in ("href", "src") or value.startswith("data:")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def page_of(found: Audit, directory) -> str:
    return write_audit(found, directory).read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_self_contained(example, tmp_path):
    page = page_of(example, tmp_path)
    checker = Checker()
    checker.feed(page)
    assert not checker.open
    assert "script" not in checker.tags
    assert page.count("<img") == 3
    assert "@media print" in page
    assert 'name="viewport"' in page


def test_every_string_is_escaped(example, tmp_path):
    page = page_of(example, tmp_path)
    assert HOSTILE not in page
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in page


def test_it_says_what_is_proven_and_what_is_measured(example, tmp_path):
    page = page_of(example, tmp_path)
    proven, measured = page.index("What is proven"), page.index("What is only measured")
    assert proven < page.index("global Lipschitz constant") < measured
    assert measured < page.index("largest change found by any attack")
    for text in (example.subject["weights_sha256"], "0.2 metres", "Limits", "my audit --fast"):
        assert text in page


def test_the_same_audit_gives_the_same_bytes(example, tmp_path):
    first, second = (tmp_path / name for name in ("one", "two"))
    assert page_of(example, first) == page_of(example, second)
    assert (first / "audit.json").read_bytes() == (second / "audit.json").read_bytes()
    assert json.loads((first / "audit.json").read_text())["schema_version"] == 1


def test_nothing_certified_is_said_plainly(tmp_path):
    policy = nn.Sequential(nn.Linear(3, 4), nn.PReLU(), nn.Linear(4, 4))
    page = page_of(audit(policy, states(), Ball("l2", 0.1), heads=(2, 2), budget=FAST), tmp_path)
    assert "<strong>Nothing is certified.</strong>" in page
    assert "PReLU" in page
    assert "Nothing here is a guarantee" in page
    assert "Checker" not in page


def test_warnings_stand_in_front(tmp_path):
    class Detached(nn.Module):
        def forward(self, x):
            return 3 * x.detach()

    with pytest.warns(MaskedGradientWarning):
        found = audit(Detached(), states(), Ball("l2", 0.1), budget=FAST)
    page = page_of(found, tmp_path)
    assert page.index("<h2>Warnings") < page.index("What was audited")
    assert "not available" in page


def test_one_state_without_heads_is_enough(tmp_path):
    found = audit(network("relu", seed=0), states()[:1], Ball("l2", 0.1), budget=FAST)
    assert page_of(found, tmp_path).count("<img") == 2


def test_a_page_without_a_command_shows_the_call(example, tmp_path):
    subject = {name: text for name, text in example.subject.items() if name != "command"}
    page = page_of(dataclasses.replace(example, subject=subject), tmp_path)
    assert "audit(policy, states, ball, seed=0, budget=AuditBudget(steps=6" in page
