"""The report on moments as text, JSON, Markdown, LaTeX or HTML."""

import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from elutheory.activations.activation_function import Activation
from elutheory.derivations.proof import notation
from elutheory.derivations.proof.printing import statement_latex, statement_mathml, statement_text
from elutheory.derivations.proof.steps import equation
from elutheory.moments.verification import DIGITS_OF_CHECK, SYMBOLS, Proof, Row
from elutheory.output.document import (
    Block,
    Document,
    Formula,
    Items,
    Paragraph,
    Table,
    html_of,
    json_number,
    json_text,
    latex_of,
    markdown_of,
    shortened,
)
from elutheory.output.latex import NO_BREAK

TEXT_WIDTH = 80


@dataclass(frozen=True)
class Report:
    """What the command found for one activation function: its moments at every point, and what was verified.

    `digits`: to how many digits the moments of `rows` were certified; None if that was not asked for.
    """

    function: Activation
    rows: list[Row]
    method: str
    proof: Proof
    digits: int | None


def render(report: Report, format: str) -> str:
    """The report as text, json, markdown, latex or html."""
    if format == "json":
        return json_text(_json(report))
    return Document(_title(report), tuple(_blocks(report))).written(format, TEXT_WIDTH)


def _title(report: Report) -> str:
    if len(report.rows) == 1:
        (row,) = report.rows
        return f"{report.function} of X ~ N({row.mean.text}, {row.std.text}²)"
    return f"{report.function} of X ~ N(mean, std²)"


def _blocks(report: Report) -> Iterator[Block]:
    yield _Moments(report.function, report.rows, _formulas(report.proof))
    if report.digits is not None:
        for row in report.rows:
            moments = [(SYMBOLS[moment.name], moment.text(report.digits)) for moment in row.certified or ()]
            yield _CertifiedDigits(f"at mean {row.mean.text}, std {row.std.text}:", moments)
    yield Items(_remarks(report))


def _formulas(proof: Proof) -> dict[str, Formula]:
    """Name of a moment -> its equation, closed forms only."""
    left = {
        "mean": notation.unit_mean,
        "second_moment": notation.unit_second_moment,
        "variance": notation.unit_variance,
        "slope_mean": notation.slope_mean,
        "slope_second_moment": notation.slope_second_moment,
        "log_slope_mean": notation.log_slope_mean,
    }
    found = {}
    for name, symbol in left.items():
        formula = getattr(proof.formulas, name) if proof.formulas is not None else None
        if formula is not None and formula.is_finite is not False:
            statement = equation(symbol, formula)
            found[name] = Formula(statement_text(statement), statement_latex(statement), statement_mathml(statement))
    return found


def _remarks(report: Report) -> list[str]:
    proof = report.proof
    if proof.formulas is None:
        remarks = [
            f"no closed form: {report.function} is not piecewise polynomial × exponential, no line times Φ and no wave"
        ]
    else:
        remarks = [f"✓ closed forms: {proof.steps} steps derived and machine-checked"] if proof.steps else []
        if proof.formulas.log_slope_reason:
            remarks.append(f"E ln f': {proof.formulas.log_slope_reason}")
    remarks.append(f"values: {report.method}")
    remarks += [f"? not decided: {reason}" for reason in proof.undecided]
    if proof.deviations:
        sign = "✓" if proof.passed else "✗"
        largest = max(proof.deviations.values())
        remarks.append(f"{sign} values against certified enclosures: largest relative deviation {largest:.1e}")
    if proof.confirmed is not None:
        sign = "✓" if proof.confirmed else "✗"
        remarks.append(f"{sign} certified twice, by closed form and by rigorous integration, {DIGITS_OF_CHECK} digits")
    if report.digits is not None:
        remarks.append("digits: proved by ball arithmetic (Arb), for mean and std exactly as typed")
    return remarks


@dataclass(frozen=True)
class _Moments(Block):
    """The closed forms and the values: as text, each value of a single point under its formula; else a table."""

    function: Activation
    rows: list[Row]
    formulas: dict[str, Formula]

    @property
    def table(self) -> Table:
        """A row per point, a column per moment."""
        rows = [[row.mean.text, row.std.text, *(_short(row.values[name]) for name in SYMBOLS)] for row in self.rows]
        return Table(["mean", "std", *SYMBOLS.values()], rows, wider=20)

    def text(self, width: int) -> str:
        """Formulas and values of a single point; the table of several."""
        if len(self.rows) > 1:
            return self.table.text(width)
        lines = []
        for name, symbol in SYMBOLS.items():
            value = f"= {_value(self.rows[0].values[name])}"
            if name in self.formulas:
                right = self.formulas[name].as_text.split(f"={NO_BREAK}", 1)[1]
                wrapped = textwrap.wrap(right, width - 10, break_long_words=False)
                lines += [f"{symbol:<7} = {wrapped[0]}", *(" " * 10 + line for line in wrapped[1:])]
                lines.append(f"{'':<7} {value}")
            else:
                lines.append(f"{symbol:<7} {value}")
        return "\n".join(lines)

    def markdown(self) -> str:
        """Formulas, and the table of values."""
        return markdown_of([*self.formulas.values(), self.table])

    def latex(self) -> str:
        """The definition, formulas, and the table of values."""
        return f"\\[f(x) = {self.function.latex}\\]\n{latex_of([*self.formulas.values(), self.table])}"

    def html(self) -> str:
        """Formulas, and the table of values."""
        return html_of([*self.formulas.values(), self.table])


@dataclass(frozen=True)
class _CertifiedDigits(Block):
    """The certified digits of every moment at one point, of which `point` tells in words."""

    point: str
    moments: list[tuple[str, str]]

    def text(self, width: int) -> str:
        """A line per moment, however long."""
        lines = [f"{symbol:<7} = {digits}" for symbol, digits in self.moments]
        return "\n".join([f"certified digits {self.point}", *lines])

    def markdown(self) -> str:
        """A list."""
        return markdown_of([self._caption, self._items])

    def latex(self) -> str:
        """A paragraph per moment."""
        return latex_of([Items([self._caption.words]), self._items])

    def html(self) -> str:
        """A table."""
        return html_of([self._caption, Table(["moment", "digits"], self.moments)])

    @property
    def _caption(self) -> Paragraph:
        return Paragraph(f"Certified digits {self.point}")

    @property
    def _items(self) -> Items:
        return Items([f"{symbol} = {digits}" for symbol, digits in self.moments])


def _value(value: float) -> str:
    return "−∞" if value == -math.inf else "undefined" if math.isnan(value) else repr(value)


def _short(value: float) -> str:
    """At most nine characters."""
    return shortened(value, ".5g", ".3e") if math.isfinite(value) else _value(value)


def _json(report: Report) -> dict[str, Any]:
    return {
        "format": "elutheory/moments",
        "version": 1,
        "activation": str(report.function),
        "definition": str(report.function.expression),
        "passed": report.proof.outcome == "passed",
        "outcome": report.proof.outcome,
        "method": report.method,
        "verified_steps": report.proof.steps,
        "closed_forms": {
            name: {"text": formula.as_text.replace(NO_BREAK, " "), "latex": formula.as_latex}
            for name, formula in _formulas(report.proof).items()
        },
        "largest_relative_deviation": max(report.proof.deviations.values(), default=None),
        "rows": [
            {
                "mean": json_number(row.mean.value),
                "std": json_number(row.std.value),
                "moments": {name: json_number(value) for name, value in row.values.items()},
                "certified_digits": None
                if row.certified is None
                else {moment.name: moment.text(report.digits or 0) for moment in row.certified},
            }
            for row in report.rows
        ],
    }
