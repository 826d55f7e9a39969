"""A proof as data: a derivation is a chain of steps, every step carries its own machine checks, and people can read it.

Written as aligned Unicode text, LaTeX, Markdown or HTML; a tick means: verified in this run.
"""

import html
import textwrap
from dataclasses import dataclass
from functools import cached_property

import sympy

from elutheory.derivations.proof.notation import Written
from elutheory.derivations.proof.printing import statement_latex, statement_mathml, statement_text
from elutheory.derivations.proof.steps import (
    Assumption,
    CheckError,
    Step,
    UndecidedCheckError,
    UndecidedError,
    VerificationError,
    VerifiedStep,
)
from elutheory.numerics.working_precision import one_thread_at_a_time
from elutheory.output.latex import NO_BREAK, latex_text

TEXT_WIDTH = 80
_LETTERS = "abcdefghij"
_ALIGNED = 12  # left sides up to this width are padded so that their signs stand in one column


@dataclass(frozen=True)
class Derivation:
    """A titled chain of machine-checked steps.

    `number` is the statement's number in the project's theory (L1, B1, …; docs/statements.md lists them), `source` the
    place in arXiv 1511.07289. `names` says how a reader's symbols are written, where not by their own names.

    >>> import elutheory as et
    >>> lemma = et.lemma_1()
    >>> lemma.number, [step.name for step in lemma.steps][-2:]
    ('L1', ['lower right block', 'inverse'])
    >>> len(lemma.verify())
    8
    """

    identifier: str
    title: str
    number: str
    source: str
    assumptions: tuple[Assumption, ...]
    steps: tuple[Step, ...]
    names: tuple[tuple[sympy.Basic, Written], ...] = ()

    def verify(self) -> tuple[VerifiedStep, ...]:
        """Run every check of every step; raise `VerificationError` on the first that fails, naming it.

        It is an `UndecidedError` where no rule decides the step: that refutes nothing. A derivation cannot change, and
        its checks have no chance in them: what has passed once is not run again.
        """
        return self._verified

    @cached_property
    def _verified(self) -> tuple[VerifiedStep, ...]:
        with one_thread_at_a_time():
            return tuple(self._verify_step(index, step) for index, step in enumerate(self.steps, start=1))

    def _verify_step(self, index: int, step: Step) -> VerifiedStep:
        place = f"{self.title}, step {index} ({step.name or step.reason})"
        if not step.checks:
            raise VerificationError(f"{place} has no machine check")
        for check in step.checks:
            try:
                check.run(step.statement)
            except UndecidedCheckError as failure:
                raise UndecidedError(f"{place} is not decided by the check «{check.scope}»: {failure}") from failure
            except CheckError as failure:
                raise VerificationError(f"{place} failed the check «{check.scope}»: {failure}") from failure
        return VerifiedStep(step, tuple(check.scope for check in step.checks), any(c.proves for c in step.checks))

    def to_text(self, width: int = TEXT_WIDTH) -> str:
        """Aligned Unicode text of at most `width` columns, every step verified and ticked.

        Raises VerificationError if a step fails, as every way of writing a derivation does.
        """
        steps = self.verify()
        legend = _legend(steps)
        names = dict(self.names)
        sides = [_sides(statement_text(verified.step.statement, names)) for verified in steps]
        letters = max(len(verified.scopes) for verified in steps)
        indent = " " * (len("12 ✓ ") + letters + 2)
        align = max((len(left) for left, _ in sides if len(left) <= _ALIGNED), default=0)
        lines = [f"{self.title}  [{self.number}]", *textwrap.wrap(f"Source: {self.source}.", width)]
        for assumption in self.assumptions:
            lines += textwrap.wrap(f"Given: {assumption.meaning}", width, subsequent_indent=" " * len("Given: "))
        lines.append("")
        for index, (verified, (left, right)) in enumerate(zip(steps, sides, strict=True), start=1):
            marks = "".join(legend[scope][0] for scope in verified.scopes)
            head = f"{index:2d} ✓ {marks:<{letters}}  "
            hanging = indent + " " * (align + 1 if len(left) <= align else 2)
            if len(left) <= align:
                whole = f"{left:<{align}} {right}"
                lines += textwrap.wrap(whole, width, initial_indent=head, subsequent_indent=hanging)
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

    def to_latex(self) -> str:
        """A LaTeX fragment (amsmath), verified: title, assumptions and one displayed equation per step."""
        lines = [rf"\subsection*{{{latex_text(self.title)} [{latex_text(self.number)}]}}"]
        lines += [rf"\noindent {latex_text(assumption.meaning)}\par" for assumption in self.assumptions]
        for verified in self.verify():
            lines.append(rf"\noindent\textit{{{latex_text(verified.step.reason)}}}")
            formula = statement_latex(verified.step.statement, dict(self.names))
            lines += [r"\begin{equation*}", formula, r"\end{equation*}"]
            lines.append(rf"\noindent{{\footnotesize Checked: {latex_text('; '.join(verified.scopes))}.}}\par")
        return "\n".join(lines) + "\n"

    def to_markdown(self) -> str:
        """Markdown with LaTeX mathematics between dollar signs, verified."""
        lines = [f"## {self.title} [{self.number}]", "", f"Source: {self.source}.", ""]
        lines += [f"- Given: {assumption.meaning}" for assumption in self.assumptions]
        for index, verified in enumerate(self.verify(), start=1):
            lines += ["", f"{index}. ✓ {verified.step.reason}", ""]
            lines += [f"   $${statement_latex(verified.step.statement, dict(self.names))}$$", ""]
            lines += [f"   Checked: {'; '.join(verified.scopes)}."]
        return "\n".join(lines) + "\n"

    def to_html(self, *, level: int = 2) -> str:
        """A self-contained HTML section with presentation MathML, its heading of this level, verified."""
        lines = [
            f'<section id="{self.identifier}">',
            f"<h{level}>{html.escape(self.title)} [{html.escape(self.number)}]</h{level}>",
            f"<p>Source: {html.escape(self.source)}.</p>",
            "<ul>",
            *(f"<li>Given: {html.escape(assumption.meaning)}</li>" for assumption in self.assumptions),
            "</ul>",
            "<ol>",
        ]
        for verified in self.verify():
            lines += [
                f"<li>✓ {html.escape(verified.step.reason)}",
                f'<div class="formula">{statement_mathml(verified.step.statement, dict(self.names))}</div>',
                f"<p><small>Checked: {html.escape('; '.join(verified.scopes))}.</small></p></li>",
            ]
        return "\n".join([*lines, "</ol>", "</section>"]) + "\n"


def _legend(steps: tuple[VerifiedStep, ...]) -> dict[str, tuple[str, str]]:
    """Scope of a check -> its letter and its line in the legend, in order of first appearance."""
    legend: dict[str, tuple[str, str]] = {}
    for verified in steps:
        for check in verified.step.checks:
            if check.scope not in legend:
                meaning = f"{check.scope}: a proof" if check.proves else f"{check.scope}: not a proof"
                legend[check.scope] = (_LETTERS[len(legend)], meaning)
    return legend


def _sides(text: str) -> tuple[str, str]:
    """The left side, and the relation sign with the right side."""
    position = next(text.index(sign) for sign in (f" ={NO_BREAK}", f" ≤{NO_BREAK}") if sign in text)
    return text[:position], text[position + 1 :]
