"""The package's docstrings are English with `code` between backticks; this writes them as reStructuredText."""

import re

from sphinx.application import Sphinx

_CODE = re.compile(r"(`[^`]+`)")
_SPECIAL = re.compile(r"([\\*|]|_(?!\w)|(?<=\w)_(?=\W|$))")


def restructured(lines: list[str]) -> list[str]:
    """The lines with code as literals, other marks as they are, and what is indented after a colon as code."""
    written: list[str] = []
    inside: str | None = None  # "example", "code"
    for number, line in enumerate(lines):
        blank = not line.strip()
        if inside == "example" and blank:
            inside = None
        if inside == "code" and not blank and not line.startswith("    "):
            inside = None
        if inside is None and line.lstrip().startswith(">>>"):
            inside = "example"
        if inside is None and not blank and line.startswith("    ") and _opens_code(lines, number):
            inside = "code"
            while written and not written[-1]:
                written.pop()
            written[-1] += ":"
            written.append("")
        written.append(line if inside or blank else _prose(line))
    return written


def _opens_code(lines: list[str], number: int) -> bool:
    """Whether this indented line follows an empty line that follows a colon."""
    before = [line for line in lines[:number] if line.strip()]
    return bool(before) and before[-1].rstrip().endswith(":") and not lines[number - 1].strip()


def _prose(line: str) -> str:
    parts = _CODE.split(line)
    return "".join(f"`{part}`" if index % 2 else _SPECIAL.sub(r"\\\1", part) for index, part in enumerate(parts))


def _rewrite(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    lines[:] = restructured(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    """Rewrite every docstring before it is parsed."""
    app.connect("autodoc-process-docstring", _rewrite)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
