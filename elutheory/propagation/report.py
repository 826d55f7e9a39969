"""The report of `python -m elutheory.propagation` in every format: one table an initialisation."""

import html
import json
import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from elutheory.activations.activation_function import activation, activation_names
from elutheory.output.document import html_page, html_table, latex_table, markdown_table, text_table
from elutheory.output.latex import latex_text

if TYPE_CHECKING:
    from elutheory.activations.activation_function import Activation
    from elutheory.propagation.deep_network import Propagation

TEXT_WIDTH = 100
COLUMNS = {
    "layer": "layer",
    "q": "q",
    "correlation": "c/q",
    "mean": "E f",
    "unit_mean_median": "median",
    "unit_mean_std": "spread",
    "mean_share": "share",
    "chi": "chi",
    "gradient_variance": "gradient",
    "depth_scale": "depth scale",
}
LEGEND = (
    "q, c/q: variance and correlation of the net inputs (P1)",
    "E f: mean activation; median, spread: median and standard deviation of the unit means over the data (P2)",
    "share: mean share E f(U)f(V)/E f² (P2b)",
    "chi: gradient variance factor of one layer (P3); gradient: variance relative to the last layer's",
    "depth scale: −1/ln(dc'/dc), layers in which overlaps settle e-fold; negative: they part",
)
BANDS = "±: standard deviation over random networks of this width, derived to leading order in 1/width (P6)"


@dataclass(frozen=True)
class Group:
    """An initialisation, and what it does to each activation."""

    name: str
    propagations: tuple["Propagation", ...]

    def caption(self) -> list[str]:
        """One entry an activation: its variances."""
        return [
            f"{label(p.activation)}: σ_w² {p.weight_variance:.6g}, σ_b² {p.bias_variance:.6g}"
            for p in self.propagations
        ]


@dataclass(frozen=True)
class Report:
    """What the command found; `layers` are the rows to print, `remarks` what else to say."""

    title: str
    groups: tuple[Group, ...]
    layers: tuple[int, ...]
    remarks: tuple[str, ...]


def label(function: "Activation") -> str:
    """The registry's name alone where all parameters are its defaults."""
    if function.name in activation_names() and function == activation(function.name):
        return function.name
    return str(function)


def render(report: Report, format: str) -> str:
    """The report as text, json, markdown, latex or html."""
    return _RENDER[format](report)


def short(value: float) -> str:
    """At most nine characters."""
    if not math.isfinite(value):
        return "undefined" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.4g}" if value != int(value) or abs(value) >= 1e4 else str(int(value))
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def _cell(row: Any, column: str) -> str:
    value = float(row[column])
    if column in ("mean", "unit_mean_median"):
        if abs(value) < 1e-15 * math.sqrt(row["q"]):
            value = 0.0  # rounding
        if f"{column}_std" in row and not math.isnan(value):
            return f"{round(value, 3) + 0.0:.3f}±{row[f'{column}_std']:.3f}"
    return short(value)


def _headings() -> list[str]:
    return ["activation", *COLUMNS.values()]


def _records(table: Any) -> list[dict[str, Any]]:
    return table.to_dict("records")


def _rows(report: Report, group: Group) -> list[list[str]]:
    rows = []
    for propagation in group.propagations:
        shown = propagation.table[propagation.table["layer"].isin(report.layers)]
        for index, row in enumerate(_records(shown)):
            rows.append([label(propagation.activation) if index == 0 else "", *(_cell(row, name) for name in COLUMNS)])
    return rows


def _text(report: Report) -> str:
    lines = [*textwrap.wrap(report.title, TEXT_WIDTH), ""]
    for group in report.groups:
        lines += textwrap.wrap(f"{group.name}: {'; '.join(group.caption())}", TEXT_WIDTH, subsequent_indent="  ")
        lines += ["", text_table(_headings(), _rows(report, group), TEXT_WIDTH + 40), ""]
    for remark in (*LEGEND, *report.remarks):
        lines += textwrap.wrap(remark, TEXT_WIDTH, subsequent_indent="  ")
    return "\n".join(lines) + "\n"


def _json(report: Report) -> str:
    def number(value: Any) -> Any:
        if isinstance(value, int) or math.isfinite(value):
            return value
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")

    document = {
        "format": "elutheory/propagation",
        "version": 1,
        "title": report.title,
        "networks": [
            {
                "initialisation": group.name,
                "activation": str(p.activation),
                "definition": str(p.activation.expression),
                "weight_variance": p.weight_variance,
                "bias_variance": p.bias_variance,
                "layers": [{key: number(value) for key, value in row.items()} for row in _records(p.table)],
            }
            for group in report.groups
            for p in group.propagations
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _markdown(report: Report) -> str:
    lines = [f"# {report.title}", ""]
    for group in report.groups:
        lines += [f"## {group.name}", "", *(f"- {entry}" for entry in group.caption()), ""]
        lines += [markdown_table(_headings(), _rows(report, group)), ""]
    return "\n".join([*lines, *(f"- {remark}" for remark in (*LEGEND, *report.remarks))]) + "\n"


def _latex(report: Report) -> str:
    lines = ["% Needs amsmath and amssymb.", rf"\subsection*{{{latex_text(report.title)}}}"]
    for group in report.groups:
        lines.append(latex_text(f"{group.name}: {'; '.join(group.caption())}") + r"\par")
        lines.append(latex_table(_headings(), _rows(report, group)) + r"\par")
    lines += [latex_text(remark) + r"\par" for remark in (*LEGEND, *report.remarks)]
    return "\n".join(lines) + "\n"


def _html(report: Report) -> str:
    parts = []
    for group in report.groups:
        parts.append(f"<h2>{html.escape(group.name)}</h2>")
        parts += ["<ul>", *(f"<li>{html.escape(entry)}</li>" for entry in group.caption()), "</ul>"]
        parts.append(html_table(_headings(), _rows(report, group)))
    remarks = [f"<li>{html.escape(remark)}</li>" for remark in (*LEGEND, *report.remarks)]
    return html_page(report.title, [*parts, "<ul>", *remarks, "</ul>"])


_RENDER: dict[str, Callable[[Report], str]] = {
    "text": _text,
    "json": _json,
    "markdown": _markdown,
    "latex": _latex,
    "html": _html,
}


def shown_layers(depth: int, wanted: Sequence[int] = ()) -> tuple[int, ...]:
    """The layers asked for, else 1, 2, 5, 10, 20, 50, … and the last."""
    if wanted:
        return tuple(wanted)
    spread = {multiple * 10**power for power in range(7) for multiple in (1, 2, 5)}
    return tuple(sorted({layer for layer in spread if layer < depth} | {depth}))
