"""One table, written as text, Markdown, LaTeX or HTML; and the HTML page around a report."""

import html
from collections.abc import Sequence
from io import StringIO

from elutheory.output.latex import latex_text

Rows = Sequence[Sequence[str]]

_STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; }
math { font-size: 1.1rem; margin: .4rem 0; }
.formula, .table { overflow-x: auto; overflow-y: hidden; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid #8886; white-space: nowrap; }
"""


def text_table(headings: Sequence[str], rows: Rows, width: int) -> str:
    """Right-aligned columns under a rule; no colour, no wrapping."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    target = StringIO()
    Console(file=target, width=width, color_system=None, markup=False).print(table)
    return "\n".join(line.rstrip() for line in target.getvalue().splitlines() if line.strip())


def markdown_table(headings: Sequence[str], rows: Rows) -> str:
    """A pipe table."""
    lines = ["| " + " | ".join(row) + " |" for row in (headings, *rows)]
    lines.insert(1, "|" + "---:|" * len(headings))
    return "\n".join(lines).replace("*", r"\*")


def latex_table(headings: Sequence[str], rows: Rows) -> str:
    """A `tabular` environment."""
    lines = [rf"\begin{{tabular}}{{{'r' * len(headings)}}}"]
    lines += [" & ".join(map(latex_text, row)) + r" \\" for row in (headings, *rows)]
    lines[1] += r" \hline"
    return "\n".join([*lines, r"\end{tabular}"])


def html_table(headings: Sequence[str], rows: Rows) -> str:
    """A table that scrolls sideways where it is too wide."""
    head = "".join(f'<th scope="col">{html.escape(heading)}</th>' for heading in headings)
    body = ["<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return "\n".join(
        [f'<div class="table"><table><thead><tr>{head}</tr></thead>', "<tbody>", *body, "</tbody></table></div>"]
    )


def html_page(title: str, parts: Sequence[str]) -> str:
    """A self-contained HTML document."""
    head = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{html.escape(title)}</h1>",
    ]
    return "\n".join([*head, *parts, "</body></html>"]) + "\n"
