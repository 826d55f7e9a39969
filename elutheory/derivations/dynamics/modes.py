"""T3 and T4: squared error solved mode by mode; what the size and what the shape of a kernel do to the speed."""

# sympy annotates the results of its own arithmetic loosely.
# pyright: reportOperatorIssue=false, reportArgumentType=false

import random
from collections.abc import Mapping
from functools import cache

import sympy
from flint import fmpq

from elutheory.derivations.algebra.entries import Matrix
from elutheory.derivations.algebra.sample_spaces import as_matrix, inner_product, vector
from elutheory.derivations.algebra.settings import MatrixSetting
from elutheory.derivations.expectations.layer_notation import (
    eigenvalue,
    eigenvector,
    kernel_scale,
    learning_rate,
    mode_square,
    output_moment,
    relative_rate,
    residual,
    residual_later,
    residual_next,
    residual_scaled,
    symmetric_rest,
    tangent_gram,
    targets,
    top_eigenvalue,
)
from elutheory.derivations.expectations.pointwise import pointwise_checks
from elutheory.derivations.proof.derivation import Derivation
from elutheory.derivations.proof.notation import InnerProduct, n
from elutheory.derivations.proof.steps import Assumption, Step, equation

_Q = sympy.Rational
_PLACES = tuple(
    dict(zip((learning_rate, eigenvalue), map(_Q, numbers), strict=True))
    for numbers in (("2/3", "4/5"), ("7/5", "9/8"), ("1/9", "8/3"))
)


def _mode_example(size: int, generator: random.Random) -> Mapping[sympy.Basic, Matrix]:
    """A symmetric matrix with known eigenvectors, the columns of a reflection; steps taken entry by entry."""
    eigenvalues = [fmpq(generator.randint(1, 9), 2) for _ in range(size)]
    normal, targets_drawn, start = vector(size, generator), vector(size, generator), vector(size, generator)
    square = inner_product(normal, normal)
    basis = [[fmpq(i == j) - 2 * normal[i] * normal[j] / square for j in range(size)] for i in range(size)]
    gram = [
        [sum((basis[i][k] * eigenvalues[k] * basis[k][j] for k in range(size)), fmpq(0)) for j in range(size)]
        for i in range(size)
    ]
    u = [row[0] for row in basis]
    top, share, scale = max(eigenvalues) / size, fmpq(generator.randint(1, 7), 4), fmpq(generator.randint(1, 7), 3)
    rate = share / top

    def descended(values: list[fmpq], factor: fmpq = fmpq(1)) -> list[fmpq]:  # noqa: B008 (immutable)
        return [
            values[i] - rate / factor * sum((factor * gram[i][j] * values[j] for j in range(size)), fmpq(0)) / size
            for i in range(size)
        ]

    functions = [(fmpq(1, 2), start), (fmpq(1, 2), [-value for value in start])]  # two initial functions, mean zero
    moments = [[sum((p * f[i] * f[j] for p, f in functions), fmpq(0)) for j in range(size)] for i in range(size)]
    squares = [p * inner_product(u, [x - y for x, y in zip(f, targets_drawn, strict=True)]) ** 2 for p, f in functions]
    return {
        learning_rate: as_matrix(rate),
        relative_rate: as_matrix(share),
        kernel_scale: as_matrix(scale),
        eigenvalue: as_matrix(eigenvalues[0] / size),
        top_eigenvalue: as_matrix(top),
        eigenvector: as_matrix(u),
        symmetric_rest: as_matrix(gram),
        tangent_gram: as_matrix(gram),
        residual: as_matrix(start),
        residual_next: as_matrix(descended(start)),
        residual_later: as_matrix(descended(descended(start))),
        residual_scaled: as_matrix(descended(start, scale)),
        targets: as_matrix(targets_drawn),
        output_moment: as_matrix(moments),
        mode_square: as_matrix(sum(squares, fmpq(0))),
    }


