"""B1-B4 (Theorems 1 and 2 of arXiv 1511.07289): the unit natural gradient, its bias shift, and centring."""

import random
from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import sympy
from flint import fmpq

from elutheory.derivations.algebra.entries import Matrix
from elutheory.derivations.algebra.sample_spaces import SampleSpace, as_matrix
from elutheory.derivations.algebra.settings import MatrixSetting
from elutheory.derivations.bias_shift.partitioned_inverse import BORDERED, INVERSE_BLOCKS
from elutheory.derivations.proof.derivation import Derivation
from elutheory.derivations.proof.notation import (
    A,
    InnerProduct,
    K,
    Symbol,
    b,
    c,
    delta_w,
    delta_w0,
    g,
    g0,
    k,
    mean_p,
    mean_q,
    n,
    s,
    second_moment_q,
    shift,
    shift_uncorrected,
    u,
    variance_q,
)
from elutheory.derivations.proof.steps import Assumption, Step, equation

_ONE = sympy.Integer(1)
_UNIT = sympy.Identity(1)

FISHER_BLOCKS: dict[sympy.Basic, sympy.Basic] = {
    second_moment_q: variance_q + mean_q * mean_q.T,
    A: c * second_moment_q,
    b: c * mean_q,
}
# F⁻¹ (g, g0) by Lemma 1's blocks: what the theorems rewrite.
UPDATE: dict[sympy.Basic, sympy.Basic] = {
    delta_w: K * g + g0 * u,
    delta_w0: InnerProduct(u.T * g) + s * g0,
}
SHIFTS: dict[sympy.Basic, sympy.Basic] = {
    shift: InnerProduct(mean_p.T * delta_w) + delta_w0,
    shift_uncorrected: InnerProduct(mean_p.T * A.I * g) + g0 / c,
    k: (1 - InnerProduct(mean_p.T * A.I * b)) * s * c,
}


def _unit_example(size: int, generator: random.Random) -> Mapping[sympy.Basic, Matrix]:
    """Every block and moment by its own sum over the sample space, p and q different; a random gradient."""
    space = SampleSpace.draw(size, generator)
    mean, second_moment = space.mean(under_q=True), space.second_moment(under_q=True)
    return {
        mean_q: as_matrix(mean),
        second_moment_q: as_matrix(second_moment),
        variance_q: as_matrix(space.variance(under_q=True)),
        mean_p: as_matrix(space.mean(under_q=False)),
        A: as_matrix(
            [[space.expectation(lambda d, a, i=i, j=j: d**2 * a[i] * a[j]) for j in range(size)] for i in range(size)]
        ),
        b: as_matrix([space.expectation(lambda d, a, i=i: d**2 * a[i]) for i in range(size)]),
        c: as_matrix(space.c),
        g: as_matrix([fmpq(generator.randint(-9, 9), 7) for _ in range(size)]),
        g0: as_matrix(fmpq(generator.randint(1, 9), 7)),
    }


_SETTING = MatrixSetting(n, frozenset({variance_q}), FISHER_BLOCKS | INVERSE_BLOCKS | UPDATE | SHIFTS, _unit_example)
_ASSUMPTIONS = (
    Assumption(
        "F = E[δ² (a,1)(a,1)ᵀ] has the blocks A, b, c (F1), and Var_q(a) is positive definite.",
    ),
    Assumption("(g, g₀) is the gradient of the empirical risk; (Δw, Δw₀) = F⁻¹ (g, g₀), by Lemma 1."),
)


def _column(top: sympy.MatrixExpr, bottom: sympy.Expr) -> sympy.BlockMatrix:
    return sympy.BlockMatrix([[top], [bottom * _UNIT]])


