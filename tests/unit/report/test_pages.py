"""Templates: every value is escaped, and a missing one is an error."""

import re
from pathlib import Path

import jinja2
import pytest

import aajr
from aajr.report import pages
from aajr.report.tables import Table

HOSTILE = "<script>\"'&"
PACKAGE = Path(aajr.__file__).parent
TEMPLATES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.html"))


def macros():
    return pages._environment().get_template("report/macros.html").module


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_template_is_found_and_compiles(template):
    assert pages._environment().get_template(template).name == template


def test_what_is_not_given_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="'attacked' is undefined"):
        pages.render("hide_and_seek/replay/replay.html", colours="")


def test_a_table_escapes_every_part():
    table = Table(
        HOSTILE, (HOSTILE, f"a\n{HOSTILE}"), ((HOSTILE, f"1\n{HOSTILE}"),), (HOSTILE,), (0,)
    )
    html = macros().table(table)
    assert html.count("&lt;script&gt;&#34;&#39;&amp;") == 6
    assert "script>" not in html
    assert f"<td>1<br><small>{'&lt;script&gt;&#34;&#39;&amp;'}</small></td>" in html
    assert '<tr class="rule">' in html


def test_a_picture_is_embedded_with_its_caption():
    html = macros().picture(b"<svg/>", HOSTILE)
    assert 'src="data:image/svg+xml;base64,PHN2Zy8+"' in html
    assert html.count("&lt;script&gt;&#34;&#39;&amp;") == 2


def test_facts_are_words():
    html = macros().facts({"final_seeds": (0, 1), "resume": True, "more": {"limit": None}})
    found = re.findall(r"<th scope=\"row\">(.*?)</th><td>(.*?)</td>", html)
    assert found == [("final seeds", "0, 1"), ("resume", "yes"), ("more", "limit: –")]
