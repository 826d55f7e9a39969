"""P1–P6, B5: derivations verify and render, no mutant survives; their formulas are those that the package runs."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy

from elutheory.derivations.bias_shift.push_through_identity import push_through
from elutheory.derivations.expectations.functions import densities_written_out
from elutheory.derivations.expectations.layer_notation import (
    bias_variance,
    c,
    entry_product,
    kappa_1,
    kappa_2,
    kernel_entry,
    mean_share,
    next_kernel_both,
    next_overlap,
    next_second_moment,
    next_tangent_entry,
    overlap_slope,
    product_moment,
    q,
    second_moment_slope,
    slope_entry,
    slope_product,
    tangent_entry,
    unit_mean_variance,
    value_product,
    weight_variance,
)
from elutheory.derivations.proof.derivation import Derivation
from elutheory.derivations.proof.notation import slope_second_moment, unit_mean, unit_second_moment
from elutheory.derivations.proof.steps import CheckError
from elutheory.derivations.propagation.backward import (
    batch_normalised_recursion,
    gradient_recursion,
    residual_recursion,
)
from elutheory.derivations.propagation.finite_width import finite_width_fluctuations
from elutheory.derivations.propagation.fisher_spectrum import fisher_top_eigenvalue_bound
from elutheory.derivations.propagation.forward import mean_field_recursion, unit_mean_median, unit_mean_spread
from elutheory.derivations.propagation.gram_matrices import gram_matrix_recursion, tangent_kernel_recursion
from elutheory.gram import propagate_gram, tangent_kernel
from elutheory.kernels import dual_kernel, dual_kernel_derivative
from elutheory.moments import gaussian_moments
from elutheory.propagation import propagate
from elutheory.propagation.layer_map import second_moment_slope as numerical_second_moment_slope
from tests.derivations.test_expectations import survivors

DERIVATIONS: dict[str, Callable[[], Derivation]] = {
    "P1": mean_field_recursion,
    "P2": unit_mean_median,
    "P2b": unit_mean_spread,
    "P3": gradient_recursion,
    "batch norm": batch_normalised_recursion,
    "residual": residual_recursion,
    "P4": gram_matrix_recursion,
    "tangent kernel": tangent_kernel_recursion,
    "P5": fisher_top_eigenvalue_bound,
    "P6": finite_width_fluctuations,
    "B5": push_through,
}
# Quantities that quadrature alone compares: the proof is the steps before, integrated.
BY_QUADRATURE = {("P3", "overlap slope"), ("P3", "chi"), ("P3", "second-moment slope")}
SAMPLED = {"P2": 6, "P3": 6, "batch norm": 9}
SIGMA_W, SIGMA_B = 1.25, 0.1
NETWORK = {weight_variance: SIGMA_W, bias_variance: SIGMA_B}


# --- the derivations ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DERIVATIONS)
def test_every_step_verifies_and_is_proved_or_named(name: str) -> None:
    derivation = DERIVATIONS[name]()
    verified = derivation.verify()
    assert [one.step for one in verified] == list(derivation.steps)
    assert {(name, one.step.name) for one in verified if not one.proved} == {
        entry for entry in BY_QUADRATURE if entry[0] == name
    }
    for step in derivation.steps:
        assert all(check.proves == check.scope.startswith("every") for check in step.checks)
        assert len(step.checks) >= 2 or (name, step.name) in BY_QUADRATURE


@pytest.mark.parametrize("name", DERIVATIONS)
def test_derivations_render(name: str) -> None:
    derivation = DERIVATIONS[name]()
    text = derivation.to_text()
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "Derivative(" not in text
    assert derivation.to_latex().isascii()
    assert derivation.to_markdown().count("$$") == 2 * len(derivation.steps)
    html = derivation.to_html()
    assert "\\" not in html
    statements = ElementTree.fromstring(html).iter("{http://www.w3.org/1998/Math/MathML}math")  # noqa: S314
    assert len(list(statements)) == len(derivation.steps)


@pytest.mark.parametrize("one_in", [3, pytest.param(1, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("name", DERIVATIONS)
def test_no_mutant_survives(name: str, one_in: int) -> None:
    alive, killed = survivors(DERIVATIONS[name](), one_in=one_in * SAMPLED.get(name, 3))
    written_out = {densities_written_out(step.statement) for step in DERIVATIONS[name]().steps}
    assert not [mutant for _, _, mutant in alive if densities_written_out(mutant) not in written_out]  # p(−x) is p(x)
    assert killed >= len(DERIVATIONS[name]().steps)


@pytest.mark.parametrize("name", DERIVATIONS)
def test_each_check_alone_catches_a_doubled_side(name: str) -> None:
    for step in DERIVATIONS[name]().steps:
        if not isinstance(step.statement, sympy.Eq):
            continue
        left, right = step.statement.args
        for check in step.checks:
            with pytest.raises(CheckError):
                check.run(sympy.Eq(left, 2 * right, evaluate=False))  # pyright: ignore


def test_a_higher_bound_on_the_top_eigenvalue_is_refuted() -> None:
    """P5's bound is attained: κ2 + 2 (κ1 − κ2)/n is no lower bound, by proof and by example alike."""
    step = next(step for step in fisher_top_eigenvalue_bound().steps if step.name == "bound")
    bound, top = step.statement.args
    n = next(symbol for symbol in bound.free_symbols if symbol.name == "n")  # pyright: ignore
    for check in step.checks:
        with pytest.raises(CheckError):
            check.run(sympy.Le(bound + (kappa_1 - kappa_2) / n, top, evaluate=False))  # pyright: ignore


