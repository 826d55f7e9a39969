"""Statements as one line of Unicode text, as LaTeX, and as presentation MathML.

A function may print itself: sympy's printers ask it for `_latex` and `_mathml_presentation`, the text printer for
`_statement_text`; `is_last_factor` puts it after its coefficients.
"""

# sympy annotates its printers' methods by what its own versions happen to return.
# pyright: reportIncompatibleMethodOverride=false, reportAttributeAccessIssue=false, reportArgumentType=false

import html
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import sympy
from sympy.core.function import AppliedUndef
from sympy.matrices.expressions.matexpr import MatrixExpr
from sympy.printing.latex import LatexPrinter
from sympy.printing.mathml import MathMLPresentationPrinter
from sympy.printing.precedence import PRECEDENCE
from sympy.printing.str import StrPrinter

from elutheory.derivations.proof.notation import InnerProduct, Written, written
from elutheory.output.latex import NO_BREAK

_PRIMES = {1: "′", 2: "″"}
_SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_SHORT_BRACKET = 24

Names = Mapping[sympy.Basic, Written]  # how symbols that are not the derivations' own are written
_OWN_NAMES: Names = MappingProxyType({})


class TextPrinter(StrPrinter):
    """One line of Unicode: `Δw = A⁻¹ (g − Δw₀ b)`."""

    printmethod = "_statement_text"

    def __init__(self, names: Names) -> None:
        super().__init__()
        self._names = names

    def _print_Symbol(self, expr: Any) -> str:
        form = self._names.get(expr) or written(expr)
        return form.text if form else expr.name

    _print_MatrixSymbol = _print_Symbol

    def _print_InnerProduct(self, expr: Any) -> str:
        return self._print(expr.args[0])

    def _print_Identity(self, expr: Any) -> str:
        return "I" if expr.rows != 1 else "1"

    def _print_ZeroMatrix(self, expr: Any) -> str:
        return "0"

    def _print_BlockMatrix(self, expr: Any) -> str:
        grid = expr.args[0]
        rows, columns = grid.shape
        lines = [f",{NO_BREAK}".join(self._print(grid[i, j]) for j in range(columns)) for i in range(rows)]
        return "[" + f";{NO_BREAK}".join(lines) + "]"

    def _print_Transpose(self, expr: Any) -> str:
        return self.parenthesize(expr.args[0], PRECEDENCE["Pow"]) + "ᵀ"

    def _print_Inverse(self, expr: Any) -> str:
        return self.parenthesize(expr.args[0], PRECEDENCE["Pow"]) + "⁻¹"

    def _print_Pow(self, expr: Any, rational: bool = False) -> str:
        if expr.exp == -1:
            return self._print_Mul(expr)
        if isinstance(expr.exp, sympy.Integer) and expr.exp > 0:
            base = self.parenthesize(expr.base, PRECEDENCE["Pow"])
            return base + str(expr.exp).translate(_SUPERSCRIPTS)
        if expr.exp == sympy.Rational(1, 2):
            return f"√({self._print(expr.base)})"
        if expr.exp.could_extract_minus_sign():
            return self._print_Mul(expr)
        exponent = self._print(expr.exp).replace(" ", NO_BREAK)
        exponent = exponent if expr.exp.is_Symbol else f"({exponent})"
        return f"{self.parenthesize(expr.base, PRECEDENCE['Pow'])}^{exponent}"

    def _print_Mul(self, expr: Any) -> str:
        coefficient, numerator, denominator = _factors(expr)
        sign = "−" if coefficient < 0 else ""
        coefficient = abs(coefficient)
        above = [str(coefficient.p)] if coefficient.p != 1 else []
        below = [str(coefficient.q)] if coefficient.q != 1 else []
        numerator.sort(key=_is_last_factor)
        above += [self._factor_text(factor) for factor in numerator]
        below += [self.parenthesize(factor, PRECEDENCE["Mul"], strict=True) for factor in denominator]
        top = NO_BREAK.join(above) or "1"
        if not below:
            return sign + top
        simple = len(below) == 1 and (not denominator or _is_atomic(denominator[0]) or below[0].startswith("("))
        return f"{sign}{top}/{below[0]}" if simple else f"{sign}{top}/({NO_BREAK.join(below)})"

    _print_MatMul = _print_Mul

    def _factor_text(self, factor: Any) -> str:
        """A factor, in brackets where needed; a short bracket is not broken over lines."""
        text = self.parenthesize(factor, PRECEDENCE["Mul"], strict=True)
        return text.replace(" ", NO_BREAK) if isinstance(factor, sympy.Add) and len(text) <= _SHORT_BRACKET else text

    def _print_Integer(self, expr: Any) -> str:
        return str(expr).replace("-", "−")

    def _print_Add(self, expr: Any, order: Any = None) -> str:
        terms = sorted((self._print(term) for term in expr.args), key=lambda text: text.startswith("−"))
        return terms[0] + "".join(
            f" −{NO_BREAK}{term[1:]}" if term.startswith("−") else f" +{NO_BREAK}{term}" for term in terms[1:]
        )

    _print_MatAdd = _print_Add

    def _print_Relational(self, expr: Any) -> str:
        sign = {"==": "=", "<=": "≤", "<": "<", ">=": "≥", ">": ">"}[expr.rel_op]
        return f"{self._print(expr.lhs)} {sign}{NO_BREAK}{self._print(expr.rhs)}"

    def _print_Indexed(self, expr: Any) -> str:
        return f"{self._print(expr.base.label)}_{''.join(self._print(index) for index in expr.indices)}"

    def _print_Sum(self, expr: Any) -> str:
        (limits,) = expr.limits
        return f"Σ_{limits[0]}{NO_BREAK}{self.parenthesize(expr.function, PRECEDENCE['Mul'], strict=True)}"

    def _print_Derivative(self, expr: Any) -> str:
        if isinstance(expr.expr, AppliedUndef):
            order = sum(count for _, count in expr.variable_count)
            return self._print(expr.expr).replace("(", f"{_PRIMES[int(order)]}(", 1)
        ((variable, count),) = expr.variable_count
        power = "" if count == 1 else str(count).translate(_SUPERSCRIPTS)
        return f"∂{power}({self._print(expr.expr)})/∂{self._print(variable)}{power}"

    def _print_Pi(self, expr: Any) -> str:
        return "π"

    def _print_Exp1(self, expr: Any) -> str:
        return "e"

    def _print_exp(self, expr: Any) -> str:
        return self._applied("exp", expr)

    def _print_log(self, expr: Any) -> str:
        return self._applied("ln", expr)

    def _applied(self, name: str, expr: Any) -> str:
        return f"{name}({self._print(expr.args[0])})".replace(" ", NO_BREAK)


