"""Derivations for people: aligned Unicode text, LaTeX, Markdown, HTML. A tick means: verified just now."""

import html
import textwrap

import sympy

from elutheory.derivations.proof.derivation import Derivation
from elutheory.derivations.proof.printing import NO_BREAK, statement_latex, statement_mathml, statement_text
from elutheory.derivations.proof.steps import VerifiedStep

TEXT_WIDTH = 80
_LETTERS = "abcdefghij"
_ALIGNED = 12  # left sides up to this width are padded so that their signs stand in one column


def _legend(steps: tuple[VerifiedStep, ...]) -> dict[str, tuple[str, str]]:
    """Scope of a check -> its letter and its line in the legend, in order of first appearance."""
    legend: dict[str, tuple[str, str]] = {}
    for verified in steps:
        for check in verified.step.checks:
            if check.scope not in legend:
                meaning = f"{check.scope}: a proof" if check.proves else f"{check.scope}: not a proof"
                legend[check.scope] = (_LETTERS[len(legend)], meaning)
    return legend


def derivation_text(derivation: Derivation, width: int = TEXT_WIDTH) -> str:
    """Aligned Unicode text of at most `width` columns; raises `VerificationError` if a step fails."""
    steps = derivation.verify()
    legend = _legend(steps)
    sides = [_sides(verified.step.statement) for verified in steps]
    letters = max(len(verified.scopes) for verified in steps)
    indent = " " * (len("12 ✓ ") + letters + 2)
    align = max((len(left) for left, _ in sides if len(left) <= _ALIGNED), default=0)
    lines = [f"{derivation.title}  [{derivation.number}]", *textwrap.wrap(f"Source: {derivation.source}.", width)]
    for assumption in derivation.assumptions:
        lines += textwrap.wrap(f"Given: {assumption.meaning}", width, subsequent_indent=" " * len("Given: "))
    lines.append("")
    for index, (verified, (left, right)) in enumerate(zip(steps, sides, strict=True), start=1):
        marks = "".join(legend[scope][0] for scope in verified.scopes)
        head = f"{index:2d} ✓ {marks:<{letters}}  "
        hanging = indent + " " * (align + 1 if len(left) <= align else 2)
        if len(left) <= align:
            lines += textwrap.wrap(f"{left:<{align}} {right}", width, initial_indent=head, subsequent_indent=hanging)
        elif len(head) + len(left) + 1 + len(right) <= width:
            lines.append(f"{head}{left} {right}")
        else:
            lines += textwrap.wrap(left, width, initial_indent=head, subsequent_indent=hanging)
            lines += textwrap.wrap(right, width, initial_indent=hanging, subsequent_indent=hanging)
        lines += textwrap.wrap(verified.step.reason, width, initial_indent=indent, subsequent_indent=indent)
    lines.append("")
    for letter, meaning in legend.values():
        lines += textwrap.wrap(f"✓ {letter} = checked for {meaning}", width, subsequent_indent=" " * len("✓ a = "))
    return "\n".join(lines).replace(NO_BREAK, " ") + "\n"


def _sides(statement: sympy.Basic) -> tuple[str, str]:
    """The left side, and the relation sign with the right side."""
    text = statement_text(statement)
    position = next(text.index(sign) for sign in (f" ={NO_BREAK}", f" ≤{NO_BREAK}") if sign in text)
    return text[:position], text[position + 1 :]


def derivation_latex(derivation: Derivation) -> str:
    """A LaTeX fragment for amsmath; raises `VerificationError` if a step fails."""
    lines = [rf"\subsection*{{{latex_text(derivation.title)} [{latex_text(derivation.number)}]}}"]
    lines += [rf"\noindent {latex_text(assumption.meaning)}\par" for assumption in derivation.assumptions]
    for verified in derivation.verify():
        lines.append(rf"\noindent\textit{{{latex_text(verified.step.reason)}}}")
        lines += [r"\begin{equation*}", statement_latex(verified.step.statement), r"\end{equation*}"]
        lines.append(rf"\noindent{{\footnotesize Checked: {latex_text('; '.join(verified.scopes))}.}}\par")
    return "\n".join(lines) + "\n"


_LATEX_TEXT = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": "~",
    "Δ": r"$\Delta$",
    "δ": r"$\delta$",
    "Φ": r"$\Phi$",
    "φ": r"$\varphi$",
    "α": r"$\alpha$",
    "μ": r"$\mu$",
    "σ": r"$\sigma$",
    "Σ": r"$\Sigma$",
    "→": r"$\to$",
    "∞": r"$\infty$",
    "±": r"$\pm$",
    "∂": r"$\partial$",
    "′": "$'$",
    "″": "$''$",
    "³": "$^3$",
    "≠": r"$\neq$",
    "√": r"$\surd$",
    "π": r"$\pi$",
    NO_BREAK: "~",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "−": "$-$",
    "⁻¹": "$^{-1}$",
    "²": "$^2$",
    "ᵀ": r"$^\top$",
    "₀": "$_0$",
    "ã": r"$\tilde a$",
    "w̃": r"$\tilde w$",
    "…": r"\ldots{}",
    "·": r"$\cdot$",
    "–": "--",
    "✓": r"$\checkmark$",
    "✗": r"$\times$",
    "×": r"$\times$",
    "*": r"$\ast$",
    "†": r"$\dagger$",
}


def latex_text(text: str) -> str:
    """Running text in plain LaTeX, its mathematical letters in mathematics."""
    result, position = [], 0
    while position < len(text):
        size = next(size for size in (2, 1) if size == 1 or text[position : position + 2] in _LATEX_TEXT)
        piece = text[position : position + size]
        result.append(_LATEX_TEXT.get(piece, piece))
        position += size
    return "".join(result)


def derivation_markdown(derivation: Derivation) -> str:
    """Markdown with LaTeX between dollar signs; raises `VerificationError` if a step fails."""
    lines = [f"## {derivation.title} [{derivation.number}]", "", f"Source: {derivation.source}.", ""]
    lines += [f"- Given: {assumption.meaning}" for assumption in derivation.assumptions]
    for index, verified in enumerate(derivation.verify(), start=1):
        lines += ["", f"{index}. ✓ {verified.step.reason}", ""]
        lines += [
            f"   $${statement_latex(verified.step.statement)}$$",
            "",
            f"   Checked: {'; '.join(verified.scopes)}.",
        ]
    return "\n".join(lines) + "\n"


def derivation_html(derivation: Derivation, *, level: int = 2) -> str:
    """An HTML section, its heading of this level, with MathML; raises `VerificationError` if a step fails."""
    lines = [
        f'<section id="{derivation.identifier}">',
        f"<h{level}>{html.escape(derivation.title)} [{html.escape(derivation.number)}]</h{level}>",
        f"<p>Source: {html.escape(derivation.source)}.</p>",
        "<ul>",
        *(f"<li>Given: {html.escape(assumption.meaning)}</li>" for assumption in derivation.assumptions),
        "</ul>",
        "<ol>",
    ]
    for verified in derivation.verify():
        lines += [
            f"<li>✓ {html.escape(verified.step.reason)}",
            f'<div class="formula">{statement_mathml(verified.step.statement)}</div>',
            f"<p><small>Checked: {html.escape('; '.join(verified.scopes))}.</small></p></li>",
        ]
    return "\n".join([*lines, "</ol>", "</section>"]) + "\n"