@cache
def theorem_1() -> Derivation:
    """B1 (Theorem 1 of arXiv 1511.07289): the unit natural gradient `F⁻¹ (g, g0)` in closed form.

    >>> import elutheory as et
    >>> derivation = et.theorem_1()
    >>> derivation.number, derivation.steps[-1].name
    ('B1', 'theorem, s')
    """
    checks = _SETTING.checks
    by_second_moment = InnerProduct(mean_q.T * second_moment_q.I * mean_q)
    by_variance = InnerProduct(mean_q.T * variance_q.I * mean_q)
    steps = (
        Step(equation(A, c * second_moment_q), "F2: A is c times a second moment under q.", checks, "block A"),
        Step(equation(b, c * mean_q), "F2: b is c times the mean under q.", checks, "block b"),
        Step(equation(delta_w, K * g + g0 * u), "Lemma 1: upper blocks of F⁻¹ times (g, g₀).", checks, "weights by L1"),
        Step(
            equation(delta_w0, InnerProduct(u.T * g) + s * g0),
            "Lemma 1: lower blocks of F⁻¹ times (g, g₀).",
            checks,
            "bias by L1",
        ),
        Step(
            equation(
                sympy.MatMul(BORDERED, _column(delta_w, delta_w0), evaluate=False),
                _column(g, g0),
            ),
            "The update solves F (Δw, Δw₀) = (g, g₀).",
            checks,
            "system",
        ),
        Step(
            equation(delta_w0, s * (g0 - InnerProduct(b.T * A.I * g))),
            "Theorem 1, bias: u = −s A⁻¹ b put in.",
            checks,
            "theorem, bias",
        ),
        Step(
            equation(delta_w, A.I * (g - delta_w0 * b)),
            "Theorem 1, weights: K = A⁻¹ + u uᵀ/s put in.",
            checks,
            "theorem, weights",
        ),
        Step(
            equation(s, 1 / (c - InnerProduct(b.T * A.I * b))),
            "Lemma 1: the inverse of the Schur complement of A.",
            checks,
            "Schur complement",
        ),
        Step(
            equation(s, 1 / (c * (1 - by_second_moment))),
            "A and b by their moments under q.",
            checks,
            "by second moment",
        ),
        Step(equation(s, (1 + by_variance) / c), "Theorem 1, s: Lemma 2.", checks, "theorem, s"),
    )
    return Derivation(
        "theorem-1", "Theorem 1: the unit natural gradient", "B1", "Theorem 1 of arXiv 1511.07289", _ASSUMPTIONS, steps
    )


@cache
def bias_shift_of_a_unit() -> Derivation:
    """B2 (section 2 of arXiv 1511.07289): the change of a unit's mean net input by an update.

    >>> import elutheory as et
    >>> derivation = et.bias_shift_of_a_unit()
    >>> derivation.number, derivation.steps[-1].name
    ('B2', 'with coupling')
    """
    w = sympy.MatrixSymbol("w", n, 1)
    w0 = Symbol("w0", "w₀", "w_0", real=True)

    def example(size: int, generator: random.Random) -> Mapping[sympy.Basic, Matrix]:
        weights = {w: as_matrix([fmpq(generator.randint(-5, 5)) for _ in range(size)]), w0: as_matrix(fmpq(2, 3))}
        return {**_unit_example(size, generator), **weights}

    setting = replace(_SETTING, sample=example)
    before = InnerProduct(mean_p.T * w) + w0
    after = InnerProduct(mean_p.T * (w + delta_w)) + w0 + delta_w0
    centre = (1 - InnerProduct(mean_p.T * A.I * b)) * delta_w0
    steps = (
        Step(
            equation(shift, sympy.Add(after, -before, evaluate=False)),
            "The mean net input E_p[w·a + w₀] after the update less the one before.",
            setting.checks,
            "mean net input",
        ),
        Step(
            equation(shift, InnerProduct(mean_p.T * delta_w) + delta_w0),
            "The weights' own part cancels: the bias shift of the unit.",
            setting.checks,
            "bias shift",
        ),
        Step(
            equation(shift_uncorrected, InnerProduct(mean_p.T * A.I * g) + g0 / c),
            "Without the coupling b the update is Δw = A⁻¹ g, Δw₀ = g₀/c.",
            setting.checks,
            "without coupling",
        ),
        Step(
            equation(shift, InnerProduct(mean_p.T * A.I * g) + centre),
            "With the coupling, Theorem 1's Δw put in.",
            setting.checks,
            "with coupling",
        ),
    )
    return Derivation(
        "bias-shift", "The bias shift of a unit", "B2", "section 2 of arXiv 1511.07289", _ASSUMPTIONS, steps
    )


