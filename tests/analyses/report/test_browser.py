"""The committed report in headless Chromium, opened from a file: what no parser sees. Without a browser: skipped."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browsers import CONTRAST, NEEDS_BROWSER, OUTSIDE, WIDTHS, listening_page, started_browser

PAGE = Path(__file__).parents[3] / "figures" / "report.html"

pytestmark = [NEEDS_BROWSER, pytest.mark.xdist_group("browser")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with started_browser() as started:
        yield started


def opened(browser: Any, width: int, **options: Any) -> tuple[Any, list[str]]:
    """The page at this width, and what it has said on the console or asked of the network."""
    page, complaints = listening_page(browser, width, **options)
    page.goto(PAGE.as_uri())
    return page, complaints


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_page_fits_and_is_quiet(browser: Any, width: int, scheme: str) -> None:
    page, complaints = opened(browser, width, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(element => element.open = true)")
    assert complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(OUTSIDE) == []
    page.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_every_figure_and_formula_has_a_size(browser: Any, width: int) -> None:
    page, _ = opened(browser, width)
    sizes = page.evaluate("""() => [...document.querySelectorAll('figure svg, math')].map(element => {
        const box = element.getBoundingClientRect();
        return [element.tagName.toLowerCase(), box.width, box.height];
    })""")
    kinds = [kind for kind, _, _ in sizes]
    assert kinds.count("svg") == len(list(PAGE.parent.glob("*/figure.svg")))
    assert kinds.count("math") > 100
    for kind, wide, high in sizes:
        least = (300, 80) if kind == "svg" else (8, 8)
        assert wide >= least[0]
        assert high >= least[1]
    page.close()


def test_every_internal_link_lands(browser: Any) -> None:
    """A click brings its target to the top, or as far as the page's end lets it."""
    page, _ = opened(browser, 768)
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
    page.close()


def test_dark_and_light_differ_and_can_be_read(browser: Any) -> None:
    """Contrast of text and paper is at least 7 : 1 (WCAG 2, AAA); verdicts' at least 4.5 : 1 (AA)."""
    papers = []
    for scheme in ("light", "dark"):
        page, _ = opened(browser, 768, color_scheme=scheme)
        papers.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert page.locator("body").evaluate(CONTRAST) >= 7
        for verdict in page.locator(".claim > p > .verdict").all():
            assert verdict.evaluate(CONTRAST) >= 4.5
        page.close()
    assert papers[0] != papers[1]


def test_printed_page_shows_what_is_folded(browser: Any) -> None:
    page, _ = opened(browser, 1440)
    page.emulate_media(media="print")
    folded = page.locator("details table").first
    assert folded.bounding_box()["height"] > 10
    assert page.evaluate("document.querySelector('details').open") is False
    page.close()


@pytest.mark.exhaustive
def test_the_page_can_be_printed_to_a_file(browser: Any) -> None:
    page, _ = opened(browser, 1440)
    assert page.pdf()[:5] == b"%PDF-"
    page.close()
