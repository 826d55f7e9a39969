"""Figures as parts of a page. References: an SVG written by hand, and matplotlib's own files."""

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
    assert drawn.attrib == {"d": "M 1.23 -2.5 L 0.00 4", "style": "fill: url(#one-cut)"}
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
