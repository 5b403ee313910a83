"""The page in a real browser: no errors, a replay that moves, keys, phone, print."""

import re

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


def part(page, name):
    return page.locator(f'section.replay [data-part="{name}"]')


def canvas(page, index=0):
    return page.locator("section.replay canvas").nth(index)


def shot(page, index=0):
    return canvas(page, index).evaluate("c => c.toDataURL()")


def step(page):
    return int(part(page, "scrub").input_value())


def is_playing(page):
    return part(page, "play").text_content() == "Pause"


def test_it_renders(page, pictures):
    page.locator("body").screenshot(path=pictures / "desktop.png")
    page.locator("section.replay").screenshot(path=pictures / "replay.png")
    assert page.locator("img").count() >= 7
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    colours = (
        "c => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        "const s = new Set(); for (let i = 0; i < d.length; i += 4)"
        " s.add(d[i] << 16 | d[i + 1] << 8 | d[i + 2]); return s.size }"
    )
    assert canvas(page).evaluate(colours) > 20
    assert shot(page, 0) != shot(page, 1), "two methods"


def test_it_is_sharp_on_a_dense_screen(page):
    width, shown = canvas(page).evaluate("c => [c.width, c.clientWidth]")
    assert width == pytest.approx(2 * shown, abs=2)


def test_it_plays_and_pauses(page):
    before = shot(page)
    part(page, "play").click()
    page.wait_for_function(
        "Number(document.querySelector('section.replay [data-part=scrub]').value) >= 3"
    )
    assert shot(page) != before
    part(page, "play").click()
    held = shot(page)
    page.wait_for_timeout(300)
    assert shot(page) == held
    assert not is_playing(page)


def test_it_stops_at_the_end(page):
    part(page, "speed").select_option("32")
    part(page, "play").click()
    page.wait_for_function(
        "document.querySelector('section.replay [data-part=scrub]').value === '16' &&"
        "document.querySelector('section.replay [data-part=play]').textContent === 'Play'"
    )
    assert "win" in page.locator(".state").first.text_content()


def test_keys_move_through_the_episode(page):
    canvas(page).focus()
    reached = {}
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "End", "ArrowRight", "Home"):
        page.keyboard.press(key)
        reached.setdefault(key, []).append(step(page))
    assert reached == {"ArrowRight": [1, 2, 16], "ArrowLeft": [1], "End": [16], "Home": [0]}


def test_keys_change_speed_hider_view_and_play(page):
    canvas(page).focus()
    speed = part(page, "speed").input_value()
    page.keyboard.press("+")
    assert int(part(page, "speed").input_value()) == 2 * int(speed)
    page.keyboard.press("-")
    assert part(page, "speed").input_value() == speed
    before = shot(page)
    page.keyboard.press("3")
    assert part(page, "hider").input_value() == "2"
    assert shot(page) != before
    assert "hider 3 sees" in page.locator(".state").first.text_content()
    assert part(page, "view").input_value() == "pgd_mad"
    shown = shot(page)
    page.keyboard.press("s")
    assert part(page, "view").input_value() == "none"
    assert shot(page) != shown, "the ghosts are gone"
    page.keyboard.press(" ")
    assert is_playing(page)
    page.keyboard.press(" ")
    assert not is_playing(page)


def test_scrubbing(page):
    part(page, "scrub").fill("7")
    assert part(page, "clock").text_content() == "step 7 / 16"
    assert part(page, "scrub").get_attribute("aria-valuetext") == "step 7 of 16"


def test_controls_have_names_and_a_visible_focus(page):
    nameless = (
        "[...document.querySelectorAll('.replay button, .replay select, .replay input,"
        " .replay canvas')].filter(e => !(e.getAttribute('aria-label') || e.closest('label')"
        " || e.textContent.trim())).length"
    )
    assert page.evaluate(nameless) == 0
    canvas(page).focus()
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_less_motion_moves_in_whole_steps(visit):
    page = visit(reduced_motion="reduce")
    assert not is_playing(page), "nothing moves by itself"
    part(page, "speed").select_option("2")
    before = shot(page)
    part(page, "play").click()
    page.wait_for_timeout(150)
    if step(page) == 0:
        assert shot(page) == before


@pytest.mark.parametrize("width", [360, 768])
def test_it_fits_a_narrow_screen(visit, pictures, width):
    page = visit(width, 740)
    page.locator("body").screenshot(path=pictures / f"width_{width}.png")
    page.locator("section.replay").screenshot(path=pictures / f"replay_{width}.png")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("innerWidth") == width
    small = (
        "[...document.querySelectorAll('p, li, td, th, figcaption, button, select')].filter(e =>"
        " e.textContent.trim() && parseFloat(getComputedStyle(e).fontSize) < 11).length"
    )
    assert page.evaluate(small) == 0
    if width == 360:
        tops = "[...document.querySelectorAll('.panel')].map(p => p.getBoundingClientRect().top)"
        first, second = page.evaluate(tops)
        assert second > first + 200, "the panels stack"


def test_print_shows_still_frames(page, pictures):
    pdf = page.pdf(path=pictures / "print.pdf", print_background=True)
    assert pdf.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 3
    page.emulate_media(media="print")
    page.locator("section.replay").screenshot(path=pictures / "print.png")
    visible = "[...document.querySelectorAll('{}')].filter(e => e.offsetWidth > 0).length"
    assert page.evaluate(visible.format(".stills img")) == 8
    assert page.evaluate(visible.format(".replay canvas")) == 0
    assert page.evaluate(visible.format(".controls")) == 0
