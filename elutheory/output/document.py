"""A report as a sequence of blocks, written as text, Markdown, LaTeX or HTML; and how numbers stand in reports.

A `Document` is a title and blocks. A `Block` is one part of it (a heading, a paragraph, a table, a list) and writes
itself in each of the four formats, without a newline at its end; a part that only one report has is a block of its own
in that report. In text and Markdown an empty line stands between blocks, in LaTeX and HTML a line break. Text is cut
into lines of a given width; a no-break space keeps two words together there and is printed as a space.
"""

import html
import json
import math
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable

from elutheory.output.latex import NO_BREAK, latex_text
from elutheory.output.short_labels import LONGEST_LABEL, short_labels

_STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; }
math { font-size: 1.1rem; margin: .4rem 0; }
.formula, .table { overflow-x: auto; overflow-y: hidden; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid #8886; white-space: nowrap; }
"""


class Block(ABC):
    """A part of a report that writes itself in every format, without a newline at its end."""

    @abstractmethod
    def text(self, width: int) -> str:
        """Plain text in lines of at most `width` characters, where words allow it."""

    @abstractmethod
    def markdown(self) -> str:
        """Markdown, its formulas in LaTeX between dollar signs."""

    @abstractmethod
    def latex(self) -> str:
        """A fragment of LaTeX for amsmath and amssymb, in ASCII."""

    @abstractmethod
    def html(self) -> str:
        """A fragment of HTML, its formulas in MathML."""


def text_of(blocks: Sequence[Block], width: int) -> str:
    """The blocks as plain text, an empty line between them."""
    return "\n\n".join(block.text(width) for block in blocks)


def markdown_of(blocks: Sequence[Block]) -> str:
    """The blocks as Markdown, an empty line between them."""
    return "\n\n".join(block.markdown() for block in blocks)


def latex_of(blocks: Sequence[Block]) -> str:
    """The blocks as LaTeX, a line break between them."""
    return "\n".join(block.latex() for block in blocks)


def html_of(blocks: Sequence[Block]) -> str:
    """The blocks as HTML, a line break between them."""
    return "\n".join(block.html() for block in blocks)


@dataclass(frozen=True)
class Document:
    """A report.

    `is_collection`: whether it puts texts together that bring their own headings; plain text and LaTeX, which are often
    pasted into other documents, then do not open with the title.
    """

    title: str
    blocks: Sequence[Block]
    is_collection: bool = False

    def written(self, format: str, width: int) -> str:
        """As "text", in lines of at most `width` characters, "markdown", "latex" or "html"; with its last newline."""
        opening = [] if self.is_collection else [Heading(self.title, 1)]
        if format == "text":
            return text_of([*opening, *self.blocks], width).replace(NO_BREAK, " ") + "\n"
        if format == "markdown":
            return markdown_of([Heading(self.title, 1), *self.blocks]) + "\n"
        if format == "latex":
            return "% Needs amsmath and amssymb.\n" + latex_of([*opening, *self.blocks]) + "\n"
        if format == "html":
            return html_page(self.title, [block.html() for block in self.blocks])
        raise ValueError(f"a document has no format {format!r}; it can be text, markdown, latex or html.")


# --- blocks ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Heading(Block):
    """A heading; `level` 1 is the whole document's, 3 a paragraph's."""

    words: str
    level: int = 2

    def text(self, width: int) -> str:
        """The words, cut into lines between words only."""
        return textwrap.fill(self.words, width, break_long_words=False, break_on_hyphens=False)

    def markdown(self) -> str:
        """The words after as many # as the level is."""
        return f"{'#' * self.level} {self.words}"

    def latex(self) -> str:
        """A subsection without a number, or from level 3 on a paragraph's heading."""
        command = r"\subsection*" if self.level < 3 else r"\paragraph"
        return f"{command}{{{latex_text(self.words)}}}"

    def html(self) -> str:
        """The words between tags h1, h2 or h3."""
        return f"<h{self.level}>{html.escape(self.words)}</h{self.level}>"


@dataclass(frozen=True)
class Paragraph(Block):
    """Running words."""

    words: str

    def text(self, width: int) -> str:
        """The words, cut into lines."""
        return textwrap.fill(self.words, width)

    def markdown(self) -> str:
        """The words."""
        return self.words

    def latex(self) -> str:
        """The words."""
        return latex_text(self.words)

    def html(self) -> str:
        """The words between tags p."""
        return f"<p>{html.escape(self.words)}</p>"


@dataclass(frozen=True)
class Verdict(Block):
    """The one sentence that a reader looks for: on one line however long it is, and in bold type on a page."""

    words: str

    def text(self, width: int) -> str:
        """The words on one line."""
        return self.words

    def markdown(self) -> str:
        """The words."""
        return self.words

    def latex(self) -> str:
        """The words."""
        return latex_text(self.words)

    def html(self) -> str:
        """The words in bold type."""
        return f"<p><strong>{html.escape(self.words)}</strong></p>"


@dataclass(frozen=True)
class Formula(Block):
    """A displayed formula, given in the three ways in which it can be written."""

    as_text: str
    as_latex: str
    as_mathml: str

    def text(self, width: int) -> str:
        """The formula, cut into lines where it has spaces."""
        return textwrap.fill(self.as_text, width, break_long_words=False)

    def markdown(self) -> str:
        """The LaTeX between two dollar signs."""
        return f"$${self.as_latex}$$"

    def latex(self) -> str:
        """An equation without a number."""
        return f"\\begin{{equation*}}\n{self.as_latex}\n\\end{{equation*}}"

    def html(self) -> str:
        """The MathML."""
        return self.as_mathml


@dataclass(frozen=True)
class Items(Block):
    """A list of sentences; as text, the lines of an item after its first are indented by `hanging`."""

    items: Sequence[str]
    hanging: int = 2

    def text(self, width: int) -> str:
        """Each item from the beginning of a line."""
        indent = " " * self.hanging
        return "\n".join(textwrap.fill(item, width, subsequent_indent=indent) for item in self.items)

    def markdown(self) -> str:
        """A list with dashes, asterisks as they are."""
        return "\n".join(f"- {item}" for item in self.items).replace("*", r"\*")

    def latex(self) -> str:
        """A paragraph per item."""
        return "\n".join(latex_text(item) + r"\par" for item in self.items)

    def html(self) -> str:
        """A list with bullets."""
        return "\n".join(["<ul>", *(f"<li>{html.escape(item)}</li>" for item in self.items), "</ul>"])


@dataclass(frozen=True)
class Definitions(Block):
    """Terms, each with its meaning, and a remark on them all."""

    meanings: Sequence[tuple[str, str]]
    remark: str

    def text(self, width: int) -> str:
        """The meanings in a column of their own."""
        column = max(len(term) for term, _ in self.meanings) + 2
        return "\n".join([*(f"{term:<{column}}{meaning}" for term, meaning in self.meanings), self.remark])

    def markdown(self) -> str:
        """A list, the terms in bold type."""
        return "\n".join([*(f"- **{term}**: {meaning}" for term, meaning in self.meanings), f"- {self.remark}"])

    def latex(self) -> str:
        """A paragraph per term."""
        meanings = r"\par ".join(latex_text(f"{term}: {meaning}.") for term, meaning in self.meanings)
        return f"{meanings}\n{latex_text(self.remark)}\\par"

    def html(self) -> str:
        """A definition list."""
        lines = [f"<dt>{html.escape(term)}</dt><dd>{html.escape(meaning)}</dd>" for term, meaning in self.meanings]
        return "\n".join(["<dl>", *lines, "</dl>", f"<p>{html.escape(self.remark)}</p>"])


@dataclass(frozen=True)
class Table(Block):
    """A table of right-aligned columns; as text it may be `wider` than the lines by so many characters."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    wider: int = 0

    def text(self, width: int) -> str:
        """Columns under a rule; no colour. Where the table is too wide, the names in the first column are shortened.

        Numbers are never cut: with names that are long and alike, or many columns, lines are longer than `width`.
        """
        rows = self._with_short_names(width + self.wider)
        table = RichTable(box=SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
        for heading in self.headings:
            table.add_column(heading, justify="right", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        needed = sum(self._widths(rows)) + len(self.headings)
        target = StringIO()
        Console(file=target, width=max(needed, width + self.wider), color_system=None, markup=False).print(table)
        return "\n".join(line.rstrip() for line in target.getvalue().splitlines() if line.strip())

    def _widths(self, rows: Sequence[Sequence[str]]) -> list[int]:
        return [max(cell_len(cell) for cell in column) for column in zip(self.headings, *rows, strict=True)]

    def _with_short_names(self, room: int) -> Sequence[Sequence[str]]:
        names = list(dict.fromkeys(row[0] for row in self.rows))
        widths = self._widths(self.rows)
        left = room - sum(widths[1:]) - len(widths)
        if not names or widths[0] <= left:
            return self.rows
        short = dict(zip(names, short_labels(names, max(left, LONGEST_LABEL)), strict=True))
        return [[short[row[0]], *row[1:]] for row in self.rows]

    def markdown(self) -> str:
        """A table of pipes, asterisks as they are."""
        lines = ["| " + " | ".join(row) + " |" for row in (self.headings, *self.rows)]
        lines.insert(1, "|" + "---:|" * len(self.headings))
        return "\n".join(lines).replace("*", r"\*")

    def latex(self) -> str:
        """A `tabular` environment."""
        lines = [rf"\begin{{tabular}}{{{'r' * len(self.headings)}}}"]
        lines += [" & ".join(map(latex_text, row)) + r" \\" for row in (self.headings, *self.rows)]
        lines[1] += r" \hline"
        return "\n".join([*lines, r"\end{tabular}\par"])

    def html(self) -> str:
        """A table that scrolls sideways where it is too wide."""
        head = "".join(f'<th scope="col">{html.escape(heading)}</th>' for heading in self.headings)
        body = ["<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in self.rows]
        return "\n".join(
            [f'<div class="table"><table><thead><tr>{head}</tr></thead>', "<tbody>", *body, "</tbody></table></div>"]
        )


@dataclass(frozen=True)
class Section(Block):
    """Blocks under a heading, which plain text leaves out; its anchor in HTML is the heading in small letters."""

    heading: str
    blocks: Sequence[Block]

    def text(self, width: int) -> str:
        """The blocks."""
        return text_of(self.blocks, width)

    def markdown(self) -> str:
        """The heading and the blocks."""
        return markdown_of([Heading(self.heading), *self.blocks])

    def latex(self) -> str:
        """The heading and the blocks."""
        return latex_of([Heading(self.heading), *self.blocks])

    def html(self) -> str:
        """A section with its anchor."""
        inner = html_of([Heading(self.heading), *self.blocks])
        return f'<section id="{html.escape(self.heading.lower())}">\n{inner}\n</section>'


STATEMENTS = "Numbers such as B1 or P2 are those of docs/statements.md: what each states, and what proves it."
"""What a report that cites numbered statements says of them."""


def html_page(title: str, parts: Sequence[str]) -> str:
    """A self-contained HTML document: the title as its first heading, then the parts, which are HTML."""
    head = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>",
        Heading(title, 1).html(),
    ]
    return "\n".join([*head, *parts, "</body></html>"]) + "\n"


# --- numbers --------------------------------------------------------------------------------------------------------


def shortened(value: float, plain: str, scientific: str, between: tuple[float, float] = (1e-3, 1e5)) -> str:
    """A number in few characters, by two format specifications such as ".4g" and ".2e".

    `plain` is for zero and for sizes from between[0] to below between[1], `scientific` for all others, whose exponent
    loses its plus sign and leading zeros: 3.1e-7. What is not finite is ∞, −∞ or, for NaN, "undefined".
    """
    if not math.isfinite(value):
        return "undefined" if math.isnan(value) else "∞" if value > 0 else "−∞"
    if value == 0 or between[0] <= abs(value) < between[1]:
        return f"{value:{plain}}"
    return power_of_ten(value, scientific)


def power_of_ten(value: float, scientific: str) -> str:
    """A finite number by a format specification such as ".0e", without the exponent's plus sign and leading zeros."""
    mantissa, exponent = f"{value:{scientific}}".split("e")
    return f"{mantissa}e{int(exponent)}"


def json_number(value: int | float) -> int | float | str | None:
    """A number as JSON can say it: itself if it is finite, else None for NaN, "inf" or "-inf"."""
    if isinstance(value, int) or math.isfinite(value):
        return value
    return None if math.isnan(value) else "inf" if value > 0 else "-inf"


def json_text(content: dict[str, Any]) -> str:
    """JSON in lines, letters of all alphabets as they are; raises ValueError for a number that is not finite."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
