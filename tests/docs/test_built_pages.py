"""The built pages: every link inside lands, and in headless Chromium, opened from files, they fit and are quiet.

They are those that ELUTHEORY_DOCS names, else docs/_build/html; skipped where they are not built:
`sphinx-build -W --keep-going docs docs/_build/html`.
"""

import os
import re
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree  # of a file that the build wrote

import pytest

import elutheory as et
from elutheory.derivations.catalogue import PROOFS
from elutheory.derivations.catalogue.numbered_statements import PARTS
from tests.browsers import CONTRAST, NEEDS_BROWSER, OUTSIDE, WIDTHS, listening_page, started_browser

ROOT = Path(__file__).parents[2]
BUILT = Path(os.environ.get("ELUTHEORY_DOCS") or ROOT / "docs" / "_build" / "html").resolve()
PAGES = sorted(page for page in BUILT.rglob("*.html") if "_downloads" not in page.parts)
OPENED = [page for page in PAGES if "_modules" not in page.parts] + [
    page for page in PAGES if "_modules" in page.parts
][:3]
LONGEST_EXAMPLE = 60.0  # seconds, on two cores
SIZES = """() => [...document.querySelectorAll('main img, main math')].filter(element => {
    const box = element.getBoundingClientRect();
    const least = element.localName == 'img' ? [50, 50] : [4, 4];
    return box.width < least[0] || box.height < least[1] || (element.localName == 'img' && !element.naturalWidth);
}).map(element => element.outerHTML.slice(0, 200))"""

pytestmark = [
    pytest.mark.skipif(not PAGES and "ELUTHEORY_DOCS" not in os.environ, reason="docs/_build/html is not built"),
    pytest.mark.xdist_group("browser"),
]


class Links(HTMLParser):
    """What a page links to and loads, and what can be linked to in it."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.identifiers: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.identifiers |= {found[name] or "" for name in ("id", "name") if found.get(name)}
        self.links |= {found[name] or "" for name in ("href", "src", "action") if found.get(name)}


@cache
def links_of(page: Path) -> Links:
    return Links(page)


def is_outside(link: str) -> bool:
    return urlsplit(link).scheme != ""


def test_there_are_pages_of_every_kind() -> None:
    names = {str(page.relative_to(BUILT)) for page in PAGES}
    assert {"index.html", "statements.html", "literature.html", "comparison.html", "search.html"} <= names
    assert len([name for name in names if name.startswith("how_to/")]) >= 9
    assert len([name for name in names if re.match(r"tutorials/\d\d_", name)]) == len(
        list((ROOT / "examples").glob("*.py"))
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(BUILT)))
def test_every_link_inside_lands(page: Path) -> None:
    dead = []
    for link in links_of(page).links:
        if is_outside(link):
            continue
        place = urlsplit(link)
        target = (page.parent / unquote(place.path)).resolve() if place.path else page
        fragment = unquote(place.fragment)
        if not target.is_file() or (
            fragment and target.suffix == ".html" and fragment not in links_of(target).identifiers
        ):
            dead.append(link)
    assert dead == []


def test_links_out_are_secure_and_nothing_is_loaded_from_there() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"<(?:script|link|img)[^>]+(?:src|href)=\"(?:https?:)?//", text), page
        assert [
            link for link in links_of(page).links if is_outside(link) and not link.startswith(("https:", "data:"))
        ] == []


def test_every_public_name_and_every_derivation_has_its_place() -> None:
    reference = set().union(*(links_of(page).identifiers for page in PAGES if "reference" in page.parts))
    assert {f"elutheory.{name}" for name in et.__all__ if name != "__version__"} <= reference
    derived = set().union(*(links_of(page).identifiers for page in PAGES if "derivations" in page.parts))
    assert {name for section in PROOFS.values() for name in section} <= derived
    statements = links_of(BUILT / "statements.html").identifiers
    assert {statement.number.lower() for part in PARTS.values() for statement in part} <= statements


def test_every_example_ran_within_its_time() -> None:
    """By sphinx-gallery's own record of the build, not by a clock of this test."""
    cases = ElementTree.parse(BUILT / "examples.xml").getroot().iter("testcase")  # noqa: S314
    seconds = {Path(case.get("file", "")).name: float(case.get("time", "nan")) for case in cases}
    assert {*seconds} == {path.name for path in (ROOT / "examples").glob("*.py")}
    assert {name for name, taken in seconds.items() if not 0 < taken < LONGEST_EXAMPLE} == set()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with started_browser() as started:
        yield started


@NEEDS_BROWSER
@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (768, "light"), (1440, "light")])
def test_pages_fit_and_are_quiet_and_what_they_show_has_a_size(browser: Any, width: int, scheme: str) -> None:
    page, complaints = listening_page(browser, width, color_scheme=scheme)
    shown = 0
    for path in OPENED:
        page.goto(path.as_uri())
        name = str(path.relative_to(BUILT))
        assert (name, complaints) == (name, [])
        assert (name, page.evaluate("document.documentElement.scrollWidth")) == (name, width)
        assert (name, page.evaluate(OUTSIDE)) == (name, [])
        assert (name, page.evaluate(SIZES)) == (name, [])
        shown += page.locator("main img, main math").count()
    written = [path.read_text(encoding="utf-8").partition("<main")[2].partition("</main>")[0] for path in OPENED]
    assert shown == sum(len(re.findall(r"<(?:math|img)\b", main)) for main in written) > 100
    page.close()


@NEEDS_BROWSER
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_code_and_links_can_be_read(browser: Any, scheme: str) -> None:
    """Contrast with the paper: text 7 : 1 (WCAG 2, AAA), links and code at least 4.5 : 1 (AA)."""
    page, _ = listening_page(browser, WIDTHS[-1], color_scheme=scheme)
    page.goto((BUILT / "tutorials" / "01_first_steps.html").as_uri())
    assert page.locator("main p").first.evaluate(CONTRAST) >= 7
    for selector in ("main a", "main .highlight pre span", ".sphx-glr-script-out pre"):
        for element in page.locator(selector, has_text=re.compile(r"\S")).all()[:20]:
            assert element.evaluate(CONTRAST) >= 4.5, (selector, element.inner_text())
    page.close()


@NEEDS_BROWSER
def test_search_finds_from_files(browser: Any) -> None:
    page, complaints = listening_page(browser, 768)
    page.goto((BUILT / "index.html").as_uri())
    page.locator("header input").fill("Mehler")
    page.locator("header button").click()
    page.wait_for_selector("#search-results li a")
    assert complaints == []
    assert page.locator("#search-results li a", has_text="mehler_series").count() >= 1
    page.close()
