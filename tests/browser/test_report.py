"""The page in a real browser: no errors, a replay that moves, keys, phone, print."""

import re

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

PART = "document.querySelector('section.replay [data-part=\"{}\"]')"
CANVAS = "document.querySelectorAll('section.replay canvas')[{}]"
SHOT = CANVAS + ".toDataURL()"


def part(name):
    return PART.format(name)


def step(browser):
    return int(browser.value(part("scrub") + ".value"))


@pytest.fixture
def page(browser, report):
    browser.errors.clear()
    browser.open(report, 1100)
    browser.wait_for(part("clock") + ".textContent.startsWith('step 0')")
    yield browser
    assert browser.errors == []


def focus(page):
    page.value(CANVAS.format(0) + ".focus()")


def test_it_renders(page, pictures):
    page.screenshot(pictures / "desktop.png", "body")
    page.screenshot(pictures / "replay.png", "section.replay")
    assert page.value("document.images.length") >= 7
    assert page.value("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    drawn = (
        f"(() => {{ const c = {CANVAS.format(0)};"
        "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        "const s = new Set(); for (let i = 0; i < d.length; i += 4)"
        " s.add(d[i] << 16 | d[i + 1] << 8 | d[i + 2]); return s.size })()"
    )
    assert page.value(drawn) > 20
    assert page.value(SHOT.format(0)) != page.value(SHOT.format(1)), "two methods"


def test_it_is_sharp_on_a_dense_screen(page):
    canvas = CANVAS.format(0)
    assert page.value(f"{canvas}.width") == pytest.approx(
        2 * page.value(f"{canvas}.clientWidth"), abs=2
    )


def test_it_plays_and_pauses(page):
    before = page.value(SHOT.format(0))
    page.value(part("play") + ".click()")
    page.wait_for(f"Number({part('scrub')}.value) >= 3")
    assert page.value(SHOT.format(0)) != before
    page.value(part("play") + ".click()")
    held = page.value(SHOT.format(0))
    page.value("new Promise(r => setTimeout(r, 300))")
    assert page.value(SHOT.format(0)) == held
    assert page.value(part("play") + ".textContent") == "Play"


def test_it_stops_at_the_end(page):
    page.value(f"{part('speed')}.value = 32")
    page.value(part("play") + ".click()")
    page.wait_for(f"{part('scrub')}.value === '16' && {part('play')}.textContent === 'Play'")
    assert "win" in page.value("document.querySelector('.state').textContent")


def test_keys(page):
    focus(page)
    page.press("ArrowRight")
    page.press("ArrowRight")
    assert step(page) == 2
    page.press("ArrowLeft")
    assert step(page) == 1
    page.press("End")
    assert step(page) == 16
    page.press("ArrowRight")
    assert step(page) == 16
    page.press("Home")
    assert step(page) == 0
    speed = page.value(part("speed") + ".value")
    page.press("+")
    assert int(page.value(part("speed") + ".value")) == 2 * int(speed)
    page.press("-")
    assert page.value(part("speed") + ".value") == speed
    before = page.value(SHOT.format(0))
    page.press("3")
    assert page.value(part("hider") + ".value") == "2"
    assert page.value(SHOT.format(0)) != before
    assert "hider 3 sees" in page.value("document.querySelector('.state').textContent")
    assert page.value(part("view") + ".value") == "pgd_mad"
    shown = page.value(SHOT.format(0))
    page.press("s")
    assert page.value(part("view") + ".value") == "none"
    assert page.value(SHOT.format(0)) != shown, "the ghosts are gone"
    page.press(" ")
    assert page.value(part("play") + ".textContent") == "Pause"
    page.press(" ")
    assert page.value(part("play") + ".textContent") == "Play"


def test_scrubbing(page):
    page.value(f"{part('scrub')}.value = 7; {part('scrub')}.dispatchEvent(new Event('input'))")
    assert page.value(part("clock") + ".textContent") == "step 7 / 16"
    assert page.value(part("scrub") + ".getAttribute('aria-valuetext')") == "step 7 of 16"


def test_controls_have_names_and_a_visible_focus(page):
    nameless = (
        "[...document.querySelectorAll('.replay button, .replay select, .replay input,"
        " .replay canvas')].filter(e => !(e.getAttribute('aria-label') || e.closest('label')"
        " || e.textContent.trim())).length"
    )
    assert page.value(nameless) == 0
    focus(page)
    page.press("Tab")
    assert page.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_less_motion_moves_in_whole_steps(page, report):
    page.open(report, 1100, reduced=True)
    page.wait_for(part("clock") + ".textContent.startsWith('step 0')")
    assert page.value(part("play") + ".textContent") == "Play", "nothing moves by itself"
    page.value(f"{part('speed')}.value = 2")
    before = page.value(SHOT.format(0))
    page.value(part("play") + ".click()")
    page.value("new Promise(r => setTimeout(r, 150))")
    if step(page) == 0:
        assert page.value(SHOT.format(0)) == before


@pytest.mark.parametrize("width", [360, 768])
def test_it_fits_a_narrow_screen(page, report, pictures, width):
    page.open(report, width, 740)
    page.wait_for(part("clock") + ".textContent.startsWith('step 0')")
    page.screenshot(pictures / f"width_{width}.png", "body")
    page.screenshot(pictures / f"replay_{width}.png", "section.replay")
    assert page.value("document.documentElement.scrollWidth") <= width
    assert page.value("innerWidth") == width
    small = (
        "[...document.querySelectorAll('p, li, td, th, figcaption, button, select')].filter(e =>"
        " e.textContent.trim() && parseFloat(getComputedStyle(e).fontSize) < 11).length"
    )
    assert page.value(small) == 0
    if width == 360:
        tops = "[...document.querySelectorAll('.panel')].map(p => p.getBoundingClientRect().top)"
        first, second = page.value(tops)
        assert second > first + 200, "the panels stack"


def test_print_shows_still_frames(page, pictures):
    pdf = page.pdf()
    (pictures / "print.pdf").write_bytes(pdf)
    assert pdf.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 3
    page.call("Emulation.setEmulatedMedia", media="print")
    try:
        page.screenshot(pictures / "print.png", "section.replay")
        visible = "[...document.querySelectorAll('{}')].filter(e => e.offsetWidth > 0).length"
        assert page.value(visible.format(".stills img")) == 8
        assert page.value(visible.format(".replay canvas")) == 0
        assert page.value(visible.format(".controls")) == 0
    finally:
        page.call("Emulation.setEmulatedMedia", media="")
