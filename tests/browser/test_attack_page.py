"""The page of an attacked agent in a real browser: pictures, phone, print, no request."""

import pytest

from tests.unit.arena.reports.made_reports import made

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
DOT = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///ywAAAAAAQABAAACAUwAOw=="
RETURNS = {
    ("none", 0.0): [100, 110, 90, 100],
    ("noise", 0.1): [99, 109, 89, 99],
    ("noise", 0.2): [98, 108, 88, 98],
    ("pgd_mad", 0.1): [40, 50, 30, 40],
    ("pgd_mad", 0.2): [20, 30, 10, 20],
}


@pytest.fixture(params=[(1100, 900), (390, 800)], ids=["desktop", "phone"])
def page(request, browser, tmp_path):
    errors = []
    width, height = request.param
    context = browser.new_context(viewport={"width": width, "height": height})
    tab = context.new_page()
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("console", lambda message: errors.append(message.text))
    tab.on("request", lambda sent: errors.append(sent.url) if "http" in sent.url[:5] else None)
    tab.goto(made(RETURNS, film=DOT).save(tmp_path / "report.html").as_uri())
    yield tab
    context.close()
    assert errors == []


def test_every_picture_loads_and_the_worst_case_is_read_first(page, pictures):
    page.locator("body").screenshot(path=pictures / "attack.png")
    assert page.locator("img").count() == 3
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    finding = page.locator("section.warnings li").first
    assert "falls from 100 to 20.0, by 80%, under pgd_mad" in finding.text_content()
    assert finding.bounding_box()["y"] < 500
    assert page.locator("table").first.locator("tbody tr").count() == 4


def test_wide_parts_scroll_by_themselves(page):
    assert page.evaluate("document.body.scrollWidth <= window.innerWidth")
