"""The report on moments as text, JSON, Markdown, LaTeX or HTML."""

import html
import json
import math
import textwrap
from collections.abc import Callable
from typing import Any

from elutheory.activations.activation_function import Activation
from elutheory.derivations.proof import notation
from elutheory.derivations.proof.printing import statement_latex, statement_mathml, statement_text
from elutheory.derivations.proof.steps import equation
from elutheory.moments.verification import DIGITS_OF_CHECK, SYMBOLS, Proof, Row
from elutheory.output.document import html_page, html_table, latex_table, markdown_table, text_table
from elutheory.output.latex import NO_BREAK, latex_text

TEXT_WIDTH = 80


def _formulas(proof: Proof) -> dict[str, Any]:
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
            found[name] = equation(symbol, formula)
    return found


def _remarks(function: Activation, rows: list[Row], method: str, proof: Proof) -> list[str]:
    if proof.formulas is None:
        remarks = [f"no closed form: {function} is not piecewise polynomial × exponential"]
    else:
        remarks = [f"✓ closed forms: {proof.steps} steps derived and machine-checked"]
        if proof.formulas.log_slope_reason:
            remarks.append(f"E ln f': {proof.formulas.log_slope_reason}")
    remarks.append(f"values: {method}")
    if proof.deviations:
        sign = "✓" if proof.passed else "✗"
        largest = max(proof.deviations.values())
        remarks.append(f"{sign} values against certified enclosures: largest relative deviation {largest:.1e}")
    if proof.confirmed is not None:
        sign = "✓" if proof.confirmed else "✗"
        remarks.append(f"{sign} certified twice, by closed form and by rigorous integration, {DIGITS_OF_CHECK} digits")
    if rows[0].certified is not None:
        remarks.append("digits: proved by ball arithmetic (Arb), for mean and std exactly as typed")
    return remarks


def _value(value: float) -> str:
    return "−∞" if value == -math.inf else "undefined" if math.isnan(value) else repr(value)


def _headings() -> list[str]:
    return ["mean", "std", *SYMBOLS.values()]


def _table(rows: list[Row]) -> list[list[str]]:
    return [[row.mean.text, row.std.text, *(_short(row.values[name]) for name in SYMBOLS)] for row in rows]


def _short(value: float) -> str:
    """At most nine characters."""
    if not math.isfinite(value):
        return _value(value)[:9]
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.5g}"
    mantissa, exponent = f"{value:.3e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def _title(function: Activation, rows: list[Row]) -> str:
    if len(rows) == 1:
        return f"{function} of X ~ N({rows[0].mean.text}, {rows[0].std.text}²)"
    return f"{function} of X ~ N(mean, std²)"


def _digit_lines(row: Row, digits: int) -> list[tuple[str, str]]:
    return [(SYMBOLS[moment.name], moment.text(digits)) for moment in row.certified or ()]


def _text(function: Activation, rows: list[Row], method: str, proof: Proof, digits: int | None) -> str:
    lines = [_title(function, rows), ""]
    formulas = _formulas(proof)
    if len(rows) == 1:
        for name, symbol in SYMBOLS.items():
            if name in formulas:
                right = statement_text(formulas[name]).split(f"={NO_BREAK}", 1)[1]
                wrapped = textwrap.wrap(right, TEXT_WIDTH - 10, break_long_words=False)
                lines += [f"{symbol:<7} = {wrapped[0]}", *(" " * 10 + line for line in wrapped[1:])]
                lines.append(f"{'':<7} = {_value(rows[0].values[name])}")
            else:
                lines.append(f"{symbol:<7} = {_value(rows[0].values[name])}")
    else:
        lines.append(text_table(_headings(), _table(rows), TEXT_WIDTH + 20))
    for row in rows if digits is not None else ():
        lines += ["", f"certified digits at mean {row.mean.text}, std {row.std.text}:"]
        for symbol, text in _digit_lines(row, digits or 0):
            lines.append(f"{symbol:<7} = {text}")
    lines.append("")
    for remark in _remarks(function, rows, method, proof):
        lines += textwrap.wrap(remark, TEXT_WIDTH, subsequent_indent="  ")
    return "\n".join(lines).replace(NO_BREAK, " ") + "\n"


