"""A figure's SVG as a part of an HTML page, with words for those who cannot see it.

Several SVGs in one page share one space of identifiers and of style rules, and their XML namespaces and metadata are no
HTML. Identifiers that nothing refers to are dropped, the others get a prefix; the rule for lines is set on the root.

A page must not run what a file says: only the elements and attributes that draw are taken over, with links to parts of
the same drawing and pictures that are in it, and no others.
"""

import re
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from elutheory.errors import InputError

_SVG = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"
_NUMBER = re.compile(r"-?\d+\.\d{3,}(?:e-?\d+)?")
_SHIFT = re.compile(r"translate\([^()]*\)")
_FONT = "DejaVuSans-"
"""With which matplotlib's identifiers of letters begin, tens of thousands of them in the page."""
_REFERENCE = re.compile(r"""url\(["']?#([\w.-]+)["']?\)""")
_LINES = "stroke-linejoin:round;stroke-linecap:butt"
_DEEPEST = 50
_ELEMENTS = frozenset(
    {
        "svg",
        "g",
        "defs",
        "clipPath",
        "path",
        "use",
        "rect",
        "circle",
        "ellipse",
        "line",
        "polyline",
        "polygon",
        "pattern",
        "image",
        "linearGradient",
        "radialGradient",
        "stop",
    }
)
_PROPERTIES = frozenset(
    {
        "fill",
        "fill-opacity",
        "fill-rule",
        "clip-path",
        "clip-rule",
        "color",
        "display",
        "opacity",
        "stroke",
        "stroke-dasharray",
        "stroke-dashoffset",
        "stroke-linecap",
        "stroke-linejoin",
        "stroke-miterlimit",
        "stroke-opacity",
        "stroke-width",
        "stop-color",
        "stop-opacity",
        "visibility",
        "image-rendering",
        "shape-rendering",
        "mix-blend-mode",
    }
)
"""Of a `style`; each may be an attribute, too."""
_ATTRIBUTES = _PROPERTIES | frozenset(
    {
        "id",
        "d",
        "x",
        "y",
        "width",
        "height",
        "cx",
        "cy",
        "r",
        "rx",
        "ry",
        "x1",
        "y1",
        "x2",
        "y2",
        "fx",
        "fy",
        "points",
        "offset",
        "transform",
        "gradientTransform",
        "gradientUnits",
        "spreadMethod",
        "patternUnits",
        "patternContentUnits",
        "patternTransform",
        "clipPathUnits",
        "preserveAspectRatio",
        "viewBox",
    }
)
_PLAIN = re.compile(r"[-+.,%#()\w\s]*")
_CALLED = re.compile(r"([\w-]+)\s*\(")
_FUNCTIONS = frozenset({"rgb", "rgba", "hsl", "hsla", "matrix", "translate", "scale", "rotate", "skewX", "skewY"})
_PICTURE = re.compile(r"data:image/(?:png|jpeg);base64,[A-Za-z0-9+/=\s]+")


def inline_svg(source: bytes, name: str, title: str, *, prefix: str = "") -> str:
    """The `<svg>` element that shows the file `source`, with `title` and the words in the figure as alternative text.

    `prefix` of its identifiers in the page: a short one, for every letter refers to one; the name by default.
    Coordinates are rounded to a hundredth of a point. Raises InputError if `source` is no SVG.
    """
    prefix = prefix or name
    # Comments hold the words of the figure, whose letters are drawn as paths. Expat expands no external entities.
    parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))  # noqa: S314
    try:
        root = ElementTree.fromstring(source, parser)  # noqa: S314
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise InputError(f"the figure {name} is no SVG ({error}); draw it again with --redraw.") from None
    if root.tag != f"{_SVG}svg" or not re.fullmatch(r"\s*(?:-?[\d.]+[\s,]*){4}", root.get("viewBox", "")):
        raise InputError(f"the figure {name} is no SVG of a known size; draw it again with --redraw.")
    if _depth(root) > _DEEPEST:
        raise InputError(f"the figure {name} nests deeper than {_DEEPEST} levels; draw it again with --redraw.")
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
    return ElementTree.tostring(root, encoding="unicode").replace(" />", "/>")


def words(root: Element) -> list[str]:
    """What is written in the figure, numbers of the axes aside, each once."""
    written = (element.text.strip() for element in root.iter() if element.tag is ElementTree.Comment and element.text)
    return list(dict.fromkeys(text for text in written if re.search(r"[^\W\d_]{2}", text)))


def _depth(root: Element) -> int:
    level, depth = [root], 0
    while level and depth <= _DEEPEST:
        level, depth = [child for element in level for child in element], depth + 1
    return depth


def _references(element: Element) -> list[str]:
    linked = [_link(element).removeprefix("#")] if _link(element).startswith("#") else []
    return linked + [name for value in element.attrib.values() for name in _REFERENCE.findall(value)]


def _link(element: Element) -> str:
    return element.get(_LINK, element.get("href", "")).strip()


def _clean(element: Element, prefix: str, referred: set[str]) -> None:
    """Only what draws, with identifiers that are its own in the page."""
    element.tag = element.tag.removeprefix(_SVG)
    attributes = {}
    for name, value in element.attrib.items():
        if name == "id":
            attributes |= {"id": f"{prefix}-{value.removeprefix(_FONT)}"} if value in referred else {}
        elif name == "d" or (element.tag == "use" and name in "xy"):
            attributes |= _drawn(name, " ".join(_rounded(value).split()), prefix)
        elif name == "transform":
            attributes |= _drawn(name, _SHIFT.sub(lambda found: _rounded(found[0]), value), prefix)
        elif name == "style":
            declared = [declaration.partition(":") for declaration in value.split(";") if declaration.strip()]
            kept = {
                found: f"{before.strip()}:{after.strip()}"
                for before, _, after in declared
                if before.strip() in _PROPERTIES
                for found in _drawn(before.strip(), after, prefix)
            }
            attributes |= {"style": _prefixed(";".join(kept.values()), prefix)} if kept else {}
        elif name in (_LINK, "href"):
            link = value.strip()
            if element.tag == "use" and link.startswith("#"):
                attributes["href"] = f"#{prefix}-{link.removeprefix('#').removeprefix(_FONT)}"
            elif element.tag == "image" and _PICTURE.fullmatch(link):
                attributes["href"] = link
        elif name in _ATTRIBUTES:
            attributes |= _drawn(name, value, prefix)
    if element.tag == "path":
        attributes.setdefault("d", "M0 0")  # the letter " " has none, which SVG allows and HTML does not
    element.attrib = attributes
    element.text = element.tail = None
    for child in list(element):
        if not isinstance(child.tag, str) or child.tag.removeprefix(_SVG) not in _ELEMENTS:
            element.remove(child)
        else:
            _clean(child, prefix, referred)
            if child.tag == "defs" and not len(child):
                element.remove(child)


def _rounded(value: str) -> str:
    return _NUMBER.sub(lambda found: f"{float(found[0]):.2f}", value)


def _drawn(name: str, value: str, prefix: str) -> dict[str, str]:
    """The attribute; none where the value is more than words, numbers, colours, transforms and references inside."""
    plain = _REFERENCE.sub("", value)
    is_harmless = _PLAIN.fullmatch(plain) and _FUNCTIONS.issuperset(_CALLED.findall(plain))
    return {name: _prefixed(value, prefix)} if is_harmless else {}


def _prefixed(value: str, prefix: str) -> str:
    return _REFERENCE.sub(lambda found: f"url(#{prefix}-{found[1]})", value)