# --- the formulas against the numbers of the package ----------------------------------------------------------------


def _formula(derivation: Derivation, left: sympy.Basic, name: str = "") -> Any:
    """The right side of the last step for `left`, or of the step with this name."""
    steps = [step for step in derivation.steps if step.statement.args[0] == left and name in ("", step.name)]
    return steps[-1].statement.args[1]


def _number(formula: Any, values: dict[Any, float]) -> float:
    value = sympy.sympify(formula).subs(values).evalf(17)
    assert value.is_number, value
    return float(value)


@pytest.mark.parametrize("name", ["elu", "relu", "tanh"])
def test_recursion_is_what_propagate_runs(name: str) -> None:
    """P1–P3 with the expectations of `dual_kernel` and `gaussian_moments`, which take other paths than `propagate`."""
    table = propagate(name, 3, SIGMA_W, SIGMA_B, second_moment=1.5, overlap=0.5).table
    for (_, here), (_, above) in zip(table.iloc[:-1].iterrows(), table.iloc[1:].iterrows(), strict=True):
        pair = (here.q, here.q, here.c)
        single = gaussian_moments(name, 0.0, np.sqrt(here.q))
        values: dict[Any, float] = {
            **NETWORK,
            q: here.q,
            product_moment: float(dual_kernel(name, *pair).value),
            value_product: float(dual_kernel(name, *pair).value),
            slope_product: float(dual_kernel_derivative(name, *pair).value),
            unit_mean: float(single.mean),
            unit_second_moment: float(single.second_moment),
            slope_second_moment: float(single.slope_second_moment),
        }
        recursion, spread, gradient = mean_field_recursion(), unit_mean_spread(), gradient_recursion()
        assert _number(_formula(recursion, next_overlap), values) == pytest.approx(above.c, rel=1e-12)
        assert _number(_formula(recursion, next_second_moment), values) == pytest.approx(above.q, rel=1e-12)
        variance = _number(_formula(spread, unit_mean_variance), values)
        assert variance == pytest.approx(here.unit_mean_std**2, rel=1e-11)
        assert _number(_formula(spread, mean_share), values) == pytest.approx(here.mean_share, rel=1e-12)
        chi_at_q = next(step.statement.args[1] for step in gradient.steps if step.name == "chi")
        assert _number(chi_at_q, values) == pytest.approx(here.chi, rel=1e-12)
        slope = _number(_formula(gradient, overlap_slope), values)
        assert -1 / np.log(slope) == pytest.approx(here.depth_scale, rel=1e-10)


@pytest.mark.parametrize("name", ["elu", "relu"])
def test_median_is_what_propagate_reports(name: str) -> None:
    steps = {step.name: step.statement.args[1] for step in unit_mean_median().steps}
    formula: Any = steps["ELU, median" if name == "elu" else "ReLU, median"]
    alpha = dict.fromkeys(formula.free_symbols - {q, c}, 1.0)
    for _, row in propagate(name, 4, SIGMA_W, SIGMA_B, second_moment=1.5, overlap=0.5).table.iterrows():
        assert _number(formula, {q: row.q, c: row.c, **alpha}) == pytest.approx(row.unit_mean_median, rel=1e-12)


def test_slope_of_the_second_moment_is_the_layer_map_s() -> None:
    """The ELU's closed form against differences of the numerical second moment, which are good to 1e-11."""
    from elutheory.activations import activation

    formula = _formula(gradient_recursion(), second_moment_slope, "ELU, second-moment slope")
    for at in (0.25, 1.0, 3.5):
        symbols = dict.fromkeys(formula.free_symbols - {q, weight_variance}, 1.0)
        closed = _number(formula, {q: at, weight_variance: SIGMA_W, **symbols})
        assert closed == pytest.approx(SIGMA_W * numerical_second_moment_slope(activation("elu"), at), rel=1e-10)


@pytest.mark.parametrize("name", ["elu", "relu"])
def test_chi_with_batch_normalisation_is_what_propagate_runs(name: str) -> None:
    """In depth, where the layer below is normalised, too; at two weight variances: they cancel."""
    step = next(step for step in batch_normalised_recursion().steps if step.name.lower() == name)
    formula: Any = step.statement.args[1]
    expected = _number(formula, dict.fromkeys(formula.free_symbols, 1.0))
    for variance in (0.5, 3.0):
        table = propagate(name, 3, variance, SIGMA_B, overlap=0.25, batch_norm=True).table
        assert table.chi.iloc[-1] == pytest.approx(expected, rel=1e-12)


