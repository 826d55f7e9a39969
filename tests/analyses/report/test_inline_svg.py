"""Figures as parts of a page. References: an SVG written by hand, and matplotlib's own files."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure

from analyses.report.inline_svg import inline_svg
from elutheory.errors import InputError
from elutheory.output.figures import figure_bytes

WRITTEN = b"""<?xml version="1.0"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="9pt" height="9pt"
 viewBox="0 0 9 9">
 <metadata><x xmlns="urn:x">Matplotlib</x></metadata>
 <defs><style type="text/css">*{stroke-linecap: butt}</style></defs>
 <g id="axes_1" clip-path="url(#cut)">
  <!-- learning rate -->
  <!-- 0.25 -->
  <!-- a &lt; b & c, learning rate -->
  <path d="M 1.23456 -2.5
L 3.14159e-5 4" style="fill: url(#cut)"/>
  <path id="space"/>
  <use xlink:href="#space" x="2.71828" y="1.5" transform="scale(0.015625)"/>
 </g>
 <defs><clipPath id="cut"><rect x="0.12345" y="0" width="1" height="1"/></clipPath></defs>
</svg>"""


def element_of(source: bytes, name: str = "one", title: str = "T") -> ElementTree.Element:
    return ElementTree.fromstring(inline_svg(source, name, title))  # noqa: S314


def identifiers(root: ElementTree.Element) -> set[str]:
    return {element.attrib["id"] for element in root.iter() if "id" in element.attrib}


def test_what_html_needs() -> None:
    root = element_of(WRITTEN, title="A <title>")
    assert root.tag == "svg"
    assert root.attrib["viewBox"] == "0 0 9 9"
    assert {"width", "height", "id"}.isdisjoint(root.attrib)
    assert [child.tag for child in root] == ["title", "desc", "g", "defs"]
    assert root[0].text == "A <title>"
    assert root[1].text == "In the figure: learning rate; a &lt; b & c, learning rate."
    assert root.attrib["aria-labelledby"] == f"{root[0].attrib['id']} {root[1].attrib['id']}"
    drawn, space, used = root[2]
    assert root[2].attrib == {"clip-path": "url(#one-cut)"}  # nothing refers to axes_1
    assert drawn.attrib == {"d": "M 1.23 -2.5 L 0.00 4", "style": "fill:url(#one-cut)"}
    assert space.attrib == {"id": "one-space", "d": "M0 0"}
    assert used.attrib == {"href": "#one-space", "x": "2.72", "y": "1.5", "transform": "scale(0.015625)"}
    assert root[3][0].attrib == {"id": "one-cut"}
    assert "stroke-linecap:butt" in root.attrib["style"]


def test_two_figures_share_no_identifier() -> None:
    figure = Figure()
    figure.subplots().plot([1, 2], label="a line")
    source = figure_bytes(figure, "svg")
    found = [identifiers(element_of(source, name)) for name in ("one", "two")]
    assert len(found[0]) > 3
    assert found[0].isdisjoint(found[1])


def test_every_reference_lands() -> None:
    """In all figures of the repository."""
    sources = sorted((Path(__file__).parents[3] / "figures").glob("*/figure.svg"))
    assert sources
    for source in sources:
        root = element_of(source.read_bytes(), source.parent.name)
        targets = {element.attrib["href"].removeprefix("#") for element in root.iter("use")}
        assert targets
        assert targets <= identifiers(root)


@pytest.mark.parametrize("source", [b"", b"<svg", b"<html></html>", b'<svg xmlns="http://www.w3.org/2000/svg"/>'])
def test_what_is_no_svg_is_refused_in_one_sentence(source: bytes) -> None:
    with pytest.raises(InputError, match=r"^the figure one is no SVG .*--redraw\.$"):
        inline_svg(source, "one", "T")


HOSTILE = (
    "<script>alert(1)</script>",
    '<image href="x" onerror="alert(1)"/>',
    '<image xlink:href="javascript:alert(1)"/>',
    '<image href="data:image/svg+xml;base64,PHN2Zy8+"/>',
    '<image href="https://example.org/x.png"/>',
    '<use href="https://example.org/x.svg#a"/>',
    '<use xlink:href="data:image/svg+xml;base64,PHN2Zy8+#a"/>',
    '<a href="javascript:alert(1)"><rect width="1"/></a>',
    "<foreignObject><i xmlns='http://www.w3.org/1999/xhtml'><img src='x' onerror='alert(1)'/></i></foreignObject>",
    '<rect onclick="alert(1)" onload="alert(1)"/>',
    '<rect style="fill: url(https://example.org/x); stroke: red"/>',
    '<rect style="behavior: url(#x); -moz-binding: url(#x)"/>',
    '<rect fill="url(javascript:alert(1))" style="fill: expression(alert(1))"/>',
    '<set attributeName="href" to="javascript:alert(1)"/>',
    '<animate attributeName="href" values="javascript:alert(1)"/>',
    "<style>@import 'https://example.org/x.css';</style>",
    '<h:script xmlns:h="http://www.w3.org/1999/xhtml">alert(1)</h:script>',
    '<handler xmlns="http://www.w3.org/2001/xml-events">alert(1)</handler>',
    '<iframe src="https://example.org"/>',
)


@pytest.mark.parametrize("part", HOSTILE)
def test_what_does_not_draw_is_left_out(part: str) -> None:
    start = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 9 9">'
    shown = inline_svg(f"{start}<g>{part}</g><path d='M0 0'/></svg>".encode(), "one", "T").lower()
    forbidden = ("script", "alert", "http", "data:", "on", "url(", "expression", "import", "binding", "iframe")
    attributes = re.findall(r'\s([\w:-]+)="([^"]*)"', shown)
    assert not [name for name, _ in attributes if name.startswith("on") or name == "href"]
    assert not [value for _, value in attributes for word in forbidden if word in value and word != "on"]
    assert set(re.findall(r"<(\w+)", shown)) <= {"svg", "title", "desc", "g", "path", "rect", "image", "use"}


def test_pictures_in_the_file_and_its_own_parts_are_shown() -> None:
    part = '<image xlink:href="data:image/png;base64,iVBORw0KGgo="/><rect id="a" fill="url(#a)" style="fill: red"/>'
    start = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 9 9">'
    shown = inline_svg(f"{start}{part}</svg>".encode(), "one", "T")
    assert 'href="data:image/png;base64,iVBORw0KGgo="' in shown
    assert '<rect id="one-a" fill="url(#one-a)" style="fill:red"' in shown


@pytest.mark.parametrize("depth", [60, 2000])
def test_deep_nesting_is_refused(depth: int) -> None:
    nested = b"<g>" * depth + b"</g>" * depth
    with pytest.raises(InputError, match="nests deeper than 50 levels"):
        inline_svg(b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9">' + nested + b"</svg>", "one", "T")