@cache
def training_modes() -> Derivation:
    """T3, T4: each eigenvector of Θ/n of the residual is multiplied by `1 − ηλ` in a step; stable where `η < 2/λ_1`.

    At a given rate the speed is ηλ_k; at the best rate, a number over λ_1, it is λ_k/λ_1: a kernel as large again only
    changes which rate is best.

    >>> import elutheory as et
    >>> derivation = et.training_modes()
    >>> derivation.number, derivation.steps[-1].name
    ('T3, T4', 'shape')
    """
    square = InnerProduct(eigenvector.T * eigenvector)
    projection = sympy.Identity(n) - eigenvector * eigenvector.T / square
    # Every symmetric matrix with this eigenvector and eigenvalue nλ is of this form, the rest being the matrix itself.
    gram = n * eigenvalue / square * eigenvector * eigenvector.T + projection * symmetric_rest * projection
    after = residual - learning_rate / n * tangent_gram * residual
    definitions: dict[sympy.Basic, sympy.Basic] = {
        tangent_gram: gram,
        residual_next: after,
        residual_later: residual_next - learning_rate / n * tangent_gram * residual_next,
        residual_scaled: residual - learning_rate / kernel_scale / n * (kernel_scale * tangent_gram) * residual,
        mode_square: InnerProduct(eigenvector.T * (output_moment + targets * targets.T) * eigenvector),
    }
    symmetric = frozenset({symmetric_rest, output_moment})
    checks = MatrixSetting(n, symmetric, definitions, _mode_example).checks
    relative = {**definitions, learning_rate: relative_rate / top_eigenvalue}
    at_best = MatrixSetting(n, symmetric, relative, _mode_example).checks
    mode, mode_next, mode_later = (InnerProduct(eigenvector.T * at) for at in (residual, residual_next, residual_later))
    factor = 1 - learning_rate * eigenvalue
    steps = (
        Step(
            equation(residual_next, after),
            "Squared error |F − Y|²/2: ∂ℓ/∂F is the residual r = F − Y itself (T2).",
            checks,
            "residual",
        ),
        Step(
            equation(mode_next, factor * mode),
            "u an eigenvector of Θ/n with eigenvalue λ: its part of the residual shrinks by 1 − ηλ in a step, T3.",
            checks,
            "mode",
        ),
        Step(
            equation(mode_later, factor**2 * mode),
            "And in the next again: after t steps it is (1 − ηλ)^t of what it was.",
            checks,
            "two steps",
        ),
        Step(
            equation(1 - factor**2, learning_rate * eigenvalue * (2 - learning_rate * eigenvalue)),
            "Positive where η < 2/λ: all modes shrink just where η < 2/λ_1, the largest stable rate.",
            pointwise_checks(sympy.Integer(1), _PLACES),
            "stability",
        ),
        Step(
            equation(
                mode_square,
                InnerProduct(eigenvector.T * output_moment * eigenvector)
                + InnerProduct(eigenvector.T * targets * targets.T * eigenvector),
            ),
            "Averaged over initial functions F of mean zero and covariance E[FFᵀ] (P4): where the expected loss lies.",
            checks,
            "expected loss",
        ),
        Step(
            equation(residual_scaled, residual_next),
            "A kernel s times as large, trained at η/s, takes the same steps: its size is a learning rate in disguise.",
            checks,
            "size",
        ),
        Step(
            equation(mode_next, (1 - relative_rate * eigenvalue / top_eigenvalue) * mode),
            "At a rate of κ/λ_1, κ < 2: only the ratios λ_k/λ_1 are left, the kernel's shape. T4.",
            at_best,
            "shape",
        ),
    )
    return Derivation(
        "training-modes",
        "Squared error, mode by mode",
        "T3, T4",
        "gradient descent on a linear model",
        (
            Assumption("F and Y hold one output and its targets for n inputs; Θ is the tangent kernel, symmetric."),
            Assumption(
                "Θ u = nλu, |u| ≠ 0: then Θ is nλ uuᵀ/(uᵀu) plus a symmetric matrix R between two projections away "
                "from u. λ_1 is the largest eigenvalue of Θ/n."
            ),
        ),
        steps,
    )
