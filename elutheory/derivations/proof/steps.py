"""The parts of a proof: statements with their machine checks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sympy


class CheckError(AssertionError):
    """A machine check refuted a statement; the message says what was found."""


class UndecidedCheckError(CheckError):
    """No rule of a machine check decides the statement: it is neither proved nor refuted."""


class VerificationError(AssertionError):
    """A step of a derivation failed its check; the message names derivation, step and check.

    >>> import elutheory as et
    >>> import dataclasses
    >>> lemma = et.lemma_1()
    >>> unchecked = dataclasses.replace(lemma, steps=(dataclasses.replace(lemma.steps[0], checks=()),))
    >>> try:
    ...     unchecked.verify()
    ... except et.VerificationError as failure:
    ...     print(failure)
    ...
    Lemma 1: the inverse of a bordered matrix, step 1 (Schur complement) has no machine check
    """


class UndecidedError(VerificationError):
    """A step of a derivation was neither proved nor refuted; the message names derivation, step and check."""


def equation(left: sympy.Basic, right: sympy.Basic) -> sympy.Eq:
    """`left = right` as it is written: sympy is not asked to decide it, the machine checks do."""
    return sympy.Eq(left, right, evaluate=False)  # pyright: ignore[reportReturnType]


def sides(statement: sympy.Basic) -> tuple[Any, Any]:
    """Left and right side of an equation; raises CheckError for anything else."""
    if not isinstance(statement, sympy.Eq):
        raise CheckError(f"{statement} is not an equation")
    return statement.lhs, statement.rhs


def right_side(statement: sympy.Basic, left: sympy.Basic) -> Any:
    """The right side of an equation for `left`; raises CheckError if it is an equation for anything else."""
    if not isinstance(statement, sympy.Eq) or statement.lhs != left:
        raise CheckError(f"{statement} does not equate {left} with a formula")
    return statement.rhs


@dataclass(frozen=True)
class Check:
    """One way to test a statement, and how far the test reaches.

    `scope` says what a pass means, for example "every n (normal form)" or "n = 1, 2, 3 (symbolic entries)"; a check of
    fixed sizes is never called a proof for every n. `run(statement)` returns nothing or raises `CheckError`.

    >>> import elutheory as et
    >>> [check.scope for check in et.lemma_1().steps[-1].checks if check.proves]
    ['every n (normal form)']
    """

    scope: str
    run: Callable[[sympy.Basic], None]
    proves: bool = False  # a pass is a proof of the whole statement, not of instances of it


@dataclass(frozen=True)
class Step:
    """A statement (a sympy equation or inequality), the reason for it in one sentence, and its machine checks.

    >>> import elutheory as et
    >>> step = et.lemma_1().steps[-1]
    >>> step.name, step.reason
    ('inverse', 'The four blocks together: the second matrix is the inverse of the first.')
    """

    statement: sympy.Basic
    reason: str
    checks: tuple[Check, ...]
    name: str = ""


@dataclass(frozen=True)
class Assumption:
    """What a derivation starts from: a defining equation (or None) and its meaning in words.

    >>> import elutheory as et
    >>> et.lemma_1().assumptions[0].meaning
    'A is symmetric and [[A, b], [bᵀ, c]] positive definite, so A⁻¹ exists and s > 0.'
    """

    meaning: str
    statement: sympy.Basic | None = None


@dataclass(frozen=True)
class VerifiedStep:
    """A step together with the scopes of the checks it passed."""

    step: Step
    scopes: tuple[str, ...]
    proved: bool
