"""F1-F3 (section 2 of arXiv 1511.07289): the unit Fisher matrix, its sampling distribution q and its means, as sums."""

from functools import cache
from typing import Any

import sympy

from elutheory.derivations.algebra.finite_sums import SumSetting
from elutheory.derivations.proof.derivation import Derivation
from elutheory.derivations.proof.notation import Symbol
from elutheory.derivations.proof.steps import Assumption, Check, CheckError, Step, equation, sides


def _indexed(name: str | Symbol) -> Any:
    return sympy.IndexedBase(name)


_i, _l = sympy.symbols("i l", integer=True, positive=True)
_j, _k = sympy.symbols("j k", integer=True, positive=True)
_points = sympy.Symbol("N", integer=True, positive=True)
_p, _q, _a, _w = (_indexed(name) for name in ("p", "q", "a", "w"))
_delta = _indexed(Symbol("delta", "δ", r"\delta"))
_A_jk, _b_j, _b_k, _c = sympy.symbols("A_jk b_j b_k c")
_mean_q_j = Symbol("mean_q_j", "E_q[a_j]", r"\mathrm{E}_q[a_j]")
_mean_q_k = Symbol("mean_q_k", "E_q[a_k]", r"\mathrm{E}_q[a_k]")
_mean_p_j = Symbol("mean_p_j", "E_p[a_j]", r"\mathrm{E}_p[a_j]")
_covariance = Symbol("covariance_p_j", "Cov_p(δ², a_j)", r"\mathrm{Cov}_p(\delta^2, a_j)")
_variance_q_jk = Symbol("variance_q_jk", "Cov_q(a_j, a_k)", r"\mathrm{Cov}_q(a_j, a_k)")


def _sum(term: Any) -> Any:
    return sympy.Sum(term, (_i, 1, _points))


_FISHER_WEIGHT = sympy.Sum(_delta[_l] ** 2 * _p[_l], (_l, 1, _points))

_DEFINITIONS: dict[sympy.Basic, Any] = {
    _A_jk: _sum(_p[_i] * (_delta[_i] * _a[_i, _j]) * (_delta[_i] * _a[_i, _k])),
    _b_j: _sum(_p[_i] * (_delta[_i] * _a[_i, _j]) * _delta[_i]),
    _b_k: _sum(_p[_i] * (_delta[_i] * _a[_i, _k]) * _delta[_i]),
    _c: _sum(_p[_i] * _delta[_i] * _delta[_i]),
    _q: lambda i: _delta[i] ** 2 * _p[i] / _FISHER_WEIGHT,
    _mean_q_j: _sum(_q[_i] * _a[_i, _j]),
    _mean_q_k: _sum(_q[_i] * _a[_i, _k]),
    _mean_p_j: _sum(_p[_i] * _a[_i, _j]),
    _covariance: _sum(_p[_i] * (_delta[_i] ** 2 - _c) * (_a[_i, _j] - _mean_p_j)),
    _variance_q_jk: _sum(_q[_i] * (_a[_i, _j] - _mean_q_j) * (_a[_i, _k] - _mean_q_k)),
}


def _differentiate(statement: sympy.Basic) -> None:
    """Differentiate the net input of a unit with 1, 2 and 3 incoming units by each of its weights."""
    both = sides(statement)
    size = sympy.Symbol("n", integer=True, positive=True)
    for n in (1, 2, 3):
        weights = {_w[m]: sympy.Symbol(f"w{m}") for m in range(1, n + 1)}
        for m in range(1, n + 1):
            at = {size: sympy.Integer(n), _j: sympy.Integer(m)}
            left, right = (_at_weights(side, at, weights) for side in both)
            if sympy.expand(left - right) != 0:
                raise CheckError(f"{statement} does not hold for n = {n}, j = {m}")


def _at_weights(side: Any, at: dict[Any, Any], weights: dict[Any, Any]) -> Any:
    """One side at a number of units, with symbols for the weights, the derivative by one of them taken."""
    if isinstance(side, sympy.Derivative):
        net_input = side.expr.subs(at).doit().xreplace(weights)
        return sympy.diff(net_input, side.variables[0].subs(at).xreplace(weights))
    return side.subs(at).xreplace(weights)


@cache
def fisher_information() -> Derivation:
    """F1-F3 (section 2 of arXiv 1511.07289): blocks of the unit Fisher matrix as moments under q(z).

    >>> import elutheory as et
    >>> derivation = et.fisher_information()
    >>> derivation.number, derivation.steps[-1].name
    ('F1–F3', 'covariance under q')
    """
    setting = SumSetting(_i, _points, _p, _DEFINITIONS)
    checks = setting.checks
    size = sympy.Symbol("n", integer=True, positive=True)
    incoming = _indexed("a")
    weighted_sum = sympy.Sum(_w[_l] * incoming[_l], (_l, 1, size))
    steps = (
        Step(
            equation(sympy.Derivative(weighted_sum, _w[_j]), incoming[_j]),
            "The net input is w·a + w₀: by the chain rule the score is δ a_j for weight j and δ for the bias.",
            (Check("n = 1, 2, 3 (differentiation)", _differentiate),),
            "score",
        ),
        Step(equation(_A_jk, _sum(_delta[_i] ** 2 * _p[_i] * _a[_i, _j] * _a[_i, _k])), "F1, block A.", checks, "A"),
        Step(equation(_b_j, _sum(_delta[_i] ** 2 * _p[_i] * _a[_i, _j])), "F1, block b.", checks, "b"),
        Step(equation(_c, _sum(_delta[_i] ** 2 * _p[_i])), "F1, block c.", checks, "c"),
        Step(
            equation(_sum(_q[_i]), sympy.Integer(1)),
            "q(z) = δ² p(z) / E_p[δ²] is a probability distribution.",
            checks,
            "q sums to one",
        ),
        Step(equation(_A_jk, _c * _sum(_q[_i] * _a[_i, _j] * _a[_i, _k])), "F2, block A.", checks, "A by q"),
        Step(equation(_b_j, _c * _mean_q_j), "F2, block b.", checks, "b by q"),
        Step(
            equation(_covariance, _sum(_p[_i] * _delta[_i] ** 2 * _a[_i, _j]) - _c * _mean_p_j),
            "The covariance of δ² and a_j, multiplied out.",
            checks,
            "covariance",
        ),
        Step(
            equation(_mean_q_j, _mean_p_j + _covariance / _c),
            "F3: offset plus information gain.",
            checks,
            "mean under q",
        ),
        Step(
            equation(_variance_q_jk, _A_jk / _c - _b_j * _b_k / _c**2),
            "The covariance under q from the blocks of F.",
            checks,
            "covariance under q",
        ),
    )
    return Derivation(
        "fisher-information",
        "The unit Fisher matrix as moments under q(z)",
        "F1–F3",
        "section 2 of arXiv 1511.07289",
        (
            Assumption("The sample space has points i = 1…N with probabilities p_i; δ_i and a_ij are their δ and a_j."),
            Assumption("q_i = δ_i² p_i / Σ_l δ_l² p_l."),
        ),
        steps,
    )
