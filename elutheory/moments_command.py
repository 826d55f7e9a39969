"""Moments of an activation function of a Gaussian: closed form, value, certified digits, tables and figures.

Run as `python -m elutheory.moments` or `elutheory moments`.
"""

import html
import json
import math
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from elutheory.activations import Activation, activation
from elutheory.command_line import FAILED, VERIFIED, check_output, parse_options, run, write_whole
from elutheory.derivations.derivation import VerificationError
from elutheory.errors import InputError

if TYPE_CHECKING:
    from elutheory.certified_digits import CertifiedMoment

TEXT_WIDTH = 80
LARGEST_TABLE = 100_000
DIGITS_OF_CHECK = 25
ROUNDING = Fraction(1, 2**52)
SMALLEST_NORMAL = sys.float_info.min
SYMBOLS = {
    "mean": "E f",
    "second_moment": "E f²",
    "variance": "Var f",
    "slope_mean": "E f'",
    "slope_second_moment": "E f'²",
    "log_slope_mean": "E ln f'",
}
# What `elutheory.moments` promises, relative, beside the effect of rounding mean and std.
PROMISED = dict.fromkeys(SYMBOLS, 1e-13) | {"variance": 1e-12}


@dataclass(frozen=True)
class Options:
    """Moments of f(X), X ~ N(mean, std²): closed form, value, verification.

    Exit code 0: everything verified; 1: a check failed; 2: bad input.
    """

    activation: Annotated[str | None, tyro.conf.Positional] = None
    """Name of the activation function; elu if neither it nor --expression is given."""
    expression: str | None = None
    """Your own activation function of x, such as "where(x > 0, x, exp(x) - 1)"."""
    alpha: float | None = None
    """Parameter alpha of elu and celu (above 0)."""
    negative_slope: float | None = None
    """Parameter negative_slope of leaky_relu."""
    mean: tuple[str, ...] = ("0",)
    """Means of X: numbers, or start:stop:count."""
    std: tuple[str, ...] = ("1",)
    """Standard deviations of X: numbers, or start:stop:count."""
    digits: int | None = None
    """Print every moment to this many certified digits."""
    format: Literal["text", "json", "markdown", "latex", "html"] = "text"
    """How to print the report."""
    output: Path | None = None
    """Write the report to this file, whole or not at all, instead of printing it."""
    figure: Path | None = None
    """Draw the moments over the range of mean or std to this file (.svg, .pdf or .png)."""


@dataclass(frozen=True)
class Number:
    """A number as it was typed: exactly, and in double precision."""

    text: str
    exact: Fraction | None  # None for ±inf
    value: float


