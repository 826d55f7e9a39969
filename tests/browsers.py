"""Headless Chromium for tests of pages, opened from files. Without a browser these tests are skipped.

ELUTHEORY_BROWSER names the executable (one that is missing then fails the tests); otherwise chromium is looked for.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

BROWSER = os.environ.get("ELUTHEORY_BROWSER") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
WIDTHS = (360, 768, 1440)
NEEDS_BROWSER = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium; ELUTHEORY_BROWSER can name one")
OUTSIDE = """() => [...document.querySelectorAll('body *')].filter(element => {
    const scroller = element.parentElement.closest('.scroll, .formula, pre, table.docutils, .skip');
    const box = element.getBoundingClientRect();
    return !scroller && !element.matches('.skip') && box.width && (box.right > innerWidth + 0.5 || box.left < -0.5);
}).map(element => element.outerHTML.slice(0, 100))"""
"""Elements that reach beyond the page's sides and are in nothing that scrolls."""
CONTRAST = """element => {
    const light = colour => {
        const [red, green, blue] = colour.match(/[0-9.]+/g).slice(0, 3).map(value => value / 255)
            .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const paper = light(getComputedStyle(document.body).backgroundColor);
    const ink = light(getComputedStyle(element).color);
    return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
}"""
"""Contrast of an element's text and the page's paper, as WCAG 2 defines it."""


@contextmanager
def started_browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Without a sandbox: in containers there is none to be had, and the pages are our own.
        started = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield started
        started.close()


def listening_page(browser: Any, width: int, **options: Any) -> tuple[Any, list[str]]:
    """An empty page of this width, and what it will have said on the console or asked of the network."""
    page = browser.new_page(viewport={"width": width, "height": 900}, **options)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: request.url.startswith(("file:", "data:")) or complaints.append(request.url))
    return page, complaints