def _is_last_factor(factor: sympy.Basic) -> bool:
    """Moments, and functions that say so (Φ and φ), stand after their coefficients."""
    if isinstance(factor, sympy.Symbol):
        form = written(factor)
        return form is not None and form.text.startswith(("E[", "T"))
    return getattr(factor, "is_last_factor", False)


def _positive_terms_first(expression: Any) -> list[Any]:
    return sorted(expression.args, key=lambda term: bool(_factors(term)[0] < 0))


def _is_atomic(expression: sympy.Basic) -> bool:
    return isinstance(expression, (sympy.Symbol, sympy.MatrixSymbol, sympy.Pow, sympy.Integer))


def _factors(expression: Any) -> tuple[Any, list[Any], list[Any]]:
    """Rational coefficient, factors above the bar and factors below it; a 1 x 1 identity is dropped."""
    coefficient, numerator, denominator = sympy.Integer(1), [], []
    pending = [expression]
    while pending:
        factor = pending.pop(0)
        if isinstance(factor, (sympy.Mul, sympy.MatMul)):
            pending[:0] = factor.args
        elif isinstance(factor, sympy.Rational):
            coefficient = coefficient * factor
        elif isinstance(factor, sympy.Identity) and factor.rows == 1 and expression != factor:
            continue
        elif isinstance(factor, sympy.Pow) and factor.exp.could_extract_minus_sign():
            denominator.append(factor.base if factor.exp == -1 else sympy.Pow(factor.base, -factor.exp))
        else:
            numerator.append(factor)
    return coefficient, numerator, denominator


