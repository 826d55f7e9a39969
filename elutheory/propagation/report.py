"""The report of `python -m elutheory.propagation` in every format: one table per initialisation."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from elutheory.activations.activation_function import Activation, activation, activation_names
from elutheory.output.document import (
    STATEMENTS,
    Block,
    Document,
    Heading,
    Items,
    Table,
    html_of,
    json_number,
    json_text,
    markdown_of,
    shortened,
)
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
BANDS = "±: standard deviation over random networks of this width, to leading order in 1/width (P6)"


@dataclass(frozen=True)
class Group:
    """An initialisation, and what it does to each activation."""

    name: str
    propagations: tuple[Propagation, ...]

    def caption(self) -> list[str]:
        """One entry per activation: its variances."""
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


def label(function: Activation) -> str:
    """The registry's name alone where all parameters are its defaults."""
    if function.name in activation_names() and function == activation(function.name):
        return function.name
    return str(function)


def render(report: Report, format: str) -> str:
    """The report as text, json, markdown, latex or html."""
    if format == "json":
        return json_text(_json(report))
    return Document(report.title, tuple(_blocks(report))).written(format, TEXT_WIDTH)


def _blocks(report: Report) -> Iterator[Block]:
    for group in report.groups:
        yield _Variances(group.name, group.caption())
        yield Table(["activation", *COLUMNS.values()], _rows(report, group), wider=40)
    yield Items((*LEGEND, STATEMENTS, *report.remarks))


@dataclass(frozen=True)
class _Variances(Block):
    """The name of an initialisation and its variances: on a page a list under a heading, else one sentence."""

    name: str
    variances: list[str]

    def text(self, width: int) -> str:
        """One sentence."""
        return self._sentence.text(width)

    def markdown(self) -> str:
        """A list under a heading."""
        return markdown_of([Heading(self.name), Items(self.variances)])

    def latex(self) -> str:
        """One sentence."""
        return self._sentence.latex()

    def html(self) -> str:
        """A list under a heading."""
        return html_of([Heading(self.name), Items(self.variances)])

    @property
    def _sentence(self) -> Items:
        return Items([f"{self.name}: {'; '.join(self.variances)}"])


def short(value: float) -> str:
    """At most nine characters; zero has no sign."""
    return shortened(value + 0.0, ".4g", ".2e")


def _cell(row: Any, column: str) -> str:
    value = float(row[column])
    if column in ("mean", "unit_mean_median"):
        if abs(value) < 1e-15 * math.sqrt(row["q"]):
            value = 0.0  # rounding
        if f"{column}_std" in row and not math.isnan(value):
            return f"{round(value, 3) + 0.0:.3f}±{row[f'{column}_std']:.3f}"
    return short(value)


def _records(table: Any) -> list[dict[str, Any]]:
    return table.to_dict("records")


def _rows(report: Report, group: Group) -> list[list[str]]:
    rows = []
    for propagation in group.propagations:
        shown = propagation.table[propagation.table["layer"].isin(report.layers)]
        for index, row in enumerate(_records(shown)):
            rows.append([label(propagation.activation) if index == 0 else "", *(_cell(row, name) for name in COLUMNS)])
    return rows


def _json(report: Report) -> dict[str, Any]:
    return {
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
                "layers": [{key: json_number(value) for key, value in row.items()} for row in _records(p.table)],
            }
            for group in report.groups
            for p in group.propagations
        ],
    }


def shown_layers(depth: int, wanted: Sequence[int] = ()) -> tuple[int, ...]:
    """The layers asked for, else 1, 2, 5, 10, 20, 50, … and the last."""
    if wanted:
        return tuple(wanted)
    spread = {multiple * 10**power for power in range(7) for multiple in (1, 2, 5)}
    return tuple(sorted({layer for layer in spread if layer < depth} | {depth}))