def test_residual_recursion_is_what_propagate_runs() -> None:
    table = propagate("elu", 3, SIGMA_W, SIGMA_B, second_moment=1.5, overlap=0.5, residual=True).table
    here, above = table.iloc[1], table.iloc[2]
    single = gaussian_moments("elu", 0.0, np.sqrt(here.q))
    values: dict[Any, float] = {
        **NETWORK,
        q: here.q,
        c: here.c,
        product_moment: float(dual_kernel("elu", here.q, here.q, here.c).value),
        unit_second_moment: float(single.second_moment),
    }
    assert _number(_formula(residual_recursion(), next_overlap), values) == pytest.approx(above.c, rel=1e-12)
    assert _number(_formula(residual_recursion(), next_second_moment), values) == pytest.approx(above.q, rel=1e-12)
    assert here.chi == pytest.approx(1 + SIGMA_W * float(single.slope_second_moment), rel=1e-12)


@pytest.mark.parametrize("name", ["elu", "relu", "tanh"])
def test_recursions_of_gram_matrix_and_tangent_kernel_are_those_that_run(name: str) -> None:
    """P4 and P5 entry by entry with `dual_kernel`, against `propagate_gram` and `tangent_kernel`, three layers deep."""
    gram = np.array([[1.0, 0.25, -0.5], [0.25, 2.0, 0.75], [-0.5, 0.75, 0.5]])
    kernels = [propagate_gram(name, gram, depth, SIGMA_W, SIGMA_B).gram for depth in (1, 2, 3)]
    tangents = [kernels[0], *(tangent_kernel(name, gram, depth, SIGMA_W, SIGMA_B).matrix for depth in (1, 2))]
    for here, above, tangent, tangent_above in zip(kernels, kernels[1:], tangents, tangents[1:], strict=False):
        for i, j in ((0, 1), (1, 2), (0, 2), (1, 1)):
            pair = (here[i, i], here[j, j], here[i, j])
            values: dict[Any, float] = {**NETWORK, entry_product: float(dual_kernel(name, *pair).value)}
            entry = _number(_formula(gram_matrix_recursion(), next_kernel_both), values)
            assert entry == pytest.approx(above[i, j], rel=1e-11)
            slopes = float(dual_kernel_derivative(name, *pair).value)
            values = {**NETWORK, slope_entry: slopes, kernel_entry: entry, tangent_entry: tangent[i, j]}
            found = _number(_formula(tangent_kernel_recursion(), next_tangent_entry), values)
            assert found == pytest.approx(tangent_above[i, j], rel=1e-11)


# --- P5 and B5 in floating point ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["elu", "relu"])
def test_bound_holds_for_tangent_kernels(name: str) -> None:
    """numpy's eigenvalues of Θ/N for random inputs: at least the bound, which is near it for overlapping inputs."""
    points = np.random.default_rng(3).normal(size=(24, 8)) + 0.75
    kernel = tangent_kernel(name, points @ points.T / 8, 3, SIGMA_W, SIGMA_B).matrix
    size = len(kernel)
    diagonal = np.trace(kernel) / size
    rest = (kernel.sum() - np.trace(kernel)) / (size * (size - 1))
    step = next(step for step in fisher_top_eigenvalue_bound().steps if step.name == "bound")
    formula: Any = step.statement.args[0]
    (n,) = (symbol for symbol in formula.free_symbols if symbol.name == "n")
    bound = _number(formula, {kappa_1: diagonal, kappa_2: rest, n: size})
    top = np.linalg.eigvalsh(kernel / size)[-1]
    assert bound == pytest.approx(kernel.sum() / size**2, rel=1e-12)
    assert bound <= top
    assert top < 1.2 * bound


@pytest.mark.parametrize(("points", "units"), [(7, 3), (3, 7), (5, 5)])
def test_push_through_in_floating_point(points: int, units: int) -> None:
    """B5 as the theory writes it, both sides by numpy's solver, and as the derivation's last two steps write it."""
    generator = np.random.default_rng(points)
    activations, damping, ones = generator.normal(size=(points, units)) + 0.5, 0.03, np.ones(points)
    gram, mean = activations @ activations.T, activations.mean(axis=0)
    by_units = mean @ np.linalg.solve(activations.T @ activations / points + damping * np.eye(units), mean)
    damped = gram + damping * points * np.eye(points)
    assert ones @ gram @ np.linalg.solve(damped, ones) / points == pytest.approx(by_units, rel=1e-11)
    assert 1 - damping * ones @ np.linalg.solve(damped, ones) == pytest.approx(by_units, rel=1e-11)
