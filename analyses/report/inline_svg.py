"""A figure's SVG as a part of an HTML page, with words for those who cannot see it.

Several SVGs in one page share one space of identifiers and of style rules, and their XML namespaces and metadata are no
HTML. Identifiers that nothing refers to are dropped, the others get a prefix; the rule for lines is set on the root.
"""

import re
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from elutheory.errors import InputError

_SVG = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"
_NUMBER = re.compile(r"-?\d+\.\d{3,}(?:e-?\d+)?")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_LINES = "stroke-linejoin:round;stroke-linecap:butt"


def inline_svg(source: bytes, prefix: str, title: str) -> str:
    """The `<svg>` element that shows the file `source`, with `title` and the words in the figure as alternative text.

    Coordinates are rounded to a hundredth of a point. Raises InputError if `source` is no SVG.
    """
    # Comments hold the words of the figure, whose letters are drawn as paths. Expat expands no external entities.
    parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))  # noqa: S314
    try:
        root = ElementTree.fromstring(source, parser)  # noqa: S314
    except ElementTree.ParseError as error:
        raise InputError(f"the figure {prefix} is no SVG ({error}); draw it again with --redraw.") from None
    if root.tag != f"{_SVG}svg" or "viewBox" not in root.attrib:
        raise InputError(f"the figure {prefix} is no SVG of a known size; draw it again with --redraw.")
    described = words(root)
    referred = {name for element in root.iter() for name in _references(element)}
    _clean(root, prefix, referred)
    view = root.get("viewBox", "")
    root.attrib = {
        "viewBox": view,
        "role": "img",
        "style": _LINES,
        "aria-labelledby": f"{prefix}-title {prefix}-words",
    }
    for place, (tag, text) in enumerate((("title", title), ("desc", f"In the figure: {'; '.join(described)}."))):
        element = Element(tag, {"id": f"{prefix}-{'words' if place else 'title'}"})
        element.text = text
        root.insert(place, element)
    return ElementTree.tostring(root, encoding="unicode")


def words(root: Element) -> list[str]:
    """What is written in the figure, numbers of the axes aside, each once."""
    written = (element.text.strip() for element in root.iter() if element.tag is ElementTree.Comment and element.text)
    return list(dict.fromkeys(text for text in written if re.search(r"[^\W\d_]{2}", text)))


def _references(element: Element) -> list[str]:
    linked = [element.get(_LINK, "").removeprefix("#")] if _LINK in element.attrib else []
    return linked + [name for value in element.attrib.values() for name in _REFERENCE.findall(value)]


def _clean(element: Element, prefix: str, referred: set[str]) -> None:
    element.tag = element.tag.removeprefix(_SVG)
    attributes = {}
    for name, value in element.attrib.items():
        if name == "id":
            attributes |= {"id": f"{prefix}-{value}"} if value in referred else {}
        elif name == _LINK:
            attributes["href"] = f"#{prefix}-{value.removeprefix('#')}" if value.startswith("#") else value
        elif name == "d" or (element.tag == "use" and name in "xy"):
            attributes[name] = " ".join(_NUMBER.sub(lambda found: f"{float(found[0]):.2f}", value).split())
        else:
            attributes[name] = _REFERENCE.sub(lambda found: f"url(#{prefix}-{found[1]})", value)
    if element.tag == "path":
        attributes.setdefault("d", "M0 0")  # the letter " " has none, which SVG allows and HTML does not
    element.attrib = attributes
    element.text = element.tail = None
    for child in list(element):
        if not isinstance(child.tag, str) or child.tag in (f"{_SVG}metadata", f"{_SVG}style"):
            element.remove(child)
        else:
            _clean(child, prefix, referred)
            if child.tag == "defs" and not len(child):
                element.remove(child)
