"""Derivations verify, say how far each check reaches, and no mutant of a statement survives."""

import dataclasses
import itertools
import random

import pytest
import sympy
from flint import fmpq
from sympy.matrices.expressions.matexpr import MatrixExpr

import elutheory as et
from elutheory.derivations.algebra.entries import ExplicitAlgebra, RationalFunction, RationalNumber
from elutheory.derivations.algebra.normal_form import NormalFormAlgebra
from elutheory.derivations.algebra.sample_spaces import SampleSpace
from elutheory.derivations.algebra.statements import Evaluation
from elutheory.derivations.bias_shift.unit_natural_gradient import _SETTING
from elutheory.derivations.catalogue import DERIVATIONS
from elutheory.derivations.proof.derivation import Derivation
from elutheory.derivations.proof.notation import A, InnerProduct, K, b, c, g, n, variance_q
from elutheory.derivations.proof.steps import Check, CheckError, Step, VerificationError
from tests.references.mutants import is_same_statement, mutants

ALL = sorted(DERIVATIONS)


@pytest.mark.parametrize("name", ALL)
def test_every_step_verifies(name: str) -> None:
    derivation = DERIVATIONS[name]()
    verified = derivation.verify()
    assert [v.step for v in verified] == list(derivation.steps)
    assert all(v.scopes for v in verified)


@pytest.mark.parametrize("name", ["lemma-1", "lemma-2", "theorem-1", "bias-shift", "theorem-2", "centring"])
def test_lemmas_and_theorems_are_proved_for_every_n_and_checked_in_examples(name: str) -> None:
    for verified in DERIVATIONS[name]().verify():
        assert verified.proved
        assert "every n (normal form)" in verified.scopes
        assert "n = 1…6 (random exact rationals)" in verified.scopes
        is_equation = isinstance(verified.step.statement, sympy.Eq)
        assert ("n = 1, 2, 3 (symbolic entries)" in verified.scopes) == is_equation


def test_a_check_of_fixed_sizes_is_not_called_a_proof() -> None:
    for name in ALL:
        for step in DERIVATIONS[name]().steps:
            for check in step.checks:
                assert check.proves == check.scope.startswith("every"), check.scope
    score = et.fisher_information().verify()[0]
    assert not score.proved


# --- mutants --------------------------------------------------------------------------------------------------------

EQUIVALENT = {("gaussian-units", "mean correction", "drop a factor")}  # k E_q[a] with k = 1, proved a step before


