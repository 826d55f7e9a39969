"""The committed report in headless Chromium, opened from a file: what no parser sees. Without a browser: skipped."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browsers import CONTRAST, NEEDS_BROWSER, OUTSIDE, WIDTHS, listening_page, started_browser

PAGE = Path(__file__).parents[3] / "figures" / "report.html"

pytestmark = [NEEDS_BROWSER, pytest.mark.xdist_group("browser")]


@pytest.fixture(scope="module")
def opened() -> Iterator[tuple[Any, list[str]]]:
    """The page, and what it has said on the console or asked of the network. Opened once: that takes seconds."""
    with started_browser() as browser:
        page, complaints = listening_page(browser, WIDTHS[0])
        page.goto(PAGE.as_uri())
        yield page, complaints


@pytest.fixture
def page(opened: tuple[Any, list[str]]) -> Any:
    """The page as it is when it has been opened, folded and light."""
    page, _ = opened
    page.emulate_media(media="screen", color_scheme="light")
    page.evaluate("document.querySelectorAll('details').forEach(element => element.open = false)")
    return page


def resize(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})


@pytest.mark.parametrize("width", WIDTHS)
def test_page_fits_and_is_quiet_and_everything_in_it_has_a_size(
    page: Any, opened: tuple[Any, list[str]], width: int
) -> None:
    """In light and in dark, with all that can be unfolded unfolded; a figure in the form for the width."""
    resize(page, width)
    page.evaluate("document.querySelectorAll('details').forEach(element => element.open = true)")
    form = "narrow" if width < 544 else "wide"
    sizes = page.evaluate(f"""() => [...document.querySelectorAll('.drawing.{form} svg, math')].map(element => {{
        const box = element.getBoundingClientRect();
        return [element.tagName.toLowerCase(), box.width, box.height];
    }})""")
    kinds = [kind for kind, _, _ in sizes]
    assert kinds.count("svg") == len(list(PAGE.parent.glob("*/records.csv")))
    forms = page.evaluate("""() => [...document.querySelectorAll('#answer figure')].filter(element =>
        element.getBoundingClientRect().height > 80).map(element => element.className)""")
    assert forms == [form]
    assert page.locator(".drawing:visible").count() == kinds.count("svg")
    assert kinds.count("math") > 100
    for kind, wide, high in sizes:
        least = (300, 80) if kind == "svg" else (8, 8)
        assert wide >= least[0]
        assert high >= least[1]
    if form == "narrow":  # nothing is cut sideways
        assert page.evaluate(
            "[...document.querySelectorAll('.drawing.narrow')].every(e => e.scrollWidth <= e.clientWidth)"
        )
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate(OUTSIDE) == []
    assert opened[1] == []


def test_every_internal_link_lands(page: Any) -> None:
    """A click brings its target to the top, or as far as the page's end lets it."""
    resize(page, 768)
    page.evaluate("document.querySelectorAll('details').forEach(element => element.open = true)")
    missed = page.evaluate("""() => {
        document.documentElement.style.scrollBehavior = 'auto';
        return [...document.querySelectorAll('a[href^="#"]')].filter(link => {
            link.click();
            const end = document.documentElement.scrollHeight - innerHeight;
            const target = document.getElementById(decodeURIComponent(link.hash.slice(1)));
            return !target || (Math.abs(target.getBoundingClientRect().top) > 2 && scrollY < end - 2);
        }).map(link => link.outerHTML);
    }""")
    assert missed == []
    assert page.locator('a[href^="#"]').count() > 40


def test_dark_light_and_print(page: Any) -> None:
    """Contrast of text and paper is at least 7 : 1 (WCAG 2, AAA), verdicts' at least 4.5 : 1 (AA); print unfolds."""
    resize(page, 768)
    papers = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        papers.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert page.locator("body").evaluate(CONTRAST) >= 7
        for verdict in page.locator(".claim > p > .verdict").all():
            assert verdict.evaluate(CONTRAST) >= 4.5
    assert papers[0] != papers[1]
    page.emulate_media(media="print")
    folded = page.locator("details table").first
    assert folded.bounding_box()["height"] > 10
    assert page.evaluate("document.querySelector('details').open") is False


@pytest.mark.exhaustive
def test_the_page_can_be_printed_to_a_file(page: Any) -> None:
    resize(page, 1440)
    assert page.pdf()[:5] == b"%PDF-"
