"""L1 and L2 (Lemmas 1 and 2 of arXiv 1511.07289): the inverse of a bordered matrix, and the mean against its spread."""

import random
from collections.abc import Mapping
from functools import cache

import sympy

from elutheory.derivations.algebra.entries import Matrix
from elutheory.derivations.algebra.sample_spaces import SampleSpace, as_matrix
from elutheory.derivations.algebra.settings import MatrixSetting
from elutheory.derivations.proof.derivation import Derivation
from elutheory.derivations.proof.notation import (
    A,
    InnerProduct,
    K,
    b,
    c,
    mean,
    n,
    other_mean,
    s,
    second_moment,
    u,
    variance,
)
from elutheory.derivations.proof.steps import Assumption, Step, equation

BORDERED = sympy.BlockMatrix([[A, b], [b.T, c * sympy.Identity(1)]])
BORDERED_INVERSE = sympy.BlockMatrix([[K, u], [u.T, s * sympy.Identity(1)]])
BORDERED_IDENTITY = sympy.BlockMatrix(
    [[sympy.Identity(n), sympy.ZeroMatrix(n, 1)], [sympy.ZeroMatrix(1, n), sympy.Identity(1)]]
)
INVERSE_BLOCKS: dict[sympy.Basic, sympy.Basic] = {
    s: 1 / (c - InnerProduct(b.T * A.I * b)),
    u: -s * A.I * b,
    K: A.I + u * u.T / s,
}


def _bordered_example(size: int, generator: random.Random) -> Mapping[sympy.Basic, Matrix]:
    space = SampleSpace.draw(size, generator)
    second_moment_q, mean_q = space.second_moment(under_q=True), space.mean(under_q=True)
    return {
        A: as_matrix([[space.c * entry for entry in row] for row in second_moment_q]),
        b: as_matrix([space.c * entry for entry in mean_q]),
        c: as_matrix(space.c),
    }


@cache
def lemma_1() -> Derivation:
    """L1 (Lemma 1 of arXiv 1511.07289): the inverse of `[[A, b], [bᵀ, c]]` in blocks `[[K, u], [uᵀ, s]]`.

    >>> import elutheory as et
    >>> derivation = et.lemma_1()
    >>> derivation.number, derivation.steps[-1].name
    ('L1', 'inverse')
    """
    setting = MatrixSetting(n, frozenset({A}), INVERSE_BLOCKS, _bordered_example)
    one, checks = sympy.Integer(1), setting.checks
    steps = (
        Step(
            equation(s, 1 / (c - InnerProduct(b.T * A.I * b))),
            "The Schur complement of A, inverted, is the lower right block.",
            checks,
            "Schur complement",
        ),
        Step(equation(u, -s * A.I * b), "Solving the upper right block A u + s b = 0 for u.", checks, "border"),
        Step(equation(K, A.I + u * u.T / s), "Solving the upper left block A K + b uᵀ = I for K.", checks, "corner"),
        Step(
            equation(A * K + b * u.T, sympy.Identity(n)), "Upper left block of the product.", checks, "upper left block"
        ),
        Step(equation(A * u, -s * b), "Upper right block of the product: A u + s b = 0.", checks, "upper right block"),
        Step(equation(b.T * K, -c * u.T), "Lower left block: bᵀK + c uᵀ = 0.", checks, "lower left block"),
        Step(equation(InnerProduct(b.T * u) + c * s, one), "Lower right block.", checks, "lower right block"),
        Step(
            equation(sympy.MatMul(BORDERED, BORDERED_INVERSE, evaluate=False), BORDERED_IDENTITY),
            "The four blocks together: the second matrix is the inverse of the first.",
            checks,
            "inverse",
        ),
    )
    return Derivation(
        "lemma-1",
        "Lemma 1: the inverse of a bordered matrix",
        "L1",
        "Lemma 1 of arXiv 1511.07289",
        (Assumption("A is symmetric and [[A, b], [bᵀ, c]] positive definite, so A⁻¹ exists and s > 0."),),
        steps,
    )


def _moments_example(size: int, generator: random.Random) -> Mapping[sympy.Basic, Matrix]:
    space = SampleSpace.draw(size, generator)
    return {
        mean: as_matrix(space.mean(under_q=False)),
        second_moment: as_matrix(space.second_moment(under_q=False)),
        variance: as_matrix(space.variance(under_q=False)),
        other_mean: as_matrix(space.mean(under_q=True)),
    }


@cache
def lemma_2() -> Derivation:
    """L2 (Lemma 2 of arXiv 1511.07289): `(1 − E[a]ᵀE[aaᵀ]⁻¹E[a])⁻¹` through the covariance of the activations.

    >>> import elutheory as et
    >>> derivation = et.lemma_2()
    >>> derivation.number, derivation.steps[-1].name
    ('L2', 'second equation')
    """
    definitions: dict[sympy.Basic, sympy.Basic] = {second_moment: variance + mean * mean.T}
    setting = MatrixSetting(n, frozenset({variance}), definitions, _moments_example)
    one, checks = sympy.Integer(1), setting.checks
    by_second_moment = InnerProduct(mean.T * second_moment.I * mean)
    by_variance = InnerProduct(mean.T * variance.I * mean)
    steps = (
        Step(
            equation(second_moment, variance + mean * mean.T),
            "The second moment is the covariance plus the outer product of the mean.",
            checks,
            "second moment",
        ),
        Step(
            equation(second_moment.I, variance.I - variance.I * mean * mean.T * variance.I / (1 + by_variance)),
            "Sherman–Morrison formula for this change of rank one.",
            checks,
            "Sherman-Morrison",
        ),
        Step(
            equation(by_second_moment, by_variance / (1 + by_variance)),
            "Both sides of the formula multiplied by the mean.",
            checks,
            "quadratic form",
        ),
        Step(
            sympy.Le(by_second_moment, one),
            "t/(1 + t) with t = E[a]ᵀVar(a)⁻¹E[a] ≥ 0 stays below 1, and comes as near as one likes.",
            setting.inequality_checks,
            "bound",
        ),
        Step(
            equation(1 / (1 - by_second_moment), 1 + by_variance),
            "1 − t/(1 + t) = 1/(1 + t), inverted.",
            checks,
            "first equation",
        ),
        Step(
            equation(
                (1 - InnerProduct(other_mean.T * second_moment.I * mean)) / (1 - by_second_moment),
                1 + InnerProduct((mean.T - other_mean.T) * variance.I * mean),
            ),
            "The same with any vector e, such as the mean under another distribution, on the left.",
            checks,
            "second equation",
        ),
    )
    return Derivation(
        "lemma-2",
        "Lemma 2: the mean against the spread",
        "L2",
        "Lemma 2 of arXiv 1511.07289",
        (
            Assumption("Var(a) is positive definite."),
            Assumption("e is any vector, in Theorem 2 the mean under p(z)."),
        ),
        steps,
    )
