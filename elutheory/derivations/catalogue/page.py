"""The page of numbered statements, docs/statements.md: equations and checks are read from the derivations."""

import re
import textwrap
from functools import cache

from elutheory.derivations.catalogue import PROOFS
from elutheory.derivations.catalogue.numbered_statements import PAPER_EXPERIMENTS, PARTS, NumberedStatement
from elutheory.derivations.moments.moments_of_activations import activation_moments, with_symbols
from elutheory.derivations.proof.derivation import Derivation
from elutheory.derivations.proof.printing import statement_latex
from elutheory.derivations.proof.steps import Check, Step

COMMAND = "python -m elutheory.derivations --output docs/statements.md"
_WIDTH = 120
_ROOT = ".."  # from docs/ to the repository
_INTRODUCTION = (
    "The theory of arXiv 1511.07289 (the paper) as this package states, proves and computes it. Docstrings, command "
    "output, the analyses and the report cite these numbers. F: the unit Fisher matrix, L: lemmas, B: the bias-shift "
    "correction, M: Gaussian moments, K: correlated pairs, P: signal propagation, T: training dynamics; E1–E12: what "
    "the paper ran.",
    f"This page is printed by `{COMMAND}`, which verifies every step of every derivation first; equations, assumptions "
    "and checks are the derivations' own. “Proved” is said of a machine check that decides the statement for every "
    "value of its variables; a check of fixed sizes or at points is no proof, and is named beside it.",
)


@cache
def derivations() -> dict[str, Derivation]:
    """The catalogue's derivations by name; the ELU's moments with α left a symbol."""
    symbolic = activation_moments(with_symbols("elu"))
    named = {name: place for section in PROOFS.values() for name, place in section.items()}
    return {name: symbolic if name == symbolic.identifier else place() for name, place in named.items()}


def numbers_of(derivation: Derivation) -> set[str]:
    """The numbers that a derivation is about: `F1–F3` and `P1, P3 with residual branches` are three and two."""
    text = derivation.number
    found = set(re.findall(r"[A-Z]\d+b?", text))
    for letter, first, last in re.findall(r"([A-Z])(\d+)–[A-Z](\d+)", text):
        found |= {f"{letter}{number}" for number in range(int(first), int(last) + 1)}
    return found


def statements_page() -> str:
    """The page in Markdown; nothing is verified by this call."""
    lines = ["# Numbered statements", ""]
    for paragraph in _INTRODUCTION:
        lines += [*_wrapped(paragraph), ""]
    for title, statements in PARTS.items():
        lines += [f"## {title}", ""]
        for statement in statements:
            lines += _section(statement)
    lines += ["## What the paper ran", ""]
    lines += ["| | where | what | analysis here |", "|---|---|---|---|"]
    for one in PAPER_EXPERIMENTS:
        folder = ", ".join(f"`{name}`" for name in one.analyses)
        here = "; ".join(part for part in (folder, one.remark) if part)
        lines.append(f'| <a id="{one.number.lower()}"></a>{one.number} | {one.place} | {one.what} | {here} |')
    lines += ["", *_wrapped("`python -m analyses NAME` runs an analysis, at `--preset paper` in the paper's size.")]
    return "\n".join(lines) + "\n"


def _section(statement: NumberedStatement) -> list[str]:
    known = derivations()
    shown = dict(statement.equations)
    lines = [f"### {statement.number}", "", *_wrapped(statement.sentence), ""]
    for name, steps in shown.items():
        for step in _steps(known[name], steps):
            lines += ["```math", statement_latex(step.statement, dict(known[name].names)), "```", ""]
    if statement.quoted:
        lines += ["```math", statement.quoted.formula, "```", ""]
    for name, steps in shown.items():
        for assumption in known[name].assumptions:
            lines += _item(f"Given: {assumption.meaning}")
        lines += _item(f"Derived in {_named(name)}, {known[name].source}: {_strength(_steps(known[name], steps))}.")
    if statement.quoted:
        what = "The last equation is quoted" if shown else "Quoted"
        lines += _item(f"{what}, not derived here: {statement.quoted.source}.")
    others = [name for name, one in known.items() if statement.number in numbers_of(one) and name not in shown]
    if others:
        lines += _item(f"See also {', '.join(map(_named, others))}.")
    if statement.functions:
        lines += _item(f"Computed by {', '.join(f'`et.{name}`' for name in statement.functions)}.")
    tests = ", ".join(f"[{path}]({_ROOT}/{path})" for path in statement.tests)
    return [*lines, *_item(f"Compared in {tests}."), ""]


def _steps(derivation: Derivation, names: tuple[str, ...]) -> list[Step]:
    """The steps of these names, in their order."""
    by_name = {step.name: step for step in derivation.steps}
    return [by_name[name] for name in names]


def _named(name: str) -> str:
    (place,) = (section[name] for section in PROOFS.values() if name in section)
    return f"`{name}` (`et.{place.function}`)"


def _strength(steps: list[Step]) -> str:
    """How far the checks of these steps reach: what proves them, what else was checked, which have no proof."""
    checks = dict.fromkeys(check for step in steps for check in step.checks)
    words = []
    if proofs := _scopes(checks, proves=True):
        words.append(f"proved for {proofs}")
    if others := _scopes(checks, proves=False):
        words.append(f"also checked: {others}" if words else f"checked, not proved: {others}")
    unproved = [f"“{step.name}”" for step in steps if not any(check.proves for check in step.checks)]
    if unproved:
        words.append(f"{', '.join(unproved)} by such checks alone: the proof is the steps before it, integrated")
    return "; ".join(words)


def _scopes(checks: dict[Check, None], *, proves: bool) -> str:
    return ", ".join(dict.fromkeys(check.scope for check in checks if check.proves == proves))


def _item(text: str) -> list[str]:
    return textwrap.wrap(
        text.replace("<", r"\<"), _WIDTH, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False
    )


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text.replace("<", r"\<"), _WIDTH, break_on_hyphens=False)