class StatementLatexPrinter(LatexPrinter):
    """LaTeX with the derivations' notation: transposes as `^\\top`, 1 x 1 products as scalars."""

    def __init__(self, names: Names) -> None:
        super().__init__({"ln_notation": True})
        self._names = names

    def _print_Symbol(self, expr: Any, style: str = "plain") -> str:
        form = self._names.get(expr) or written(expr)
        return form.latex if form else super()._print_Symbol(expr, style)

    def _print_MatrixSymbol(self, expr: Any) -> str:
        form = written(expr)
        return form.latex if form else expr.name

    def _print_InnerProduct(self, expr: Any, exp: str | None = None) -> str:
        inside = self._print(expr.args[0])
        return inside if exp is None else rf"\left({inside}\right)^{{{exp}}}"

    def _print_Identity(self, expr: Any) -> str:
        return "1" if expr.rows == 1 else "I"

    def _print_ZeroMatrix(self, expr: Any) -> str:
        return "0"

    def _print_Transpose(self, expr: Any) -> str:
        return self._with_exponent(expr.args[0], r"\top")

    def _print_Inverse(self, expr: Any) -> str:
        return self._with_exponent(expr.args[0], "-1")

    def _with_exponent(self, base: Any, exponent: str) -> str:
        inside = self._print(base)
        return f"{inside}^{{{exponent}}}" if base.is_symbol else rf"\left({inside}\right)^{{{exponent}}}"

    def _as_ordered_terms(self, expr: Any, order: Any = None) -> list[Any]:
        return _positive_terms_first(expr)

    def _print_MatAdd(self, expr: Any) -> str:
        terms = [self._print(term) for term in _positive_terms_first(expr)]
        return terms[0] + "".join(f" {term}" if term.startswith("-") else f" + {term}" for term in terms[1:])

    def _print_BlockMatrix(self, expr: Any) -> str:
        grid = expr.args[0]
        rows, columns = grid.shape
        lines = [" & ".join(self._print(_without_unit(grid[i, j])) for j in range(columns)) for i in range(rows)]
        return r"\begin{bmatrix}" + r" \\ ".join(lines) + r"\end{bmatrix}"

    def _print_MatMul(self, expr: Any) -> str:
        return (
            super()._print_MatMul(_without_unit(expr))
            if isinstance(_without_unit(expr), sympy.MatMul)
            else (self._print(_without_unit(expr)))
        )

    def _print_Indexed(self, expr: Any) -> str:
        form = written(expr.base.label)
        return f"{form.latex if form else expr.base.label}_{{{''.join(self._print(index) for index in expr.indices)}}}"


def _without_unit(expression: Any) -> Any:
    """`c * Identity(1)` as the scalar `c`."""
    if isinstance(expression, sympy.MatMul) and expression.shape == (1, 1):
        factors = [factor for factor in expression.args if not isinstance(factor, sympy.Identity)]
        if not any(isinstance(factor, MatrixExpr) for factor in factors):
            return sympy.Mul(*factors)
    return expression


# A run of letters with an optional subscript and an optional mark, or any other sign.
_MARKS = {"ᵀ": [("msup", "⊤")], "²": [("msup", "2")], "₀": [("msub", "0")]}
_NAME_PARTS = re.compile(r"([^\W\d_ᵀ₀²]+)(?:_([^\W_]+))?([ᵀ₀²])?|(\S)")


