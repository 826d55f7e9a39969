"""The committed report in headless Chromium, opened from a file: what no parser sees. Without a browser: skipped.

ELUTHEORY_BROWSER names the executable (one that is missing then fails the tests); otherwise chromium is looked for.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[3] / "figures" / "report.html"
BROWSER = os.environ.get("ELUTHEORY_BROWSER") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
WIDTHS = (360, 768, 1440)

pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="there is no Chromium; ELUTHEORY_BROWSER can name one"),
    pytest.mark.xdist_group("browser"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Without a sandbox: in containers there is none to be had, and the page is our own.
        started = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield started
        started.close()


def opened(browser: Any, width: int, **options: Any) -> tuple[Any, list[str]]:
    """The page at this width, and what it has said on the console or asked of the network."""
    page = browser.new_page(viewport={"width": width, "height": 900}, **options)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: request.url.startswith("file:") or complaints.append(request.url))
    page.goto(PAGE.as_uri())
    return page, complaints


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_page_fits_and_is_quiet(browser: Any, width: int, scheme: str) -> None:
    page, complaints = opened(browser, width, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(element => element.open = true)")
    assert complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    outside = """() => [...document.querySelectorAll('body *')].filter(element => {
        const scroller = element.parentElement.closest('.scroll, .formula, pre');
        const box = element.getBoundingClientRect();
        return !scroller && box.width && (box.right > innerWidth + 0.5 || box.left < -0.5);
    }).map(element => element.outerHTML.slice(0, 100))"""
    assert page.evaluate(outside) == []
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
    contrast = """element => {
        const light = colour => {
            const [red, green, blue] = colour.match(/[0-9.]+/g).slice(0, 3).map(value => value / 255)
                .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
            return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
        };
        const paper = light(getComputedStyle(document.body).backgroundColor);
        const ink = light(getComputedStyle(element).color);
        return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    }"""
    papers = []
    for scheme in ("light", "dark"):
        page, _ = opened(browser, 768, color_scheme=scheme)
        papers.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert page.locator("body").evaluate(contrast) >= 7
        for verdict in page.locator(".claim > p > .verdict").all():
            assert verdict.evaluate(contrast) >= 4.5
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