@dataclass(frozen=True)
class Row:
    """One point: values by the floating-point formulas, and certified digits if asked for."""

    mean: Number
    std: Number
    values: dict[str, float]
    certified: "tuple[CertifiedMoment, ...] | None"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0 all verified, 1 a check failed, 2 bad input."""
    return run(_command, arguments)


def _command(arguments: Sequence[str] | None) -> int:
    options = parse_options(Options, "elutheory moments", arguments)
    check_output(options.output)
    check_output(options.figure)
    function = _function(options)
    means, stds = _numbers("mean", options.mean), _numbers("std", options.std)
    if len(means) * len(stds) > LARGEST_TABLE:
        raise InputError(f"{len(means)} means × {len(stds)} stds make more than {LARGEST_TABLE} rows; ask for fewer.")
    if options.figure is not None:
        _check_figure(options.figure, means, stds)
    if options.digits is not None and not 1 <= options.digits <= 1000:
        raise InputError(f"--digits is {options.digits}; 1 to 1000 are possible.")

    rows, method = _measure(function, means, stds, options.digits)
    try:
        proof = _Proof.of(function, rows[0] if len(rows) == 1 else None)
    except VerificationError as failure:
        print(f"elutheory: {failure}.", file=sys.stderr)
        return FAILED
    text = _RENDER[options.format](function, rows, method, proof, options.digits)
    if options.figure is not None:
        _draw(function, rows, options.figure)
    if options.output is not None:
        write_whole(options.output, text)
    else:
        sys.stdout.write(text)
        sys.stdout.flush()
    if not proof.passed:
        print(
            "elutheory: a value differs from its certified enclosure; see what the report marks with ✗.",
            file=sys.stderr,
        )
        return FAILED
    return VERIFIED


# --- input ----------------------------------------------------------------------------------------------------------


def _function(options: Options) -> Activation:
    given = {
        name: value
        for name, value in (("alpha", options.alpha), ("negative_slope", options.negative_slope))
        if value is not None
    }
    if options.expression is not None:
        if options.activation is not None:
            raise InputError(f"give either the name {options.activation!r} or --expression, not both.")
        if given:
            raise InputError(
                f"--{next(iter(given)).replace('_', '-')} belongs to a named activation, not --expression."
            )
        return Activation.from_text(options.expression)
    return activation(options.activation or "elu", **given)


_NUMBER = re.compile(r"[+-]?(\d{1,400}(\.\d{0,400})?|\.\d{1,400})([eE][+-]?\d{1,3})?|[+-]?\d{1,400}/\d{1,400}")


def _number(name: str, text: str) -> Number:
    if text.lower().lstrip("+-") in ("inf", "infinity"):
        return Number(text, None, float(text))
    if not _NUMBER.fullmatch(text):
        raise InputError(f"--{name} {text!r} is no number; write one such as -1.5, 1e-3 or 2/3, or start:stop:count.")
    try:
        exact = Fraction(text)
        value = float(exact)
    except (ZeroDivisionError, OverflowError):
        raise InputError(f"--{name} {text!r} is not finite; write a finite number, inf or -inf.") from None
    return Number(text, exact, value)


def _numbers(name: str, texts: Sequence[str]) -> list[Number]:
    numbers: list[Number] = []
    for text in texts:
        if ":" not in text:
            numbers.append(_number(name, text))
            continue
        parts = text.split(":")
        if len(parts) != 3 or not re.fullmatch(r"\d{1,6}", parts[2]) or int(parts[2]) < 2:
            raise InputError(f"--{name} {text!r} is no range; write start:stop:count with a count of 2 or more.")
        start, stop, count = _number(name, parts[0]), _number(name, parts[1]), int(parts[2])
        if start.exact is None or stop.exact is None:
            raise InputError(f"--{name} {text!r} has an infinite end; a range needs finite ends.")
        for index in range(count):
            exact = start.exact + (stop.exact - start.exact) * Fraction(index, count - 1)
            numbers.append(Number(f"{float(exact):.6g}", exact, float(exact)))
    if not numbers:
        raise InputError(f"--{name} names nothing; give a number or start:stop:count.")
    return numbers


# --- values ---------------------------------------------------------------------------------------------------------


def _measure(
    function: Activation, means: list[Number], stds: list[Number], digits: int | None
) -> tuple[list[Row], str]:
    import numpy as np

    from elutheory.moments import gaussian_moments

    grid = [(mean, std) for mean in means for std in stds]
    moments = gaussian_moments(
        function, np.array([mean.value for mean, _ in grid]), np.array([std.value for _, std in grid])
    )
    columns = {name: np.asarray(getattr(moments, name)) for name in SYMBOLS}
    rows = []
    for index, (mean, std) in enumerate(grid):
        certified = None
        if digits is not None:
            certified = _certified(function, mean.exact, std.exact, digits)
        values = {name: float(column[index]) for name, column in columns.items()}
        rows.append(Row(mean, std, values, certified))
    return rows, moments.method


def _certified(
    function: Activation, mean: Fraction | None, std: Fraction | None, digits: int
) -> "tuple[CertifiedMoment, ...]":
    from flint import fmpq

    from elutheory.certified_digits import certified_moments

    if mean is None or std is None:
        raise InputError("certified digits need a finite mean and std.")
    return certified_moments(
        function, fmpq(mean.numerator, mean.denominator), fmpq(std.numerator, std.denominator), digits
    )


@dataclass(frozen=True)
class _Proof:
    """What was verified: the steps of the derivation, and each value against its certified enclosure."""

    formulas: Any  # MomentFormulas, None outside the class of M2
    steps: int
    deviations: dict[str, float]  # of the values from the certified ones, relative
    confirmed: bool | None  # closed form and integral overlap; None if there is only one route
    passed: bool

    @staticmethod
    def of(function: Activation, row: Row | None) -> "_Proof":
        """Verify the closed forms and, if there is just one point with std above 0, the values there."""
        from elutheory.activations import activation_names
        from elutheory.certified_digits import closed_forms

        formulas = closed_forms(function)
        steps = 0
        if formulas is not None:
            from elutheory.derivations.activation_moments import activation_moments

            steps = len(activation_moments(function).verify())
        has_route = formulas is not None or function.name in activation_names()
        if row is None or not has_route or not (math.isfinite(row.mean.value) and 0 < row.std.value < math.inf):
            return _Proof(formulas, steps, {}, None, True)
        mean, std = Fraction(row.mean.value), Fraction(row.std.value)
        exact = _certified(function, mean, std, DIGITS_OF_CHECK)
        deviations = {
            moment.name: _relative_deviation(moment.value, row.values[moment.name], row.values["second_moment"])
            for moment in exact
            if moment.value is not None
        }
        passed = all(deviation <= PROMISED[name] for name, deviation in deviations.items())
        if not passed:
            rounding = _effect_of_rounding(function, mean, std, exact)
            passed = all(deviation <= PROMISED[name] + rounding[name] for name, deviation in deviations.items())
        routes = [moment.confirmed for moment in exact if moment.confirmed is not None]
        confirmed = all(routes) if routes else None
        return _Proof(formulas, steps, deviations, confirmed, passed and confirmed is not False)


def _effect_of_rounding(
    function: Activation, mean: Fraction, std: Fraction, exact: "tuple[CertifiedMoment, ...]"
) -> dict[str, float]:
    """Relative change of every moment by four roundings of mean and std in their last place."""
    nearby = (
        _certified(function, mean * (1 + ROUNDING), std, DIGITS_OF_CHECK),
        _certified(function, mean, std * (1 + ROUNDING), DIGITS_OF_CHECK),
    )
    return {
        moment.name: 4 * sum(_relative_deviation(moment.value, other[index].value, math.inf) for other in nearby)
        for index, moment in enumerate(exact)
        if moment.value is not None
    }


def _relative_deviation(exact: Any, value: Any, second_moment: float) -> float:
    """Relative to the exact value; to the root-mean-square of f where that is zero, as E tanh is at mean 0."""
    from flint import arb

    from elutheory.certified_digits import precision

    with precision(DIGITS_OF_CHECK):
        difference = abs(arb(value) - exact)
        if exact.contains(0):
            return float(abs(value)) / math.sqrt(second_moment) if second_moment > 0 else 0.0
        if abs(exact) < arb(SMALLEST_NORMAL):
            return 0.0 if difference < arb(SMALLEST_NORMAL) else math.inf
        return float((difference / abs(exact)).upper())


# --- reports --------------------------------------------------------------------------------------------------------


def _formulas(proof: _Proof) -> dict[str, Any]:
    """Name of a moment -> its equation, closed forms only."""
    from elutheory.derivations import notation
    from elutheory.derivations.derivation import equation

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


def _remarks(function: Activation, rows: list[Row], method: str, proof: _Proof) -> list[str]:
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


def _text(function: Activation, rows: list[Row], method: str, proof: _Proof, digits: int | None) -> str:
    import textwrap

    from elutheory.derivations.printing import NO_BREAK, statement_text
    from elutheory.report_tables import text_table

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


def _json(function: Activation, rows: list[Row], method: str, proof: _Proof, digits: int | None) -> str:
    from elutheory.derivations.printing import NO_BREAK, statement_latex, statement_text

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


def _markdown(function: Activation, rows: list[Row], method: str, proof: _Proof, digits: int | None) -> str:
    from elutheory.derivations.printing import statement_latex
    from elutheory.report_tables import markdown_table

    lines = [f"# {_title(function, rows)}", ""]
    for formula in _formulas(proof).values():
        lines += [f"$${statement_latex(formula)}$$", ""]
    lines += [markdown_table(_headings(), _table(rows)), ""]
    for row in rows if digits is not None else ():
        lines += [f"Certified digits at mean {row.mean.text}, std {row.std.text}:", ""]
        lines += [*(f"- {symbol} = {text}" for symbol, text in _digit_lines(row, digits or 0)), ""]
    return "\n".join([*lines, *(f"- {remark}" for remark in _remarks(function, rows, method, proof))]) + "\n"


def _latex(function: Activation, rows: list[Row], method: str, proof: _Proof, digits: int | None) -> str:
    from elutheory.derivations.printing import statement_latex
    from elutheory.derivations.rendering import latex_text
    from elutheory.report_tables import latex_table

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


def _html(function: Activation, rows: list[Row], method: str, proof: _Proof, digits: int | None) -> str:
    from elutheory.derivations.printing import statement_mathml
    from elutheory.report_tables import html_page, html_table

    parts = [statement_mathml(formula) for formula in _formulas(proof).values()]
    parts.append(html_table(_headings(), _table(rows)))
    for row in rows if digits is not None else ():
        certified = [[symbol, text] for symbol, text in _digit_lines(row, digits or 0)]
        parts.append(f"<p>Certified digits at mean {row.mean.text}, std {row.std.text}:</p>")
        parts.append(html_table(["moment", "digits"], certified))
    remarks = [f"<li>{html.escape(remark)}</li>" for remark in _remarks(function, rows, method, proof)]
    return html_page(_title(function, rows), [*parts, "<ul>", *remarks, "</ul>"])


_RENDER: dict[str, Callable[[Activation, list[Row], str, _Proof, int | None], str]] = {
    "text": _text,
    "json": _json,
    "markdown": _markdown,
    "latex": _latex,
    "html": _html,
}


# --- figure ---------------------------------------------------------------------------------------------------------


def _check_figure(figure: Path, means: list[Number], stds: list[Number]) -> None:
    if figure.suffix.lower() not in (".svg", ".pdf", ".png"):
        raise InputError(f"--figure {figure} has no known ending; .svg, .pdf and .png can be drawn.")
    if len(means) < 2 and len(stds) < 2:
        raise InputError("--figure needs several means or stds; give a range such as --mean -4:4:161.")
    if any(number.exact is None for number in (*means, *stds)):
        raise InputError("--figure needs finite means and stds.")


def _draw(function: Activation, rows: list[Row], figure: Path) -> None:
    """Six panels, a moment each, over mean (one curve a std) or, with one mean, over std."""
    import io

    import matplotlib

    matplotlib.use("Agg")
    import seaborn
    from matplotlib.figure import Figure

    means = sorted({row.mean.value for row in rows})
    stds = sorted({row.std.value for row in rows})
    over_mean = len(means) >= len(stds)
    across, along = ("mean", "std") if over_mean else ("std", "mean")
    curves = stds if over_mean else means
    palette = seaborn.color_palette("viridis", len(curves)) if len(curves) > 1 else ["#0072B2"]
    with matplotlib.rc_context(
        {"svg.hashsalt": "elutheory", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    ):
        drawing = Figure(figsize=(7.2, 4.6), layout="constrained")
        panels = drawing.subplots(2, 3, sharex=True)
        for panel, (name, symbol) in zip(panels.flat, SYMBOLS.items(), strict=True):
            for colour, level in zip(palette, curves, strict=True):
                points = sorted(
                    (getattr(row, across).value, row.values[name]) for row in rows if getattr(row, along).value == level
                )
                shown = [(x, y) for x, y in points if math.isfinite(y)]
                if shown:
                    panel.plot(*zip(*shown, strict=True), color=colour, linewidth=1.4, label=f"{along} {level:g}")
            if not panel.lines:
                panel.text(0.5, 0.5, "no finite value", transform=panel.transAxes, ha="center", color="0.4")
            panel.set_title(symbol)
            panel.axhline(0, color="0.8", linewidth=0.6, zorder=0)
        for panel in panels[1]:
            panel.set_xlabel(f"{across} of X (net-input units)")
        if 1 < len(curves) <= 8:
            handles, labels = panels.flat[0].get_legend_handles_labels()
            drawing.legend(handles, labels, loc="outside right upper", frameon=False)
        drawing.suptitle(f"{function} of X ~ N(mean, std²)")
        buffer = io.BytesIO()
        kind = figure.suffix.lower()[1:]
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[kind]
        drawing.savefig(buffer, format=kind, dpi=200, metadata=metadata)
    write_whole(figure, buffer.getvalue())
