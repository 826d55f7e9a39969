"""How symbols are written belongs to them: a reader's own symbols are written by their names, whatever was imported."""

import copy
import pickle
import subprocess
import sys
from types import ModuleType

import pytest
import sympy
from sympy.printing.mathml import MathMLPresentationPrinter

from elutheory.activations import Activation, activation
from elutheory.derivations.expectations import layer_notation, pair_notation
from elutheory.derivations.moments.moments_of_activations import activation_moments
from elutheory.derivations.proof import notation
from elutheory.derivations.proof.derivation import Derivation
from elutheory.derivations.proof.notation import Symbol, matrix, written
from elutheory.derivations.proof.printing import statement_latex, statement_mathml, statement_text
from elutheory.derivations.proof.steps import Check, Step

x = sympy.Symbol("x", real=True)


def _declared(module: ModuleType) -> list[sympy.Basic]:
    values = [*vars(module).values()]
    for value in list(values):
        values += list(value) if isinstance(value, tuple) else list(value.values()) if isinstance(value, dict) else []
    return [value for value in values if isinstance(value, sympy.Symbol | sympy.MatrixSymbol) and written(value)]


OURS = {str(symbol): symbol for module in (notation, layer_notation, pair_notation) for symbol in _declared(module)}
PLAIN = {"mu", "sigma"}  # the arguments of `moment_formulas`; no parameter may be called so
SCALARS = [name for name, symbol in OURS.items() if isinstance(symbol, Symbol)]
NAMES = ["mean", "delta", "width", "slope", "s1", "rho", "chi", "variance", "unit_mean", "T_1", "w0", "negative_slope"]


def leaky(name: str) -> Activation:
    """A leaky rectifier of one's own, its slope a symbol of this name."""
    own = sympy.Symbol(name, positive=True)
    return Activation.from_expression(sympy.Piecewise((x, x > 0), (own * x, True)), x, name=f"leaky in {name}")


def test_the_notation_is_here() -> None:
    assert len(OURS) > 100
    assert set(OURS) >= PLAIN
    assert {"slope", "mean", "width", "rho", "alpha", "T_6", "pair_value_above_below"} <= set(OURS)


@pytest.mark.parametrize("name", [*SCALARS, *NAMES])
def test_a_symbol_of_the_same_name_is_another_symbol(name: str) -> None:
    """Whatever its assumptions; it is written by its name, in LaTeX and MathML as sympy writes it."""
    ours = OURS.get(name)
    same = ours._assumptions_orig if isinstance(ours, Symbol) else {"real": True}
    for assumptions in ({"positive": True}, {"real": True}, {}, same):
        own = sympy.Symbol(name, **assumptions)
        assert statement_text(own) == name
        assert statement_latex(own) == sympy.latex(own)
        assert MathMLPresentationPrinter()._print(own).toxml() in statement_mathml(own)
        if isinstance(ours, Symbol):
            assert own != ours
            assert ours != own
            assert (own + ours).free_symbols == {own, ours}
            assert type(own + 0) is sympy.Symbol
            assert (own - ours) != 0


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_written_by_their_names(name: str) -> None:
    derivation = activation_moments(leaky(name))
    assert f"f(x) = x {name} for x ≤ 0, x for x > 0" in derivation.assumptions[0].meaning.replace("\xa0", " ")
    own = sympy.Symbol(name, positive=True)
    for step in derivation.steps:
        if own not in step.statement.free_symbols:
            continue
        assert name in statement_text(step.statement)
        assert sympy.latex(own) in statement_latex(step.statement)
        assert MathMLPresentationPrinter()._print(own).toxml() in statement_mathml(step.statement)


def test_what_is_printed_does_not_depend_on_what_was_imported() -> None:
    """One interpreter: a parameter called slope before and after the derivation that has a slope of its own."""
    program = """
import sympy, elutheory as et
x, slope = sympy.Symbol("x", real=True), sympy.Symbol("slope", positive=True)
def definition(name):
    own = et.Activation.from_expression(sympy.Piecewise((x, x > 0), (slope * x, True)), x, name=name)
    return et.activation_moments(own).assumptions[0].meaning
before = definition("before")
et.gradient_recursion(), et.price_theorem()
assert before == definition("after"), (before, definition("after"))
assert "slope" in before, before
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_parameters_of_the_registry_are_written_as_the_registry_s() -> None:
    """Left symbolic under their own names; under another name, or in one's own formula, by the symbol's name."""

    def definition(function: Activation) -> str:
        return activation_moments(function).assumptions[0].meaning.replace("\xa0", " ")

    alpha, slope, mean = (sympy.Symbol(name, positive=True) for name in ("alpha", "negative_slope", "mean"))
    assert "f(x) = α (exp(x) − 1) for" in definition(activation("elu", alpha=alpha))
    assert "f(x) = mean (exp(x) − 1) for" in definition(activation("elu", alpha=mean))
    assert "f(x) = x s for" in definition(activation("leaky_relu", negative_slope=slope))
    assert "f(x) = x alpha for" in definition(leaky("alpha"))
    derivation = activation_moments(activation("elu", alpha=alpha))
    assert alpha in derivation.steps[0].statement.free_symbols
    assert any(check.scope.startswith("α = 1 gives celu") for check in derivation.steps[0].checks)


@pytest.mark.parametrize("name", OURS)
def test_symbols_survive_pickling_and_copying(name: str) -> None:
    ours = OURS[name]
    for twin in (pickle.loads(pickle.dumps(ours)), copy.deepcopy(ours), copy.copy(ours)):  # noqa: S301
        assert twin == ours
        assert hash(twin) == hash(ours)
        assert written(twin) == written(ours)


def test_a_written_form_is_part_of_a_symbol() -> None:
    first, second = Symbol("h", "h′", "h'", real=True), Symbol("h", "h″", "h''", real=True)
    assert first != second
    assert statement_text(first + second) == "h′ +\xa0h″"
    n = notation.n
    gram = matrix("gram", n, n, "G")
    assert gram != sympy.MatrixSymbol("gram", n, n)
    assert statement_text(gram.T) == "Gᵀ"
    assert statement_latex(gram) == "G"
    assert statement_text(sympy.MatrixSymbol("gram", n, n)) == "gram"
    assert written(gram.xreplace({n: sympy.Integer(3)})) == written(gram)


def test_a_derivation_of_one_s_own_is_written_by_its_names() -> None:
    mean, delta = sympy.symbols("mean delta", real=True)
    unchecked = Check("nothing", lambda _: None)
    step = Step(sympy.Eq(mean, 2 * delta, evaluate=False), "Given.", (unchecked,))  # pyright: ignore
    derivation = Derivation("own", "Own", "", "here", (), (step,))
    assert "mean = 2 delta" in derivation.to_text()
    assert r"mean = 2 \delta" in derivation.to_latex()
