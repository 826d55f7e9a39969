"""T1–T5: derivations verify and render, no mutant survives; their formulas against networks and descent in numbers."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy

from elutheory.activations import activation
from elutheory.derivations.dynamics.constant_direction import centred_training_kernel
from elutheory.derivations.dynamics.gradient_descent import linearised_descent
from elutheory.derivations.dynamics.modes import training_modes
from elutheory.derivations.dynamics.standard_parameterisation import training_kernel_recursion
from elutheory.derivations.expectations.layer_notation import (
    eigenvalue,
    entry_product,
    learning_rate,
    slope_entry,
    tangent_entry,
    weight_variance,
)
from elutheory.derivations.proof.derivation import Derivation
from elutheory.derivations.proof.notation import n
from elutheory.derivations.proof.steps import CheckError
from elutheory.kernels import dual_kernel, dual_kernel_derivative
from tests.derivations.test_expectations import survivors

DERIVATIONS: dict[str, Callable[[], Derivation]] = {
    "T1": training_kernel_recursion,
    "T2": linearised_descent,
    "T3, T4": training_modes,
    "T5": centred_training_kernel,
}


@pytest.mark.parametrize("name", DERIVATIONS)
def test_every_step_is_proved_and_checked_otherwise(name: str) -> None:
    for verified in DERIVATIONS[name]().verify():
        assert verified.proved
        assert len(verified.scopes) >= 2
        assert all(check.proves == check.scope.startswith("every") for check in verified.step.checks)


@pytest.mark.parametrize("name", DERIVATIONS)
def test_no_mutant_survives(name: str) -> None:
    """But of a matrix that is 0, whose negative is 0, too."""
    alive, killed = survivors(DERIVATIONS[name](), one_in=3)
    assert not [mutant for step, kind, mutant in alive if (step, kind) != ("removed", "flip a sign")]
    assert killed >= 2 * len(DERIVATIONS[name]().steps)


@pytest.mark.parametrize("name", DERIVATIONS)
def test_each_check_alone_catches_a_changed_side(name: str) -> None:
    for step in DERIVATIONS[name]().steps:
        left, right = step.statement.args
        changed = sympy.Eq(left + left, right, evaluate=False) if step.name != "removed" else None
        for check in step.checks if changed is not None else ():
            with pytest.raises(CheckError):
                check.run(changed)  # pyright: ignore


@pytest.mark.parametrize("name", DERIVATIONS)
def test_derivations_render(name: str) -> None:
    derivation = DERIVATIONS[name]()
    assert max(len(line) for line in derivation.to_text().splitlines()) <= 80
    assert derivation.to_latex().isascii()
    html = derivation.to_html()
    assert "\\" not in html
    statements = ElementTree.fromstring(html).iter("{http://www.w3.org/1998/Math/MathML}math")  # noqa: S314
    assert len(list(statements)) == len(derivation.steps)


# --- in numbers -------------------------------------------------------------------------------------------------------


def _right(derivation: Derivation, name: str) -> Any:
    return next(step.statement.args[1] for step in derivation.steps if step.name == name)


@pytest.mark.parametrize("name", ["elu", "relu", "tanh"])
def test_training_kernel_is_the_mean_over_random_networks(name: str) -> None:
    """T1 at one hidden layer: every gradient written out; the mean of 200 networks within four standard errors."""
    f, rng = activation(name), np.random.default_rng(8)
    points, width, variance = rng.standard_normal((3, 5)), 128, 1.75
    gram = variance / 5 * points @ points.T
    found = []
    for _ in range(200):
        hidden = points @ rng.standard_normal((5, width)) * np.sqrt(variance / 5)
        outgoing = rng.standard_normal(width) * np.sqrt(variance / width)
        deltas, values = f.derivative(hidden) * outgoing, f(hidden)
        by_first = np.einsum("ij,ik->ijk", deltas, np.c_[points, np.ones(3)]).reshape(3, -1)
        gradients = np.hstack([by_first, values, np.ones((3, 1))])
        found.append(gradients @ gradients.T)
    formula = _right(training_kernel_recursion(), "recursion")
    error = np.std(found, axis=0, ddof=1) / np.sqrt(len(found))
    for i, j in ((0, 0), (0, 1), (1, 2)):
        pair = (gram[i, i], gram[j, j], gram[i, j])
        values = {
            n: width,
            weight_variance: variance,
            entry_product: float(dual_kernel(name, *pair).value),
            slope_entry: float(dual_kernel_derivative(name, *pair).value),
            tangent_entry: points[i] @ points[j] + 1,
        }
        assert abs(np.mean(found, axis=0)[i, j] - float(formula.subs(values))) < 4 * error[i, j]


def test_modes_are_those_of_descent_on_the_parameters() -> None:
    """T2, T3: 40 steps on the parameters of a linear model, stable and not, against (1 − ηλ)^t and against 2/λ_1."""
    rng = np.random.default_rng(4)
    jacobian, targets, start = rng.standard_normal((6, 9)), rng.standard_normal(6), rng.standard_normal(9)
    values, vectors = np.linalg.eigh(jacobian @ jacobian.T / 6)
    for rate in (0.5 / values[-1], 1.9 / values[-1], 2.1 / values[-1]):
        parameters = start.copy()
        for _ in range(40):
            parameters -= rate / 6 * jacobian.T @ (jacobian @ parameters - targets)
        before, after = (vectors.T @ (jacobian @ at - targets) for at in (start, parameters))
        symbols = {learning_rate: rate}
        factor = 1 - learning_rate * eigenvalue
        powers = [float(factor.subs({**symbols, eigenvalue: value})) ** 40 for value in values]
        assert after == pytest.approx(before * powers, rel=1e-9, abs=1e-12)
        margin = _right(training_modes(), "stability")
        stable = all(float(margin.subs({**symbols, eigenvalue: value})) > 0 for value in values)
        assert stable == (rate < 2 / values[-1])


def test_softmax_outputs_move_by_the_kernel_alone() -> None:
    """T2 with three outputs: descent on the parameters of a linear model against F − η/n Θ (softmax − Y)."""
    rng = np.random.default_rng(9)
    jacobian, parameters = rng.standard_normal((5, 7)), rng.standard_normal((7, 3))
    targets = np.eye(3)[[0, 2, 1, 1, 0]]
    outputs, kernel = jacobian @ parameters, jacobian @ jacobian.T
    for _ in range(20):
        softmax = np.exp(jacobian @ parameters)
        parameters = parameters - 0.3 / 5 * jacobian.T @ (softmax / softmax.sum(1, keepdims=True) - targets)
        softmax = np.exp(outputs)
        outputs = outputs - 0.3 / 5 * kernel @ (softmax / softmax.sum(1, keepdims=True) - targets)
    assert outputs == pytest.approx(jacobian @ parameters, rel=1e-11)


def test_centring_leaves_all_but_the_constant_direction() -> None:
    """T5: a constant direction of eigenvalue 0, the trace less by its Rayleigh quotient, a much smaller largest one."""
    rng = np.random.default_rng(3)
    rows = rng.standard_normal((6, 20)) + 1.5
    gram, centred = rows @ rows.T, (rows - rows.mean(0)) @ (rows - rows.mean(0)).T
    ones = np.ones(6)
    assert ones @ gram @ ones / 6 == pytest.approx(6 * (rows.mean(0) ** 2).sum(), rel=1e-12)
    assert np.abs(centred @ ones).max() < 1e-12
    assert np.trace(gram) - np.trace(centred) == pytest.approx(ones @ gram @ ones / 6, rel=1e-12)
    assert np.linalg.eigvalsh(centred)[-1] < np.linalg.eigvalsh(gram)[-1] / 3
