"""B1 and B3 for i.i.d. ELU units with Gaussian net inputs: the correction as a function of (alpha, mu, sigma, n)."""

import random
from collections.abc import Mapping
from functools import cache, partial
from typing import Any

import sympy

from elutheory.derivations.algebra.entries import Matrix
from elutheory.derivations.algebra.sample_spaces import SampleSpace, as_matrix
from elutheory.derivations.algebra.settings import MatrixSetting
from elutheory.derivations.expectations.checks import DIGITS, Node, Point, check_value, quadrature
from elutheory.derivations.expectations.layer_notation import ones
from elutheory.derivations.moments.moments_of_activations import moment_formulas, with_symbols
from elutheory.derivations.proof.derivation import Derivation
from elutheory.derivations.proof.notation import (
    InnerProduct,
    alpha,
    c,
    k,
    mean_p,
    mean_q,
    mu,
    n,
    s,
    second_moment_q,
    sigma,
    unit_mean,
    unit_second_moment,
    unit_variance,
    variance_q,
)
from elutheory.derivations.proof.steps import Assumption, Check, Step, equation, right_side

_ELU = with_symbols("elu")
_POINTS = tuple(
    Point(tuple(zip((alpha, mu, sigma), map(sympy.Rational, numbers), strict=True)))
    for numbers in (("1", "0", "1"), ("3/2", "-7/4", "3/4"), ("1/4", "5/4", "9/4"))
)


def _power_of_value(power: int, node: Node) -> Any:
    return node.value**power


_POWERS = {power: partial(_power_of_value, power) for power in (1, 2)}


def _matches_quadrature(power: int, statement: sympy.Basic) -> None:
    """Compare the right side with `E f^power` by quadrature of the activation's own definition."""
    formula = right_side(statement, {1: unit_mean, 2: unit_second_moment}[power])
    for point in _POINTS:
        check_value(formula, point, quadrature(_ELU, point, _POWERS[power]))


def _units_example(size: int, generator: random.Random) -> Mapping[sympy.Basic, Matrix]:
    space = SampleSpace.draw(1, generator)
    return {
        unit_mean: as_matrix(space.mean(under_q=False)),
        unit_second_moment: as_matrix(space.second_moment(under_q=False)),
        c: as_matrix(space.c),
    }


@cache
def gaussian_units() -> Derivation:
    """B1, B3, M3, M4: `s c` and `k E_q[a]` for n i.i.d. ELU units with net inputs `N(mu, sigma²)` and q = p.

    >>> import elutheory as et
    >>> derivation = et.gaussian_units()
    >>> derivation.number, derivation.steps[-1].name
    ('B1, B3, M3, M4', 'M4')
    """
    definitions: dict[sympy.Basic, sympy.Basic] = {
        unit_variance: unit_second_moment - unit_mean**2,
        mean_q: unit_mean * ones,
        mean_p: unit_mean * ones,
        variance_q: unit_variance * sympy.Identity(n),
        second_moment_q: variance_q + mean_q * mean_q.T,
        s: (1 + InnerProduct(mean_q.T * variance_q.I * mean_q)) / c,
        k: 1 + InnerProduct((mean_q.T - mean_p.T) * variance_q.I * mean_q),
    }
    elu = moment_formulas(_ELU)
    setting = MatrixSetting(n, frozenset(), definitions, _units_example, ones=ones)
    checks = setting.checks

    def moment_check(power: int) -> tuple[Check, ...]:
        scope = f"{len(_POINTS)} points (quadrature, {DIGITS} digits)"
        return (Check(scope, partial(_matches_quadrature, power)),)

    steps = (
        Step(equation(mean_q, unit_mean * ones), "Identically distributed: every unit has E[f].", checks, "mean"),
        Step(
            equation(variance_q, unit_variance * sympy.Identity(n)),
            "Independent units: the covariance is Var[f] times the identity.",
            checks,
            "covariance",
        ),
        Step(
            equation(s * c, 1 + n * unit_mean**2 / unit_variance),
            "Theorem 1's s: the strength grows with fan-in and squared mean.",
            checks,
            "s c",
        ),
        Step(equation(k, sympy.Integer(1)), "q = p leaves no multiplicative correction.", checks, "k"),
        Step(
            equation(k * mean_q, unit_mean * ones),
            "Theorem 2's correction of the incoming mean is the mean itself.",
            checks,
            "mean correction",
        ),
        Step(
            equation(unit_variance, unit_second_moment - unit_mean**2),
            "The variance of one unit.",
            checks,
            "variance",
        ),
        Step(equation(unit_mean, elu.mean), "M3, by tilting.", moment_check(1), "M3"),
        Step(equation(unit_second_moment, elu.second_moment), "M4, by tilting.", moment_check(2), "M4"),
    )
    return Derivation(
        "gaussian-units",
        "The correction for Gaussian ELU units",
        "B1, B3, M3, M4",
        "Theorems 1 and 2 of arXiv 1511.07289 with i.i.d. Gaussian net inputs",
        (
            Assumption("n incoming ELU units, net inputs independent N(μ, σ²), q = p; f is the ELU with parameter α."),
            Assumption("Φ and φ are the standard normal distribution function and density."),
        ),
        steps,
    )