class StatementMathmlPrinter(MathMLPresentationPrinter):
    """Presentation MathML with the derivations' notation."""

    def __init__(self, names: Names) -> None:
        super().__init__()
        self._names = names

    def _named(self, text: str) -> Any:
        """`E_q[a_j]`, `g₀` or `aaᵀ` as a row of identifiers, subscripts, superscripts and brackets."""
        row = self.dom.createElement("mrow")
        for name, subscript, mark, sign in _NAME_PARTS.findall(text):
            element = self._leaf("mi" if name else "mo", name or sign)
            if sign:
                element.setAttribute("stretchy", "false")
            scripts = [("msub", subscript)] if subscript else []
            for tag, leaf in (*scripts, *_MARKS.get(mark, ())):
                script = self.dom.createElement(tag)
                script.appendChild(element)
                script.appendChild(self._leaf("mi", leaf))
                element = script
            row.appendChild(element)
        return row

    def _leaf(self, tag: str, text: str) -> Any:
        element = self.dom.createElement(tag)
        element.appendChild(self.dom.createTextNode(html.escape(text, quote=False)))  # sympy writes nodes as they are
        return element

    def _print_Symbol(self, sym: Any, style: str = "plain") -> Any:
        form = self._names.get(sym) or written(sym)
        return self._named(form.text) if form else super()._print_Symbol(sym, style)

    def _print_MatrixSymbol(self, sym: Any) -> Any:
        form = written(sym)
        return self._named(form.text if form else sym.name)

    def _print_Transpose(self, expr: Any) -> Any:
        return self._with_exponent(expr.args[0], "⊤")

    def _print_Inverse(self, expr: Any) -> Any:
        return self._with_exponent(expr.args[0], "−1")

    def _with_exponent(self, base: Any, exponent: str) -> Any:
        power = self.dom.createElement("msup")
        power.appendChild(self.parenthesize(base, PRECEDENCE["Pow"]))
        power.appendChild(self._leaf("mn" if exponent[-1].isdigit() else "mo", exponent))
        return power

    def _as_ordered_terms(self, expr: Any, order: Any = None) -> list[Any]:
        return _positive_terms_first(expr)

    def _print_InnerProduct(self, expr: Any) -> Any:
        return self._print(expr.args[0])

    def _print_Identity(self, expr: Any) -> Any:
        return self._leaf("mi", "I") if expr.rows != 1 else self._leaf("mn", "1")

    def _print_ZeroMatrix(self, expr: Any) -> Any:
        return self._leaf("mn", "0")

    def parenthesize(self, item: Any, level: int, strict: bool = False) -> Any:
        """As sympy's, but scalars of 1 x 1 products need no brackets."""
        return self._print(item) if isinstance(item, InnerProduct) else super().parenthesize(item, level, strict)

    def _print_MatMul(self, expr: Any) -> Any:
        coefficient, numerator, denominator = _factors(expr)
        if abs(coefficient.p) != 1:
            numerator.insert(0, sympy.Integer(abs(coefficient.p)))
        if coefficient.q != 1:
            denominator.insert(0, sympy.Integer(coefficient.q))
        numerator = numerator or [sympy.Integer(1)]
        product = self._product(numerator)
        if denominator:
            fraction = self.dom.createElement("mfrac")
            for part in (numerator, denominator):
                fraction.appendChild(self._print(part[0]) if len(part) == 1 else self._product(part))
            product = fraction
        if coefficient > 0:
            return product
        row = self.dom.createElement("mrow")
        row.appendChild(self._leaf("mo", "−"))
        row.appendChild(product)
        return row

    def _print_MatAdd(self, expr: Any) -> Any:
        row = self.dom.createElement("mrow")
        for index, term in enumerate(_positive_terms_first(expr)):
            is_negative = _factors(term)[0] < 0
            if is_negative or index:
                row.appendChild(self._leaf("mo", "−" if is_negative else "+"))
            row.appendChild(self._print(sympy.MatMul(-1, term).doit(deep=False) if is_negative else term))
        return row

    def _product(self, factors: list[Any]) -> Any:
        row = self.dom.createElement("mrow")
        for index, factor in enumerate(factors):
            if index:
                row.appendChild(self._leaf("mo", "\N{INVISIBLE TIMES}"))
            row.appendChild(self.parenthesize(factor, PRECEDENCE["Mul"], strict=True))
        return row

    def _print_BlockMatrix(self, expr: Any) -> Any:
        grid = expr.args[0]
        rows, columns = grid.shape
        table = self.dom.createElement("mtable")
        for i in range(rows):
            line = self.dom.createElement("mtr")
            for j in range(columns):
                cell = self.dom.createElement("mtd")
                cell.appendChild(self._print(_without_unit(grid[i, j])))
                line.appendChild(cell)
            table.appendChild(line)
        row = self.dom.createElement("mrow")
        for element in (self._leaf("mo", "["), table, self._leaf("mo", "]")):
            row.appendChild(element)
        return row

    def _print_Indexed(self, expr: Any) -> Any:
        form = written(expr.base.label)
        element = self.dom.createElement("msub")
        element.appendChild(self._leaf("mi", form.text if form else str(expr.base.label)))
        element.appendChild(self._leaf("mi", "".join(str(index) for index in expr.indices)))
        return element


def statement_text(statement: sympy.Basic, names: Names = _OWN_NAMES) -> str:
    """One line of Unicode text; factors are joined by no-break spaces.

    Symbols of `proof.notation` are written as they say, other symbols as `names` says or else by their own name.
    """
    return TextPrinter(names).doprint(statement)


def statement_latex(statement: sympy.Basic, names: Names = _OWN_NAMES) -> str:
    """LaTeX without dollar signs; symbols as in `statement_text`, a name that says nothing else as sympy writes it."""
    return StatementLatexPrinter(names).doprint(statement)


def statement_mathml(statement: sympy.Basic, names: Names = _OWN_NAMES) -> str:
    """A `<math display="block">` element, well-formed XML; symbols as in `statement_text`."""
    printer = StatementMathmlPrinter(names)
    named_entity = r"&(?!amp;|lt;|gt;|quot;)\w+;"  # known to HTML, not to XML
    body = re.sub(named_entity, lambda entity: html.unescape(entity[0]), printer._print(statement).toxml())
    body = body.replace("<mo>-</mo>", "<mo>−</mo>")
    return f'<math xmlns="http://www.w3.org/1998/Math/MathML" display="block">{body}</math>'
