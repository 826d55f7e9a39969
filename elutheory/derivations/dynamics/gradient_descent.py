"""T2: a step of gradient descent, to first order in the change of the parameters, as it acts on the outputs."""

# sympy annotates the results of its own arithmetic loosely.
# pyright: reportOperatorIssue=false, reportArgumentType=false

import random
from collections.abc import Mapping
from functools import cache

import sympy
from flint import fmpq

from elutheory.derivations.algebra.entries import Matrix
from elutheory.derivations.algebra.resolvents import RectangularSetting
from elutheory.derivations.algebra.sample_spaces import as_matrix, vector
from elutheory.derivations.expectations.layer_notation import (
    damping,
    jacobian,
    learning_rate,
    loss_gradient,
    ones,
    outputs,
    outputs_next,
    parameter_step,
    tangent_gram,
)
from elutheory.derivations.expectations.pointwise import pointwise_checks
from elutheory.derivations.proof.derivation import Derivation
from elutheory.derivations.proof.notation import n
from elutheory.derivations.proof.steps import Assumption, Step, equation

_Q = sympy.Rational
_output, _target, _others = sympy.Symbol("f", real=True), sympy.Symbol("y", real=True), sympy.Symbol("R", positive=True)
_PLACES = tuple(
    dict(zip((_output, _target, _others), map(_Q, numbers), strict=True))
    for numbers in (("2/3", "1", "4/5"), ("-7/5", "1/4", "9/8"), ("1/9", "2/5", "5/3"))
)


def _step_example(entries: Matrix, generator: random.Random) -> Mapping[sympy.Basic, Matrix]:
    """The gradient of the mean loss, parameter by parameter, and the outputs moved along it, input by input."""
    rows = [[entry.value for entry in row] for row in entries]
    inputs, count = len(rows), len(rows[0])
    rate, start, gradient = fmpq(generator.randint(1, 9), 7), vector(inputs, generator), vector(inputs, generator)
    step = [-rate * sum((gradient[i] * rows[i][p] for i in range(inputs)), fmpq(0)) / inputs for p in range(count)]
    moved = [start[i] + sum((rows[i][p] * step[p] for p in range(count)), fmpq(0)) for i in range(inputs)]
    gram = [[sum((x * y for x, y in zip(a, b, strict=True)), fmpq(0)) for b in rows] for a in rows]
    return {
        learning_rate: as_matrix(rate),
        outputs: as_matrix(start),
        loss_gradient: as_matrix(gradient),
        parameter_step: as_matrix(step),
        outputs_next: as_matrix(moved),
        tangent_gram: as_matrix(gram),
    }


@cache
def linearised_descent() -> Derivation:
    """T2: `F⁺ = F − (η/n) Θ ∂ℓ/∂F` for the mean loss over n inputs, each output by itself; for any loss.

    Exact for the network linearised in its parameters. A minibatch uses the columns of its inputs, and their number.

    >>> import elutheory as et
    >>> derivation = et.linearised_descent()
    >>> derivation.number, derivation.steps[-1].name
    ('T2', 'cross-entropy')
    """
    definitions = {
        parameter_step: -learning_rate / n * jacobian.T * loss_gradient,
        outputs_next: outputs + jacobian * parameter_step,
        tangent_gram: jacobian * jacobian.T,
    }
    checks = RectangularSetting(jacobian, ones, damping, definitions, _step_example).checks
    exponential = sympy.exp(_output)
    loss = sympy.log(exponential + _others) - _target * _output
    steps = (
        Step(
            equation(parameter_step, -learning_rate / n * jacobian.T * loss_gradient),
            "The gradient of the mean loss by the parameters, by the chain rule; J are the outputs' gradients.",
            checks,
            "step",
        ),
        Step(
            equation(outputs_next, outputs - learning_rate / n * tangent_gram * loss_gradient),
            "The outputs, moved by J times the step: only Θ = JJᵀ is left of the network, T2.",
            checks,
            "outputs",
        ),
        Step(
            equation(sympy.Derivative(loss, _output), exponential / (exponential + _others) - _target),
            "Softmax cross-entropy, R the sum of the other outputs' exponentials: ∂ℓ/∂f is softmax less target.",
            pointwise_checks(sympy.Integer(1), _PLACES),
            "cross-entropy",
        ),
    )
    return Derivation(
        "linearised-descent",
        "A step of gradient descent on the outputs",
        "T2",
        "wide networks evolve as linear models (Lee et al., arXiv 1902.06720)",
        (
            Assumption("F holds one output for n inputs, J its gradients by m parameters at the start, n×m."),
            Assumption("First order: the outputs change by J times the change of the parameters; J stays."),
        ),
        steps,
    )