def _json(function: Activation, rows: list[Row], method: str, proof: Proof, digits: int | None) -> str:
    def number(value: float) -> float | str | None:
        return value if math.isfinite(value) else None if math.isnan(value) else ("-inf" if value < 0 else "inf")

    document = {
        "format": "elutheory/moments",
        "version": 1,
        "activation": str(function),
        "definition": str(function.expression),
        "passed": proof.passed,
        "method": method,
        "verified_steps": proof.steps,
        "closed_forms": {
            name: {"text": statement_text(formula).replace(NO_BREAK, " "), "latex": statement_latex(formula)}
            for name, formula in _formulas(proof).items()
        },
        "largest_relative_deviation": max(proof.deviations.values(), default=None),
        "rows": [
            {
                "mean": number(row.mean.value),
                "std": number(row.std.value),
                "moments": {name: number(value) for name, value in row.values.items()},
                "certified_digits": None
                if row.certified is None
                else {moment.name: moment.text(digits or 0) for moment in row.certified},
            }
            for row in rows
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _markdown(function: Activation, rows: list[Row], method: str, proof: Proof, digits: int | None) -> str:
    lines = [f"# {_title(function, rows)}", ""]
    for formula in _formulas(proof).values():
        lines += [f"$${statement_latex(formula)}$$", ""]
    lines += [markdown_table(_headings(), _table(rows)), ""]
    for row in rows if digits is not None else ():
        lines += [f"Certified digits at mean {row.mean.text}, std {row.std.text}:", ""]
        lines += [*(f"- {symbol} = {text}" for symbol, text in _digit_lines(row, digits or 0)), ""]
    return "\n".join([*lines, *(f"- {remark}" for remark in _remarks(function, rows, method, proof))]) + "\n"


def _latex(function: Activation, rows: list[Row], method: str, proof: Proof, digits: int | None) -> str:
    lines = ["% Needs amsmath and amssymb.", rf"\subsection*{{{latex_text(_title(function, rows))}}}"]
    lines += [rf"\[f(x) = {function.latex}\]"]
    for formula in _formulas(proof).values():
        lines += [r"\begin{equation*}", statement_latex(formula), r"\end{equation*}"]
    lines.append(latex_table(_headings(), _table(rows)) + r"\par")
    for row in rows if digits is not None else ():
        lines.append(latex_text(f"Certified digits at mean {row.mean.text}, std {row.std.text}:") + r"\par")
        lines += [latex_text(f"{symbol} = {text}") + r"\par" for symbol, text in _digit_lines(row, digits or 0)]
    lines += [latex_text(remark) + r"\par" for remark in _remarks(function, rows, method, proof)]
    return "\n".join(lines) + "\n"


def _html(function: Activation, rows: list[Row], method: str, proof: Proof, digits: int | None) -> str:
    parts = [statement_mathml(formula) for formula in _formulas(proof).values()]
    parts.append(html_table(_headings(), _table(rows)))
    for row in rows if digits is not None else ():
        certified = [[symbol, text] for symbol, text in _digit_lines(row, digits or 0)]
        parts.append(f"<p>Certified digits at mean {row.mean.text}, std {row.std.text}:</p>")
        parts.append(html_table(["moment", "digits"], certified))
    remarks = [f"<li>{html.escape(remark)}</li>" for remark in _remarks(function, rows, method, proof)]
    return html_page(_title(function, rows), [*parts, "<ul>", *remarks, "</ul>"])


RENDERINGS: dict[str, Callable[[Activation, list[Row], str, Proof, int | None], str]] = {
    "text": _text,
    "json": _json,
    "markdown": _markdown,
    "latex": _latex,
    "html": _html,
}