@pytest.mark.parametrize("one_in", [4, pytest.param(1, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("name", ALL)
def test_no_mutant_survives(name: str, one_in: int) -> None:
    """Another fourth of the mutants of every step."""
    derivation = DERIVATIONS[name]()
    killed = dict.fromkeys(("flip a sign", "drop a term", "drop a factor"), 0)
    survivors = []
    for index, step in enumerate(derivation.steps):
        for kind, build in itertools.islice(mutants(step.statement), index % one_in, None, one_in):
            try:
                mutant = build()
            except (ValueError, TypeError):  # sympy: the shapes do not fit
                continue
            if is_same_statement(kind, step.statement, mutant):
                continue
            if (name, step.name, kind) in EQUIVALENT:
                continue
            try:
                dataclasses.replace(derivation, steps=(dataclasses.replace(step, statement=mutant),)).verify()
            except VerificationError:
                killed[kind] = killed.get(kind, 0) + 1
            else:
                survivors.append((index + 1, kind, mutant))
    assert not survivors
    assert sum(killed.values()) >= len(derivation.steps)
    if one_in == 1:
        assert killed["flip a sign"] >= len(derivation.steps)
        assert killed["drop a factor"] > 0


@pytest.mark.parametrize("name", ["lemma-1", "theorem-1", "theorem-2", "centring"])
def test_transpose_mutants_exist_and_are_killed(name: str) -> None:
    """Where b or a mean stands transposed, dropping the transpose either does not multiply or does not verify."""
    refused, failed = 0, 0
    derivation = DERIVATIONS[name]()
    for step in derivation.steps:
        for kind, build in mutants(step.statement):
            if kind != "drop a transpose":
                continue
            try:
                mutant = build()
            except (ValueError, TypeError):
                refused += 1
                continue
            with pytest.raises(VerificationError):
                dataclasses.replace(derivation, steps=(dataclasses.replace(step, statement=mutant),)).verify()
            failed += 1
    assert refused + failed > 0


def test_each_kind_of_check_alone_catches_a_false_theorem() -> None:
    """The normal form, the symbolic entries and the random examples each refute s = c⁻¹ (1 − mᵀVar⁻¹m)."""
    step = et.theorem_1().steps[-1]
    false = step.statement.subs(step.statement.rhs, 2 - step.statement.rhs)
    for check in step.checks:
        check.run(step.statement)
        with pytest.raises(CheckError):
            check.run(false)


def test_verify_names_the_failing_step_and_check() -> None:
    theorem = et.theorem_2()
    step = theorem.steps[5]
    wrong = dataclasses.replace(step, statement=sympy.Eq(step.statement.lhs, -step.statement.rhs))
    mutant = dataclasses.replace(theorem, steps=(*theorem.steps[:5], wrong, *theorem.steps[6:]))
    with pytest.raises(VerificationError, match=r"Theorem 2.*step 6 \(theorem, shift\).*every n \(normal form\)"):
        mutant.verify()


def test_a_step_without_checks_does_not_verify() -> None:
    step = Step(sympy.Eq(c, c, evaluate=False), "because", ())
    with pytest.raises(VerificationError, match="has no machine check"):
        Derivation("x", "X", "", "", (), (step,)).verify()


def test_rendering_refuses_what_does_not_verify() -> None:
    def refute(_: sympy.Basic) -> None:
        raise CheckError("refuted")

    step = Step(sympy.Eq(sympy.Symbol("p"), sympy.Symbol("q")), "because", (Check("always", refute),))
    derivation = Derivation("x", "X", "", "", (), (step,))
    for render in (derivation.to_text, derivation.to_latex, derivation.to_markdown, derivation.to_html):
        with pytest.raises(VerificationError, match="refuted"):
            render()


# --- the algebras ---------------------------------------------------------------------------------------------------


def _normal_form() -> Evaluation:
    return Evaluation(NormalFormAlgebra(frozenset({A, K}), frozenset({c})), {})


def _is_identity(left: sympy.Basic, right: sympy.Basic) -> bool:
    evaluation = _normal_form()
    return evaluation.algebra.is_zero(evaluation.difference(sympy.Eq(left, right, evaluate=False)))


def test_normal_form_knows_what_commutes_and_what_does_not() -> None:
    scalar = InnerProduct(b.T * A.I * g)
    assert _is_identity(b.T * A.I * g * b.T, scalar * b.T)
    assert _is_identity(scalar, InnerProduct(g.T * A.I * b))  # a scalar is its own transpose
    assert _is_identity(sympy.MatMul(A, K, A.I, evaluate=False).T, A.I * K * A)
    assert not _is_identity(A * K, K * A)
    assert not _is_identity(b * g.T, g * b.T)
    assert _is_identity((b * g.T).T, g * b.T)


def test_normal_form_inverts_changes_of_rank_one_and_two() -> None:
    changed = A + b * b.T + c * g * g.T
    assert _is_identity(sympy.MatMul(sympy.Inverse(changed), changed, evaluate=False), sympy.Identity(n))


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (sympy.Inverse(A + K), "rank one"),
        (sympy.Inverse(b * b.T), "rank one"),
        (sympy.exp(c), "no rule"),
        (c ** sympy.Rational(1, 2), "no rule"),
    ],
)
def test_normal_form_refuses_what_it_cannot_decide(expression: sympy.Basic, message: str) -> None:
    with pytest.raises(CheckError, match=message):
        _normal_form().value(expression)


def test_division_by_zero_is_refused() -> None:
    with pytest.raises(CheckError, match="division by zero"):
        RationalFunction.constant(0).inverse()
    zero = InnerProduct(b.T * A * g) - InnerProduct(g.T * A * b)
    with pytest.raises(CheckError, match="division by zero"):
        _normal_form().value(1 / zero)


def test_rational_functions_are_in_lowest_terms() -> None:
    x, y = RationalFunction.quantity(0), RationalFunction.quantity(1)
    ratio = (x * x - y * y) * (x - y).inverse()
    assert ratio == x + y
    assert ((x + y) * (x + y).inverse()) == RationalFunction.constant(1)
    half = RationalFunction.constant(1, 2)
    assert (half + half) == RationalFunction.constant(1)


def test_explicit_inverse_is_exact() -> None:
    algebra = ExplicitAlgebra(3, n, RationalNumber.constant)
    entries = [[2, 1, 0], [1, 3, 1], [0, 1, 4]]
    matrix = tuple(tuple(RationalNumber(fmpq(x)) for x in row) for row in entries)
    product = algebra.multiply(matrix, algebra.inverse(matrix))
    assert product == algebra.identity(sympy.Integer(3))
    with pytest.raises(CheckError, match="singular"):
        algebra.inverse(algebra.zero(sympy.Integer(3), sympy.Integer(3)))


def test_sample_space_sums_are_honest() -> None:
    """Against explicit loops over the points, written out again."""
    space = SampleSpace.draw(2, random.Random(5))
    points = list(zip(space.probabilities, space.deltas, space.activations, strict=True))
    assert sum(space.probabilities) == 1
    c_value = sum(p * d * d for p, d, _ in points)
    q = [p * d * d / c_value for p, d, _ in points]
    assert sum(q) == 1
    mean = [sum(w * a[j] for w, (_, _, a) in zip(q, points, strict=True)) for j in range(2)]
    assert space.mean(under_q=True) == mean
    variance = sum(w * (a[0] - mean[0]) * (a[1] - mean[1]) for w, (_, _, a) in zip(q, points, strict=True))
    assert space.variance(under_q=True)[0][1] == variance
    assert space.mean(under_q=True) != space.mean(under_q=False)


def test_random_examples_give_every_block_by_its_own_sum() -> None:
    """A, b and c of the examples come from sums, not from the definitions they are there to check."""
    example = _SETTING.sample(3, random.Random(1))
    for symbol in (A, b, c, variance_q):
        assert symbol in example


def test_inner_product_takes_one_by_one_matrices_only() -> None:
    with pytest.raises(ValueError, match="1 x 1"):
        InnerProduct(b * b.T)
    assert isinstance(InnerProduct(b.T * b).args[0], MatrixExpr)