@cache
def theorem_2() -> Derivation:
    """B3 (Theorem 2 of arXiv 1511.07289): the bias shift with the correction, and what vanishes at zero mean.

    >>> import elutheory as et
    >>> derivation = et.theorem_2()
    >>> derivation.number, derivation.steps[-1].name
    ('B3', 'zero mean, weights')
    """
    checks = _SETTING.checks
    by_second_moment = InnerProduct(mean_q.T * second_moment_q.I * mean_q)
    through_p = InnerProduct(mean_p.T * second_moment_q.I * mean_q)
    corrected_mean = InnerProduct((mean_p.T - k * mean_q.T) * A.I * g)
    zero_mean = replace(
        _SETTING,
        definitions={**_SETTING.definitions, mean_q: sympy.ZeroMatrix(n, 1)},
        sample=_centred_example,
    )
    steps = (
        Step(
            equation(shift, InnerProduct(mean_p.T * A.I * g) + (1 - InnerProduct(mean_p.T * A.I * b)) * delta_w0),
            "B2 with Theorem 1's Δw = A⁻¹ (g − Δw₀ b).",
            checks,
            "shift by Theorem 1",
        ),
        Step(
            equation(delta_w0, s * (g0 - c * InnerProduct(mean_q.T * A.I * g))),
            "Theorem 1's Δw₀ with b = c E_q[a].",
            checks,
            "bias by Theorem 1",
        ),
        Step(
            equation(k, (1 - InnerProduct(mean_p.T * A.I * b)) * s * c),
            "The factor k collects what multiplies g₀/c.",
            checks,
            "definition of k",
        ),
        Step(
            equation(k, (1 - through_p) / (1 - by_second_moment)),
            "A⁻¹ b = E_q[aaᵀ]⁻¹ E_q[a], and s by its second-moment form.",
            checks,
            "k by second moment",
        ),
        Step(
            equation(k, 1 + InnerProduct((mean_q.T - mean_p.T) * variance_q.I * mean_q)),
            "Theorem 2, k: Lemma 2 with e = E_p[a].",
            checks,
            "theorem, k",
        ),
        Step(
            equation(shift, corrected_mean + k * g0 / c),
            "Theorem 2: the incoming mean less k E_q[a], the bias times k.",
            checks,
            "theorem, shift",
        ),
        Step(
            equation(shift - shift_uncorrected, (k - 1) * g0 / c - k * InnerProduct(mean_q.T * A.I * g)),
            "The correction itself: every term carries E_q[a], in k − 1 or openly.",
            checks,
            "correction",
        ),
        Step(equation(k, _ONE), "At E_q[a] = 0 the multiplicative correction is 1.", zero_mean.checks, "zero mean, k"),
        Step(
            equation(shift, shift_uncorrected),
            "At E_q[a] = 0 nothing is left to correct.",
            zero_mean.checks,
            "zero mean, shift",
        ),
        Step(
            equation(delta_w, A.I * g),
            "At E_q[a] = 0 the unit natural gradient decouples: weights without bias.",
            zero_mean.checks,
            "zero mean, weights",
        ),
    )
    return Derivation(
        "theorem-2", "Theorem 2: the bias-shift correction", "B3", "Theorem 2 of arXiv 1511.07289", _ASSUMPTIONS, steps
    )


def _centred_example(size: int, generator: random.Random) -> Mapping[sympy.Basic, Matrix]:
    """A sample space moved so that E_q[a] = 0 exactly; E_p[a] is not zero then."""
    space = SampleSpace.draw(size, generator)
    mean = space.mean(under_q=True)
    centred = tuple(tuple(x - m for x, m in zip(a, mean, strict=True)) for a in space.activations)
    space = replace(space, activations=centred)
    gradient = {
        g: as_matrix([fmpq(generator.randint(-9, 9), 7) for _ in range(size)]),
        g0: as_matrix(fmpq(generator.randint(1, 9), 7)),
    }
    return {
        mean_q: as_matrix(space.mean(under_q=True)),
        mean_p: as_matrix(space.mean(under_q=False)),
        variance_q: as_matrix(space.variance(under_q=True)),
        second_moment_q: as_matrix(space.second_moment(under_q=True)),
        c: as_matrix(space.c),
        **gradient,
    }


@cache
def centring() -> Derivation:
    """B4 (section 2 of arXiv 1511.07289): for activations centred under q the unit Fisher matrix is block diagonal.

    >>> import elutheory as et
    >>> derivation = et.centring()
    >>> derivation.number, derivation.steps[-1].name
    ('B4', 'bias')
    """
    checks = _SETTING.checks
    change = sympy.BlockMatrix([[sympy.Identity(n), -mean_q], [sympy.ZeroMatrix(1, n), _UNIT]])
    change_transposed = sympy.BlockMatrix([[sympy.Identity(n), sympy.ZeroMatrix(n, 1)], [-mean_q.T, _UNIT]])
    block_diagonal = sympy.BlockMatrix([[c * variance_q, sympy.ZeroMatrix(n, 1)], [sympy.ZeroMatrix(1, n), c * _UNIT]])
    steps = (
        Step(
            equation(b, c * mean_q),
            "The border of F for ã = a − E_q[a] is E[δ² ã] = b − c E_q[a], which vanishes.",
            checks,
            "border vanishes",
        ),
        Step(
            equation(A - c * mean_q * mean_q.T, c * variance_q),
            "The corner of F for ã is E[δ² ã ãᵀ], the covariance under q times c.",
            checks,
            "corner",
        ),
        Step(
            equation(sympy.MatMul(change, BORDERED, change_transposed, evaluate=False), block_diagonal),
            "With w̃₀ = w₀ + w·E_q[a] the net input is unchanged and the score turns from (δa, δ) into (δã, δ).",
            checks,
            "block diagonal",
        ),
        Step(
            equation(delta_w, variance_q.I * (g - g0 * mean_q) / c),
            "The natural gradient of the centred weights is that of the original ones.",
            checks,
            "weights",
        ),
        Step(
            equation(delta_w0, g0 / c - InnerProduct(mean_q.T * delta_w)),
            "The centred bias moves by g₀/c alone; w₀ = w̃₀ − w·E_q[a] brings it back.",
            checks,
            "bias",
        ),
    )
    return Derivation(
        "centring", "Centring decouples bias and weights", "B4", "section 2 of arXiv 1511.07289", _ASSUMPTIONS, steps
    )
